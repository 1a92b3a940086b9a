#!/usr/bin/env bash
# Runs docker-compose.yml for real: builds the image, starts the stack, writes through Tandem, kills a
# master, and waits until writes go on. README.md beside this file says how.
#
#   tests/compose/run.sh            with a docker daemon of its own, which needs root
#   tests/compose/run.sh --running  with the daemon that runs here, and the public images
#
# COMPOSE (a compose command), BUILD_PROFILE and CACHE may be set. Exit: 0 passed, 77 skipped, else failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $*"; exit 77; }
say() { printf 'compose: %s\n' "$*"; }
fail() { printf 'compose: FAILED: %s\n' "$*" >&2; exit 1; }

CACHE=${CACHE:-$PWD/.cache/compose}
export BUILD_PROFILE=${BUILD_PROFILE:-dev}
# Port 0 lets docker choose a free one.
export PROXY_PORT=0 CONSOLE_PORT=0 HTTP_PORT=0
own_daemon=1 run='' daemon='' started=''
[ "${1:-}" != --running ] || own_daemon=

stack() { # a compose command, on this test's project
  # COMPOSE may be two words.
  # shellcheck disable=SC2086
  $COMPOSE -p tandem-compose-test -f docker-compose.yml ${own_daemon:+-f tests/compose/build-network.yml} "$@"
}

check_machine() {
  command -v docker >/dev/null || skip "docker is not installed"
  if [ -z "${COMPOSE:-}" ]; then
    if command -v docker-compose >/dev/null; then COMPOSE=docker-compose
    elif docker compose version >/dev/null 2>&1; then COMPOSE='docker compose'
    else skip "docker-compose is not installed"; fi
  fi
  command -v mariadb >/dev/null || skip "the mariadb client is not installed"
  if [ -z "$own_daemon" ]; then
    docker info >/dev/null 2>&1 || skip "no docker daemon runs here"
    return
  fi
  [ "$(id -u)" = 0 ] || skip "a docker daemon needs root"
  local program
  for program in dockerd mmdebstrap apt-get; do
    command -v "$program" >/dev/null || skip "$program is not installed"
  done
}

# A daemon that leaves no trace: no default bridge, no packet filter rules, no forwarding. The stack's
# own network works without them, and ports are published by docker's userland proxy.
start_daemon() {
  run=$(mktemp -d /tmp/tandem-compose.XXXXXX)
  mkdir -p "$CACHE/docker"
  # One daemon at a time may use the directory.
  exec 9>"$CACHE/lock"
  flock --nonblock 9 || { say "waiting for another run to end"; flock 9; }
  export DOCKER_HOST=unix://$run/docker.sock
  setsid dockerd --data-root "$CACHE/docker" --exec-root "$run/exec" --pidfile "$run/docker.pid" \
    --host "$DOCKER_HOST" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    --ip-masq=false >"$run/dockerd.log" 2>&1 9>&- &
  daemon=$!
  until docker info >/dev/null 2>&1; do
    if ! kill -0 "$daemon" 2>/dev/null; then
      tail -n 3 "$run/dockerd.log"
      skip "dockerd does not start here"
    fi
    sleep 0.2
  done
}

finish() {
  local status=$?
  trap '' INT TERM
  if [ "$status" != 0 ] && [ -n "$started" ]; then stack logs --no-color --tail=40 || true; fi
  if [ -n "$started" ]; then stack down -v --timeout 5 >/dev/null 2>&1 || true; fi
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  if [ -n "$run" ]; then
    # dockerd leaves the network namespaces that it named.
    umount --lazy "$run"/exec/netns/* 2>/dev/null || true
    rm -rf "$run"
  fi
  exit "$status"
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$what: not within the time it may take"
    sleep 0.1
  done
}

app() { # a statement, through Tandem, as the README says
  mariadb -h 127.0.0.1 -P "$port" -uapp -papp --connect-timeout=5 --skip-column-names -e "$1" app
}
master() { # NAME STATEMENT, past Tandem
  stack exec -T "$1" mariadb -uroot -proot -e "$2"
}
write() { app "INSERT INTO written (by_server) VALUES (@@server_id)"; }
replicates() { # NAME
  [ "$(master "$1" 'SHOW SLAVE STATUS\G' | grep -cE 'Slave_(IO|SQL)_Running: Yes')" = 2 ]
}
same_rows() {
  local digest='SELECT COUNT(*), BIT_XOR(CRC32(CONCAT(id, "/", by_server))) FROM app.written\G'
  [ "$(master m1 "$digest")" = "$(master m2 "$digest")" ]
}

check_machine
trap finish EXIT
trap 'exit 130' INT TERM
if [ -n "$own_daemon" ]; then
  start_daemon
  tests/compose/stand-ins.sh
fi

say "$($COMPOSE version --short 2>/dev/null | head -n 1): building and starting the stack (profile $BUILD_PROFILE)"
started=1
stack down -v >/dev/null 2>&1 || true # of a run that was killed
stack up -d --build
port=$(stack port tandem 3306)
port=${port##*:}

wait_for 60 "a query through 127.0.0.1:$port" app 'SELECT 1'
app 'CREATE TABLE written (id INT PRIMARY KEY AUTO_INCREMENT, by_server INT)'
write && write
[ "$(app 'SELECT GROUP_CONCAT(id, "/", by_server ORDER BY id) FROM written')" = 1/1,3/1 ] ||
  fail "m1 did not take the first writes with odd keys: $(app 'SELECT * FROM written')"
say "writes go to m1, keys are odd"

stack kill m1 >/dev/null 2>&1
killed=$(date +%s%3N)
wait_for 60 "a write after m1 was killed" write
say "m1 killed; the next write was acknowledged $(($(date +%s%3N) - killed)) ms later"
# Odd keys from m1 (1), even ones from m2 (2).
[ "$(app 'SELECT SUM(id % 2 <> by_server % 2), MAX(by_server) FROM written')" = "$(printf '0\t2')" ] ||
  fail "rows or keys are wrong: $(app 'SELECT * FROM written')"

stack start m1 >/dev/null 2>&1
wait_for 60 "m1 replicating again" replicates m1
wait_for 60 "m2 replicating again" replicates m2
wait_for 30 "m1 having every row" same_rows
say "m1 is back and has every row"

stack up -d >/dev/null 2>&1
wait_for 60 "a write after a second 'up'" write
wait_for 60 "tandem being healthy" sh -c "docker ps --filter health=healthy --filter name=tandem-compose-test.tandem.1 -q | grep ."
say "a second 'up' changed nothing; the container is healthy"
stack down -v --timeout 5 >/dev/null 2>&1 || fail "down -v"
started=
say "passed"
