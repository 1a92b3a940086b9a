#!/usr/bin/env bash
# Measures Tandem against a direct connection and against HAProxy (TCP mode, one thread) in one run on
# one machine, and writes BENCHMARKS.md.
#
#   bench/run.sh [-r ROUNDS] [-t SECONDS] [-T "TEST…"] [-P "PATH…"] [-b TANDEM] [-o FILE]
#
#   -r  rounds; each runs every test on every path in turn, and medians are taken over them   [5]
#   -t  seconds for each run                                                                  [5]
#   -T  tests: ps (oltp_point_select), rw (oltp_read_write), conn (connect, SELECT 1, disconnect),
#       each followed by the number of clients, and by p for client, proxy and server pinned to
#       one core; big or bigp (a result of 200 MB); idle (memory of idle clients)             [all below]
#   -P  paths: direct haproxy tandem                                                          [all]
#   -b  the tandem program to measure                            [a release build of this checkout]
#   -o  where the report goes                      [BENCHMARKS.md, or standard output with -r < 5]
#
# A quick look while working on the relay:  bench/run.sh -r 1 -t 2 -T "ps1p ps16p"
#
# It starts a pair of MariaDB servers in a private directory, on loopback only, and ends everything
# that it started, also when it is interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 seconds=5 paths="direct haproxy tandem" tandem='' report=''
tests="ps1 ps16 ps64 rw1 rw16 rw64 conn8 big ps1p ps16p ps64p rw16p conn1p bigp idle"
while getopts "r:t:T:P:b:o:h" option; do
  case $option in
    r) rounds=$OPTARG ;; t) seconds=$OPTARG ;; T) tests=$OPTARG ;; P) paths=$OPTARG ;;
    b) tandem=$OPTARG ;; o) report=$OPTARG ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
  esac
done
PATH=$PATH:/usr/local/sbin:/usr/sbin:/usr/libexec

big_megabytes=200
idle_clients=${IDLE_CLIENTS:-2000}
tables=4 rows=20000
cores=0-$(($(nproc) - 1))
ticks=$(getconf CLK_TCK)

die() { echo "bench: $*" >&2; exit 1; }

# --- what is measured ------------------------------------------------------------------------------

work=$(mktemp -d /tmp/tandem-bench.XXXXXX)
chmod 755 "$work"
started=() # process ids, in the order of their start
declare -A port pid
port[direct]='' pid[direct]=''

