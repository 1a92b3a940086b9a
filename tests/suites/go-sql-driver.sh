# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# The tests of Go's driver, go-sql-driver/mysql, as Debian packages them with its sources.

fetch() {
  packages suites-go
}

run() {
  export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$cache/go GOFLAGS=-count=1
  export MYSQL_TEST_ADDR=$host:$port MYSQL_TEST_USER=suite MYSQL_TEST_PASS=suite MYSQL_TEST_DBNAME=gotest
  export MYSQL_TEST_CONCURRENT=1
  mariadb --no-defaults -h "$host" -P "$directly" -u suite -psuite -e 'CREATE DATABASE gotest'
  local pattern=.
  [ $# = 0 ] || pattern="^($(IFS='|'; echo "$*"))\$"
  go test -v -timeout 300s -run "$pattern" github.com/go-sql-driver/mysql | tee "$work/out"
  awk '$1 == "---" && $0 !~ /^ / { sub(":", "", $2); print $3 "\t" tolower($2) }' "$work/out" >"$list"
}
