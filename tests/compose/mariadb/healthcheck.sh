#!/usr/bin/env bash
# Stands in for healthcheck.sh of the public mariadb image: `--connect` asks over TCP, so that the
# server that only prepares the data directory does not count; `--innodb_initialized` asks InnoDB.
set -eu
ask() { mariadb -h 127.0.0.1 -u healthcheck -phealthcheck --skip-column-names -e "$1" 2>/dev/null; }
for test in "$@"; do
  case $test in
    --connect) ask 'SELECT 1' >/dev/null ;;
    --innodb_initialized)
      [ "$(ask "SELECT 1 FROM information_schema.ENGINES WHERE ENGINE='innodb' AND SUPPORT IN ('YES', 'DEFAULT')")" = 1 ] ;;
    *) echo "this stand-in does not know $test" >&2; exit 2 ;;
  esac
done