finish() {
  local status=$? i
  trap '' INT TERM
  exec
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null || true
    # A server under load may take long over its last pages, and nobody needs them.
    timeout 10 tail --pid="${started[i]}" -f /dev/null || kill -9 "${started[i]}" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A port that nothing uses: outside the range that the kernel gives to outgoing connections.
next_port=21300
free_port() {
  while ss -Hltn "sport = :$next_port" | grep -q .; do next_port=$((next_port + 1)); done
  chosen=$next_port
  next_port=$((next_port + 1))
}

wait_for() { # SECONDS WHAT COMMAND…
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || die "$what: not ready; logs: $(tail -n 5 "$work"/*.log)"
    sleep 0.1
  done
}

root() { # NAME STATEMENT
  mariadb --no-defaults --socket="$work/$1.sock" -uroot -N -B -e "$2"
}

start_server() { # NAME NUMBER
  local name=$1 number=$2 as=()
  free_port
  port[$name]=$chosen
  mkdir "$work/$name"
  if [ "$(id -u)" = 0 ]; then
    chown mysql "$work/$name" "$work"
    as=(--user=mysql)
  fi
  mariadb-install-db --no-defaults "${as[@]}" --datadir="$work/$name" --skip-test-db \
    --auth-root-authentication-method=normal >"$work/$name.install.log" 2>&1 ||
    die "mariadb-install-db failed: $(tail -n 3 "$work/$name.install.log")"
  mariadbd --no-defaults "${as[@]}" --datadir="$work/$name" --socket="$work/$name.sock" \
    --bind-address=127.0.0.1 --port="${port[$name]}" --pid-file="$work/$name.pid" \
    --server-id="$number" --gtid-domain-id="$number" --log-bin=binlog --relay-log=relay \
    --log-slave-updates --binlog-format=ROW --read-only \
    --auto-increment-increment=2 --auto-increment-offset="$number" \
    --slave-parallel-threads=4 --slave-parallel-mode=optimistic \
    --sync-binlog=0 --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=256M \
    --max-connections=$((idle_clients + 500)) --open-files-limit=$((idle_clients * 2 + 4000)) \
    --back-log=1000 --skip-name-resolve --performance-schema=OFF >"$work/$name.log" 2>&1 &
  started+=($!)
  pid[$name]=$!
  wait_for 60 "server $name" root "$name" 'SELECT 1'
  root "$name" "
    SET SESSION sql_log_bin = 0;
    CREATE DATABASE bench;
    CREATE USER bench@'%' IDENTIFIED BY 'bench';
    GRANT ALL ON bench.* TO bench@'%';
    CREATE USER tandem@'%' IDENTIFIED BY 'tandem';
    GRANT ALL ON *.* TO tandem@'%';
    CREATE USER replication@'%' IDENTIFIED BY 'replication';
    GRANT REPLICATION SLAVE ON *.* TO replication@'%'"
}

follow() { # NAME PEER
  root "$1" "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port[$2]},
    MASTER_USER = 'replication', MASTER_PASSWORD = 'replication', MASTER_USE_GTID = slave_pos,
    MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1; START SLAVE"
}

# The standby has executed everything: what it still had to do must not be charged to the next path.
catch_up() {
  local position
  position=$(root m1 'SELECT @@gtid_binlog_pos')
  [ "$(root m2 "SELECT MASTER_GTID_WAIT('$position', 120)")" = 0 ] || die "the standby did not catch up"
}

start_pair() {
  start_server m1 1
  start_server m2 2
  follow m1 m2
  follow m2 m1
  # One master takes writes: Tandem would open it, and the other paths need it open too.
  root m1 'SET GLOBAL read_only = 0'
  port[direct]=${port[m1]} pid[direct]=0
  sysbench oltp_common --db-driver=mysql "${client[@]}" --mysql-port="${port[m1]}" "${oltp[@]}" --threads=2 prepare \
    >"$work/prepare.log" 2>&1 || die "sysbench prepare failed: $(tail -n 3 "$work/prepare.log")"
  catch_up
}

start_haproxy() {
  free_port
  port[haproxy]=$chosen
  cat >"$work/haproxy.cfg" <<CFG
global
    nbthread 1
    maxconn $((idle_clients + 500))
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen mysql
    bind 127.0.0.1:$chosen
    server m1 127.0.0.1:${port[m1]}
CFG
  haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
  started+=($!)
  pid[haproxy]=$!
}

# Tandem has a thread for each core that it may use. So the tests on one core get a process that was
# started there; HAProxy has one thread in either case.
start_tandem() {
  one_tandem tandem
  one_tandem tandem-pinned taskset -c 0
}

one_tandem() { # NAME PREFIX…
  local name=$1 console http
  shift
  free_port; port[$name]=$chosen
  free_port; console=$chosen
  free_port; http=$chosen
  cat >"$work/$name.toml" <<CFG
listen = ["127.0.0.1:${port[$name]}"]
[[masters]]
name = "m1"
address = "127.0.0.1:${port[m1]}"
[[masters]]
name = "m2"
address = "127.0.0.1:${port[m2]}"
[tls]
mode = "disabled"  # clients that may would encrypt, and through a blind relay they cannot
[monitor]
user = "tandem"
password = "tandem"
[admin]
console = "127.0.0.1:$console"
http = "127.0.0.1:$http"
CFG
  "$@" "$tandem" run -c "$work/$name.toml" >"$work/$name.log" 2>&1 &
  started+=($!)
  pid[$name]=$!
}

# --- how it is measured ----------------------------------------------------------------------------

client=(--mysql-host=127.0.0.1 --mysql-user=bench --mysql-password=bench --mysql-db=bench)
oltp=("--tables=$tables" "--table-size=$rows" --auto_inc=off)
results=$work/results.tsv

# Processor time of a process so far, in clock ticks: all its threads, user and system.
cpu() { # PID, 0 for none
  [ "$1" != 0 ] || { echo 0; return; }
  local stat fields
  stat=$(<"/proc/$1/stat")
  read -ra fields <<<"${stat##*) }"
  echo $((fields[11] + fields[12]))
}

memory() { # PID FIELD, in kB
  awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

pin() { # CORES PID…
  local cores=$1 process
  shift
  for process in "$@"; do [ "$process" = 0 ] || taskset -a -c -p "$cores" "$process" >/dev/null; done
}

record() { # ROUND TEST PATH FIGURE VALUE
  printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$results"
}

# Runs sysbench for one test; prints what it did: operations, seconds, average and 95th percentile (ms).
load() { # TEST CLIENTS PORT
  local log=$work/sysbench.log script per
  case $1 in
    ps) script=oltp_point_select per=queries ;;
    rw) script=oltp_read_write per=queries ;;
    conn) script=bench/connect.lua per=events ;;
  esac
  local extra=()
  [ "$1" = conn ] || extra=("${oltp[@]}")
  "${pinned[@]}" sysbench "$script" --db-driver=mysql "${client[@]}" --mysql-port="$3" "${extra[@]}" \
    --threads="$2" --time="$seconds" --report-interval=0 run >"$log" 2>&1 ||
    die "sysbench failed: $(grep -E 'FATAL|error' "$log" | head -n 3)"
  awk -v per="$per" '
    /^ *total:/ && per == "queries" { done = $2 }
    /total number of events:/ && per == "events" { done = $5 }
    /total time:/ { time = $3 + 0 }
    /^ *avg:/ { average = $2 }
    /95th percentile:/ { high = $3 }
    /reconnects:/ { if ($2 > 0) exit 1 }
    END { print done, time, average, high }' "$log" || die "connections were lost: $log"
}

