#!/usr/bin/env bash
# The command line programs: `client.sh check|failover mariadb|mysql PROGRAM [ARGUMENT…]`.
#
# What they print is what is compared. In `failover`, statements go through pipes to two that keep running.
set -uo pipefail
mode=$1 kind=$2
shift 2
program=("$@")

options=(--no-defaults --protocol=TCP "-h$CLIENT_HOST" "-P$CLIENT_PORT" --local-infile=1 --default-character-set=utf8mb4
  --max-allowed-packet=1G --unbuffered)
case $kind-$CLIENT_TLS in
  mariadb-off) options+=(--skip-ssl) ;;
  mariadb-on) options+=(--ssl --skip-ssl-verify-server-cert) ;;
  mysql-off) options+=(--ssl-mode=DISABLED --get-server-public-key) ;;
  mysql-on) options+=(--ssl-mode=REQUIRED) ;;
esac
# Newer ones know `\s` and its like only when told to.
if [[ $("${program[@]}" --help 2>/dev/null) == *--commands* ]]; then options+=(--commands); fi

sql() { # [OPTION…], statements on standard input
  "${program[@]}" "${options[@]}" "-u$CLIENT_USER" "-p$CLIENT_PASSWORD" "$@" "$CLIENT_DATABASE" 2>&1 |
    grep --line-buffered -v 'Using a password on the command line'
}

