#!/usr/bin/env bash
# Stands in for the entrypoint of the public mariadb image, as far as docker-compose.yml relies on it:
# on an empty data directory it sets root's password from MARIADB_ROOT_PASSWORD (for localhost and
# for every host) and makes the health check's account; none of it reaches the binary log. Until that
# is done, nothing listens on TCP. Then the server runs as user mysql, in this process.
set -euo pipefail
data=/var/lib/mysql socket=/run/mysqld/mysqld.sock

if [ "${1:-mariadbd}" != mariadbd ]; then exec "$@"; fi
install -d -o mysql -g mysql "$data" "${socket%/*}"
shift || true

if [ ! -d "$data/mysql" ]; then
  : "${MARIADB_ROOT_PASSWORD:?is not set}"
  for unknown in MARIADB_DATABASE MARIADB_USER MARIADB_PASSWORD; do
    if [ -n "${!unknown:-}" ]; then echo "this stand-in does not know $unknown" >&2; exit 1; fi
  done
  chown -R mysql:mysql "$data"
  mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=normal \
    --skip-log-bin >/dev/null
  mariadbd --user=mysql "$@" --skip-networking --skip-slave-start &
  first=$!
  until mariadb-admin --socket="$socket" --silent ping 2>/dev/null; do
    kill -0 "$first" || exit 1
    sleep 0.2
  done
  password=${MARIADB_ROOT_PASSWORD//\\/\\\\}
  password=${password//\'/\\\'}
  mariadb --socket="$socket" <<SQL
SET SESSION sql_log_bin = 0;
CREATE USER healthcheck@localhost IDENTIFIED BY 'healthcheck';
CREATE USER healthcheck@'127.0.0.1' IDENTIFIED BY 'healthcheck';
CREATE USER root@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '$password';
SQL
  kill "$first"
  wait "$first"
fi
exec mariadbd --user=mysql "$@"