stream() { # PORT: a large result, thrown away by the client; prints megabytes and seconds
  local start end
  start=$(date +%s%N)
  "${pinned[@]}" mariadb --no-defaults --quick -N -B -h 127.0.0.1 -P "$1" -ubench -pbench bench \
    -e "SELECT REPEAT('x', 999) FROM seq_1_to_$((big_megabytes * 1000))" >/dev/null ||
    die "the large result broke off"
  end=$(date +%s%N)
  echo "$big_megabytes" "$(awk -v ns=$((end - start)) 'BEGIN { print ns / 1e9 }')"
}

measure_load() { # ROUND TEST PATH
  local round=$1 test=$2 path=$3 kind clients via=$3 proxy before after did time average high pinned=()
  [[ $test =~ ^(ps|rw|conn|big)([0-9]*)(p?)$ ]]
  kind=${BASH_REMATCH[1]} clients=${BASH_REMATCH[2]}
  [ "$path${BASH_REMATCH[3]}" != tandemp ] || via='tandem-pinned'
  proxy=${pid[$via]}
  if [ -n "${BASH_REMATCH[3]}" ]; then
    pinned=(taskset -c 0)
    pin 0 "${pid[m1]}" "$proxy"
  fi
  [ "$proxy" = 0 ] || [ "$kind" != big ] || echo 5 >"/proc/$proxy/clear_refs"
  before=$(cpu "$proxy")
  if [ "$kind" = big ]; then stream "${port[$via]}"; else load "$kind" "$clients" "${port[$via]}"; fi >"$work/did"
  read -r did time average high <"$work/did"
  after=$(cpu "$proxy")
  [ "${did:-0}" != 0 ] || die "$test through $path did nothing"
  record "$round" "$test" "$path" rate "$(awk -v n="$did" -v t="$time" 'BEGIN { print n / t }')"
  if [ "$proxy" != 0 ]; then
    record "$round" "$test" "$path" cpu \
      "$(awk -v d=$((after - before)) -v hz="$ticks" -v n="$did" 'BEGIN { print d / hz / n * 1e6 }')"
    [ "$kind" != big ] || record "$round" "$test" "$path" peak "$(memory "$proxy" VmHWM)"
  fi
  if [ "$kind" != big ]; then
    record "$round" "$test" "$path" average "$average"
    record "$round" "$test" "$path" high "$high"
  fi
  [ ${#pinned[@]} = 0 ] || pin "$cores" "${pid[m1]}"
  [ "$path" != haproxy ] || pin "$cores" "$proxy"
  [ "$kind" != rw ] || catch_up
}

connected() { root m1 "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Threads_connected'"; }

measure_idle() { # ROUND PATH
  local round=$1 path=$2 proxy=${pid[$2]} before after base clients
  [ "$proxy" != 0 ] || return 0
  before=$(memory "$proxy" VmRSS)
  base=$(connected)
  sysbench bench/idle.lua --db-driver=mysql "${client[@]}" --mysql-port="${port[$path]}" \
    --threads="$idle_clients" --time=120 --thread-init-timeout=60 run >"$work/idle.log" 2>&1 &
  clients=$!
  started+=("$clients")
  all_connected() { [ $(($(connected) - base)) -ge "$idle_clients" ]; }
  wait_for 60 "idle clients" all_connected
  after=$(memory "$proxy" VmRSS)
  kill "$clients"
  wait "$clients" 2>/dev/null || true
  unset 'started[-1]'
  record "$round" idle "$path" before "$before"
  record "$round" idle "$path" with "$after"
  record "$round" idle "$path" each "$(awk -v d=$((after - before)) -v n="$idle_clients" 'BEGIN { print d / n }')"
  none_connected() { [ $(($(connected) - base)) -le 0 ]; }
  wait_for 60 "the server, to lose the idle clients" none_connected
}

describe() { # what the report says of this run
  printf 'date\t%s\n' "$(date -u +%Y-%m-%d)"
  printf 'rounds\t%s\nseconds\t%s\n' "$rounds" "$seconds"
  printf 'machine\t%s cores, %s, Linux %s\n' "$(nproc)" \
    "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" "$(uname -r)"
  printf 'version\tMariaDB %s\n' "$(root m1 'SELECT VERSION()')"
  printf 'version\t%s\n' "$(sysbench --version)"
  [ -z "${pid[haproxy]:-}" ] || printf 'version\t%s\n' "$(haproxy -v | awk 'NR == 1 { print $1, $3 }')"
  [ -z "${pid[tandem]:-}" ] ||
    printf 'version\tTandem %s (%s)\n' "$("$tandem" --version | awk '{ print $2 }')" "$(git describe --always --dirty 2>/dev/null || echo unversioned)"
  printf 'idle_clients\t%s\n' "$idle_clients"
}

main() {
  local path test round
  for path in $paths; do
    case $path in direct | haproxy | tandem) ;; *) die "no such path: $path" ;; esac
  done
  for test in $tests; do
    [[ $test =~ ^((ps|rw|conn)[1-9][0-9]*p?|bigp?|idle)$ ]] || die "no such test: $test"
  done
  scripts/ensure-server.sh
  scripts/install-packages.sh bench
  ulimit -n "$(ulimit -H -n)"
  if [[ " $paths " == *" tandem "* ]] && [ -z "$tandem" ]; then
    cargo build --release --locked --bin tandem
    tandem=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/tandem
  fi

  start_pair
  for path in $paths; do [ "$path" = direct ] || "start_$path"; done
  for path in $paths; do
    wait_for 20 "$path" mariadb --no-defaults -h 127.0.0.1 -P "${port[$path]}" -ubench -pbench bench -e 'SELECT 1'
  done
  describe >"$work/run.tsv"
  for ((round = 1; round <= rounds; round++)); do
    for test in $tests; do
      for path in $paths; do
        [ ! -t 2 ] || printf '\rround %d of %d: %-7s %-8s' "$round" "$rounds" "$test" "$path" >&2
        if [ "$test" = idle ]; then measure_idle "$round" "$path"; else measure_load "$round" "$test" "$path"; fi
      done
    done
  done
  [ ! -t 2 ] || printf '\r%40s\r' '' >&2

  bench/report.py "$work/run.tsv" "$results" >"$work/report.md"
  cat "$work/report.md"
  if [ -z "$report" ] && [ "$rounds" -ge 5 ]; then report=BENCHMARKS.md; fi
  if [ -n "$report" ]; then
    cp "$work/report.md" "$report"
    echo "bench: written to $report" >&2
  fi
}

main
