#!/usr/bin/env bash
# Makes two MariaDB servers a master-master pair and creates the accounts that docker-compose.yml
# needs: for replication, for Tandem, and for the application. `pair.sh m1 m2` takes the hosts.
#
# It may run on a pair that exists already: each step looks before it acts. What it creates stays out
# of the binary logs, because it is created on both servers.
set -euo pipefail
: "${ROOT_PASSWORD:?is not set}"
export MYSQL_PWD=$ROOT_PASSWORD

sql() { # HOST, statements on stdin
  mariadb --host="$1" --user=root --connect-timeout=10 --batch --skip-column-names
}

accounts() { # HOST
  sql "$1" <<'SQL'
SET SESSION sql_log_bin = 0;
CREATE DATABASE IF NOT EXISTS app;
CREATE DATABASE IF NOT EXISTS tandem;

CREATE USER IF NOT EXISTS replication@'%' IDENTIFIED BY 'replication';
GRANT REPLICATION SLAVE ON *.* TO replication@'%';

-- src/topology/grants.rs says what Tandem does with each of these.
CREATE USER IF NOT EXISTS tandem@'%' IDENTIFIED BY 'tandem';
GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR, READ_ONLY ADMIN, CONNECTION ADMIN,
      REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN ON *.* TO tandem@'%';
GRANT SELECT ON mysql.global_priv TO tandem@'%';
GRANT SELECT ON mysql.user TO tandem@'%';
GRANT ALL PRIVILEGES ON tandem.* TO tandem@'%';

CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';
GRANT ALL PRIVILEGES ON app.* TO app@'%';
SQL
}

# HOST becomes a slave of PEER. One that is a slave already is left as it is: if its threads stand
# still, Tandem may have stopped them.
follow() { # HOST PEER
  local configured
  configured=$(sql "$1" <<< 'SHOW SLAVE STATUS')
  if [ -n "$configured" ]; then
    echo "pair: $1 is a slave already"
    return
  fi
  sql "$1" <<SQL
CHANGE MASTER TO MASTER_HOST = '$2', MASTER_USER = 'replication', MASTER_PASSWORD = 'replication',
  MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1;
START SLAVE;
SQL
  await "$1"
}

running() { # HOST: whether both its threads say Yes
  mariadb --host="$1" --user=root --connect-timeout=10 -e 'SHOW SLAVE STATUS\G' |
    awk '$1 == "Slave_IO_Running:" || $1 == "Slave_SQL_Running:" { yes += $2 == "Yes" } END { exit yes != 2 }'
}

await() { # HOST
  local deadline=$((SECONDS + 60))
  until running "$1"; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "pair: $1 does not replicate:" >&2
      mariadb --host="$1" --user=root -e 'SHOW SLAVE STATUS\G' | grep -E '_Running|_Error:' >&2
      exit 1
    fi
    sleep 0.5
  done
  echo "pair: $1: Slave_IO_Running: Yes, Slave_SQL_Running: Yes"
}

accounts "$1"
accounts "$2"
follow "$1" "$2"
follow "$2" "$1"
