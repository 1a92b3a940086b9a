# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# MariaDB's tests of the C API, a program of Debian's package mariadb-test: prepared statements,
# cursors, long data, bulk execution, several results, change of user. One process for each test.

fetch() {
  of_mariadb && packages suites-mariadb
}

# What the server's own harness starts it with.
arguments() {
  printf '%s\n' --log-bin-trust-function-creators=1 --query-cache-type=1 --query-cache-size=1M
}

run() {
  [ $# -gt 0 ] || mapfile -t names < <(mariadb-client-test --no-defaults -T 2>&1 | grep -o '^test_[a-z0-9_]*')
  [ $# = 0 ] || names=("$@")
  export MYSQL_TMP_DIR=$work
  local name outcome
  mariadb --no-defaults -h "$host" -P "$directly" -u root -e 'CREATE DATABASE test'
  for name in "${names[@]}"; do
    echo "--- $name"
    outcome=fail
    timeout 60 mariadb-client-test --no-defaults -h "$host" -P "$port" -u root -D test \
      --basedir=/usr -v "$work" -s "$name" && outcome=pass
    printf '%s\t%s\n' "$name" "$outcome" >>"$list"
  done
}