check() { # NAME [OPTION…]: a line for each line that the program prints
  local name=$1 line
  shift
  while IFS= read -r line; do
    if [ ${#line} -gt 2000 ]; then line="${#line} characters, md5 $(printf %s "$line" | md5sum)"; fi
    printf 'check %s: %s\n' "$name" "$line"
  done < <(sql "$@")
}

walk() {
  check login -t <<<'SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@collation_connection, @@sql_mode, @@version'
  check login.wrong --password=wrong <<<'SELECT 1'
  check login.nobody --user=nobody <<<'SELECT 1'
  if [ "$CLIENT_TLS" = on ]; then
    # Read to its end: a reader that stops at the match may end the program before it has said all.
    local status
    status=$(sql <<<'\s')
    [[ $status == *'Cipher in use'* ]] || { printf 'the program does not say that TLS is in use: %s\n' "$status" >&2; exit 1; }
  fi
  # What depends on the connection is left out.
  check status <<<'\s' | grep -E 'Server version|Protocol version|Current database|characterset|Server:'
  sed 's/$/;/' "$CLIENT_SHARED/types.sql" | sql --comments
  printf 'DELIMITER //\n%s\n' "$(sed 's|$|//|' "$CLIENT_SHARED/set-up.sql")" | sql
  check types --column-type-info --binary-as-hex <<<'SELECT * FROM types ORDER BY id; SELECT * FROM special ORDER BY id'
  check types.vertical --binary-as-hex <<<'SELECT * FROM types ORDER BY id\G'
  check types.xml --xml <<<'SELECT id, t8, u8, de, da, ti6, dt6, ts6, vc, en, se, js FROM types'
  check results <<<"SELECT 1; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; SELECT ROW_COUNT(); SELECT LAST_INSERT_ID()"
  # With another delimiter, several statements are one command.
  check multi <<<$'DELIMITER //\nSELECT 1; INSERT INTO keyed (k) VALUES (\'multi2\'); SELECT 2; CALL two_results(20, @out); SELECT @out//'
  check call <<<'CALL two_results(20, @out); SELECT @out; CALL fails_late()'
  check prepared <<<"PREPARE p FROM 'SELECT ? + ? AS s'; SET @a = 20, @b = 22; EXECUTE p USING @a, @b; DEALLOCATE PREPARE p; EXECUTE p"
  check errors --force -vvv <<'SQL' | sed 's/([0-9.]* sec)/(time)/'
SELEC 1;
SELECT * FROM nowhere;
INSERT INTO types (id) VALUES (1);
INSERT INTO keyed (v) VALUES (NULL);
INSERT INTO types (id, t1) VALUES (9, 1000);
SELECT * FROM mysql.user;
SELECT CAST('x' AS SIGNED);
SHOW WARNINGS;
UPDATE keyed SET v = 1;
SQL
  check infile -vvv <<<"LOAD DATA LOCAL INFILE '$CLIENT_SHARED/rows.tsv' INTO TABLE loaded CHARACTER SET utf8mb4; SELECT * FROM loaded" |
    sed 's/([0-9.]* sec)/(time)/'
  check infile.missing --force <<<"LOAD DATA LOCAL INFILE '$CLIENT_SHARED/nowhere' INTO TABLE loaded; SELECT COUNT(*) FROM loaded"
  check source <<<"SELECT 1; use $CLIENT_DATABASE; SELECT DATABASE()"
  check transaction <<<"BEGIN; INSERT INTO keyed (k) VALUES ('t1'); SELECT COUNT(*) FROM keyed; ROLLBACK; SELECT COUNT(*) FROM keyed; BEGIN; INSERT INTO keyed (k) VALUES ('t2'); COMMIT; SELECT COUNT(*) FROM keyed"
  # 17 MiB of text in one statement, and back.
  check large < <(printf "REPLACE INTO large VALUES (17, '"; head -c 17825792 /dev/zero | tr '\0' x; printf "');\nSELECT SHA2(data, 256) FROM large; SELECT data FROM large;\n")
  check quick --quick <<<'SELECT data FROM large'
  check end <<<"SELECT 'still here'"
}

failover() {
  mkfifo_in=$(mktemp -d)
  trap 'rm -rf "$mkfifo_in"' EXIT
  local name
  for name in idle busy; do
    mkfifo "$mkfifo_in/$name"
    sql -N --force <"$mkfifo_in/$name" >"$mkfifo_in/$name.out" &
  done
  exec 7>"$mkfifo_in/idle" 8>"$mkfifo_in/busy"
  await() { until grep -qsx -- "$2" "$mkfifo_in/$1.out"; do sleep 0.02; done; }
  cat >&7 <<'SQL'
CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE);
SET SESSION lock_wait_timeout = 4242;
SET @note = 'still 🦀';
PREPARE p FROM 'SELECT CONCAT(''check prepared: '', 20 + 22)';
SELECT CONCAT('server ', @@server_id);
SELECT 'idle ready';
SQL
  await idle 'idle ready'
  printf '%s\n' 'BEGIN;' "INSERT INTO survived (a) VALUES ('lost');" "SELECT 'busy ready';" >&8
  await busy 'busy ready'
  echo ready
  local line
  read -r line && [ "$line" = go ] || exit 1
  cat >&7 <<'SQL'
EXECUTE p;
SELECT CONCAT('check variables: ', @@lock_wait_timeout, ' ', @note);
SELECT CONCAT('server ', @@server_id);
SQL
  printf '%s\n' "INSERT INTO survived (a) VALUES ('lost too');" 'ROLLBACK;' 'BEGIN;' \
    "INSERT INTO survived (a) VALUES ('again');" 'COMMIT;' "SELECT 'busy done';" >&8
  await busy 'busy done'
  echo "SELECT CONCAT('check again: ', GROUP_CONCAT(a)) FROM survived;" >&7
  exec 7>&- 8>&-
  wait
  grep -E '^check (prepared|variables)' "$mkfifo_in/idle.out"
  local servers
  servers=$(grep -c '^server' <(sort -u "$mkfifo_in/idle.out"))
  echo "check moved: $([ "$servers" = 2 ] && echo yes || echo no)"
  sed -n 's/^ERROR \([0-9]*\) .*/check transaction: \1/p' "$mkfifo_in/busy.out"
  grep '^check again' "$mkfifo_in/idle.out"
}

case $mode in
  check) walk ;;
  failover) failover ;;
esac
