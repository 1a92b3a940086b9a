# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# The SQL tests of MariaDB's server, Debian's package mariadb-test-data: those of the suite `main` that
# need nothing but a client connection. `mariadb-test` runs each file alone, as the harness
# (mysql-test-run) would, which itself wants to start the servers and takes 2 s for each of its starts.
#
# mysql-test.txt lists the files. Each runs as text, and those that are marked as prepared statements
# (`ps`) and with a cursor for every SELECT (`cursor`) too.

share=/usr/share/mysql/mysql-test

fetch() {
  of_mariadb && packages suites-mariadb
}

# What the results of these files take for granted: include/default_mysqld.cnf of the same package.
arguments() {
  printf '%s\n' --default-storage-engine=myisam --log-bin-trust-function-creators=1 \
    --character-set-server=latin1 --use-stat-tables=preferably --histogram-type=json_hb \
    --key-buffer-size=1M --sort-buffer-size=256K --max-heap-table-size=1M --connect-timeout=60 --max-allowed-packet=16M
}

# As an account of its own, directly at the server, so that what a test does to root or leaves behind
# there does not matter.
control() { mariadb --no-defaults -h "$host" -P "$directly" -u suite -psuite -N -B -f "$@"; }

variables() {
  control -e "SELECT variable_name, variable_value FROM information_schema.global_variables
    WHERE variable_name NOT LIKE '%gtid%' AND variable_name NOT IN ('timestamp', 'read_only')" >"$1"
}

# Takes away what the last test left behind: its databases, accounts, roles, connections, and
# settings.
clean() {
  {
    control -e "
      SELECT CONCAT('DROP DATABASE \`', schema_name, '\`;') FROM information_schema.schemata
        WHERE schema_name NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys', 'mtr', 'app', 'tandem')
      UNION ALL SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.user
        WHERE user NOT IN ('root', 'suite', 'app', 'tandem', 'replication', 'mariadb.sys') AND is_role = 'N'
      UNION ALL SELECT CONCAT('DROP ROLE ', QUOTE(user), ';') FROM mysql.user WHERE is_role = 'Y'
      UNION ALL SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE user = 'root'"
    echo 'CREATE DATABASE test;'
  } | control
  variables "$work/now"
  cmp -s "$work/globals" "$work/now" && return
  diff "$work/globals" "$work/now" | awk -F '\t' '
    sub(/^< /, "") { print "SET GLOBAL " $1 " = " ($2 ~ /^[0-9.]+$/ ? $2 : "\x27" $2 "\x27") ";" }' | control
}

environment() {
  mkdir -p "$work/tmp" "$work/log"
  ln -sfn "$share/std_data" "$work/std_data"
  export MYSQLTEST_VARDIR=$work MYSQL_TMP_DIR=$work/tmp MYSQL_TEST_DIR=$share LC_ALL=C
  export SECURE_LOAD_PATH=$share/std_data MYSQL_CHARSETSDIR=/usr/share/mysql/charsets
  export MYSQL_SHAREDIR=/usr/share/mysql MYSQL_BINDIR=/usr USE_RUNNING_SERVER=1
  export MASTER_MYPORT=$port DEFAULT_MASTER_PORT=3306
  # `localhost` in a test is this too: it must not be a socket.
  login=(--no-defaults --protocol=tcp --host="$host" --port="$port" --user=root)
  export EXE_MYSQL=/usr/bin/mariadb MYSQL="mariadb ${login[*]}" MYSQL_DUMP="mariadb-dump ${login[*]}"
  export MYSQL_CHECK="mariadb-check ${login[*]}" MYSQL_IMPORT="mariadb-import ${login[*]}"
  export MYSQL_SHOW="mariadb-show ${login[*]}" MYSQLADMIN="mariadb-admin ${login[*]}"
  # Tests announce warnings that they expect in the log; nobody reads the log here.
  control -e 'DROP DATABASE app; CREATE DATABASE mtr; CREATE PROCEDURE mtr.add_suppression(p VARCHAR(255)) BEGIN END'
  control mysql </usr/share/mysql/mysql_test_data_timezone.sql
  variables "$work/globals"
}

run() {
  local names=("$@") name file protocol outcome begun
  if [ $# = 0 ]; then
    mapfile -t names < <(awk -v quick="$quick" '
      /^[^#]/ && (!quick || / quick/) { print $1; if (/ ps/) print $1 " ps"; if (/ cursor/) print $1 " cursor" }
      ' "$here/mysql-test.txt")
  fi
  environment
  # The tests name the files that they include from here.
  cd "$share" || return
  for name in "${names[@]}"; do
    read -r file protocol <<<"$name"
    echo "--- $name"
    clean
    # What a file answers instead of its result is written beside the result.
    mkdir -p "$work/${protocol:-text}"
    ln -sf "$share/main/$file.result" "$work/${protocol:-text}/"
    begun=$(date +%s%3N)
    timeout 120 mariadb-test "${login[@]}" --database=test --silent --tmpdir="$work/tmp" \
      --logdir="$work/log" --basedir="$share" --character-sets-dir=/usr/share/mysql/charsets \
      --timer-file="$work/timer" ${protocol:+--$protocol-protocol} \
      --test-file="$share/main/$file.test" --result-file="$work/${protocol:-text}/$file.result"
    case $? in 0) outcome=pass ;; 62) outcome=skip ;; *) outcome=fail ;; esac
    printf '%s\t%s\n' "$name" "$outcome" >>"$list"
    echo "--- $name $outcome $(($(date +%s%3N) - begun)) ms"
  done
}
