#!/usr/bin/env bash
# Runs the test suites and counts: one line a suite, then `N passed, N failed, N skipped`.
#
#   scripts/test.sh [SUITE…]      all of them without an argument:
#                                 rust doc scripts clients suites compose mysql-9 mariadb-11.8;
#                                 clients, suites and compose run beside the others, and print when they end
#   scripts/test.sh all-suites    what `suites` runs a part of: tests that others wrote, see tests/suites/run.sh
#
# A suite is a function here. It prints as it likes, leaves its counts in passed, failed and skipped,
# and may leave a reason in note. The suites with a server's name are the tests that need servers,
# once more, before that one: scripts/fetch-server.sh has it or gets it. A server that cannot be had
# is skipped, and the suite's line says why.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

work=$(mktemp -d)
lane=
trap 'if [ -n "$lane" ]; then kill -- "-$lane"; fi; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# Each server's system tables are made once for all tests of this run.
mkdir "$work/templates"
export TANDEM_SANDBOX_TEMPLATES=$work/templates

# Runs a command, showing its output and keeping it, without colours, in $out.
keep() {
  "$@" 2>&1 | tee "$out.raw"
  local status=${PIPESTATUS[0]}
  sed 's/\x1b\[[0-9;]*m//g' "$out.raw" >"$out"
  return "$status"
}

# Adds up the numbers that stand before a word in the lines of $out that match a pattern.
count() { # PATTERN WORD
  grep -E "$1" "$out" | grep -oE "[0-9]+ $2" | awk '{ sum += $1 } END { print sum + 0 }'
}

cargo_test() {
  keep cargo test --locked --no-fail-fast "$@"
  local status=$?
  passed=$(count '^test result:' passed) failed=$(count '^test result:' failed)
  skipped=$(count '^test result:' ignored)
  return $status
}

# How many runs of the failover simulation: its own default is for those who wait for it.
export SIMULATION_RUNS=${SIMULATION_RUNS:-100000}

# Why tests/partitions and tests/full_disk cannot run here: they need namespaces, of the network and of mounts, and
# so root, and the first one iproute2.
no_namespaces() {
  command -v ip >/dev/null || { echo 'no ip (iproute2)'; return; }
  unshare --net --mount true 2>&1 >/dev/null | head -n 1
}

rust() { # [--test=FILE…]
  local without=() why
  if [ $# = 0 ]; then
    why=$(no_namespaces)
    if [ -n "$why" ]; then
      note="every_link_is_cut_and_healed and a_master_without_room_is_replaced skipped: $why"
      without=(-E 'not binary(partitions) and not binary(full_disk)')
    fi
  fi
  if cargo nextest --version >/dev/null 2>&1; then
    keep cargo nextest run --locked --profile ci "$@" "${without[@]}"
    local status=$?
    passed=$(count '^ *Summary' passed) skipped=$(count '^ *Summary' skipped)
    failed=$(count '^ *Summary' '(failed|timed out|exec failed)')
    return $status
  fi
  if [ $# = 0 ]; then set -- --lib --bins --tests; fi
  cargo_test "$@"
}

doc() { cargo_test --doc; }

scripts() {
  if ! command -v shellcheck >/dev/null; then
    skipped=1 note='no shellcheck'
    return
  fi
  local file
  for file in .ci/run scripts/*.sh tests/compose/*.sh tests/compose/mariadb/*.sh docker/*.sh bench/*.sh \
    tests/clients/*.sh tests/clients/shell/*.sh tests/suites/*.sh tests/suites/*.bash; do
    if shellcheck --severity=warning "$file"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  done
}

# A client before a server is one test.
clients() {
  tests/clients/prepare.sh || return
  keep cargo run --quiet --locked --example clients
  local status=$?
  passed=$(count '^clients:' passed) failed=$(count '^clients:' failed) skipped=$(count '^clients:' skipped)
  note=$(grep '^NOT TESTED' "$out" | sed 's/^NOT TESTED: //' | paste -s -d ';')
  return $status
}

suites() { foreign_suites --quick; }

# Its last line has the counts; what is skipped has a line of its own that says why.
foreign_suites() {
  cargo build --quiet --locked --example stack || return
  keep tests/suites/run.sh "$@"
  local status=$?
  passed=$(tail -n 1 "$out" | grep -oE '[0-9]+ passed' | cut -d ' ' -f 1)
  failed=$(tail -n 1 "$out" | grep -oE '[0-9]+ failed' | cut -d ' ' -f 1)
  skipped=$(tail -n 1 "$out" | grep -oE '[0-9]+ skipped' | cut -d ' ' -f 1)
  note=$(grep -E '^[a-z0-9-]+: skipped: ' "$out" | paste -s -d ';')
  return "$status"
}

compose() {
  keep tests/compose/run.sh
  case $? in
    0) passed=1 ;;
    77) skipped=1 note=$(sed -n 's/^skipped: //p' "$out" | tail -n 1) ;;
    *) failed=1 ;;
  esac
}

# What is tested before every server: each file of tests/ that starts real ones, but for memory.rs,
# demo.rs, drill.rs and sandbox_cleanup.rs (the proxy's own memory, what the others test, how the owner of
# servers ends), for partitions (the network's business, not the server's), and for tls and hops, which are
# written for MariaDB and have their own cases for MySQL 9.
with_servers=(sandbox setup control sessions failover three_masters operating protocol replication_status wire as_the_server
  clients logins stranded check reads)

# Before anything is run: the clients use a server that is there. Leaves a reason where there is none.
fetch() { # NAME
  local out=$work/fetch
  printf '\n== %s\n' "$1"
  if ! keep timeout 900 scripts/fetch-server.sh "$1"; then
    grep . "$out" | tail -n 1 >"$work/no-$1"
    [ -s "$work/no-$1" ] || echo "$1 could not be fetched" >"$work/no-$1"
  fi
}

# The same programs that `rust` has built and run; only the environment differs.
server() { # NAME
  if [ -e "$work/no-$1" ]; then
    skipped=1 note=$(cat "$work/no-$1")
    return
  fi
  local -x TANDEM_SERVER=$PWD/.cache/servers/$1
  local tests=("${with_servers[@]}") why
  why=$(no_namespaces)
  if [ -z "$why" ]; then tests+=(full_disk); else note="a_master_without_room_is_replaced skipped: $why"; fi
  rust "${tests[@]/#/--test=}"
}

# Leaves the suite's line and its three counts in $work.
run() { # SUITE
  local suite=$1 start=$SECONDS status out=$work/$1
  passed=0 failed=0 skipped=0 note=
  printf '\n== %s\n' "$suite"
  case $suite in
    mysql-* | mariadb-*) server "$suite" ;;
    all-suites) foreign_suites ;;
    *) "$suite" ;;
  esac
  status=$?
  # What could not be built or run at all has no counts, but it has not passed.
  if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1 note="ended with status $status"; fi
  printf '%-12s %4d passed %3d failed %3d skipped %5d s%s\n' \
    "$suite" "$passed" "$failed" "$skipped" $((SECONDS - start)) "${note:+   ($note)}" >"$out.line"
  echo "$passed $failed $skipped" >"$out.counts"
}

beside=()
if [ $# = 0 ]; then
  set -- rust doc scripts mysql-9 mariadb-11.8
  beside=(clients suites compose)
fi
for suite in "$@"; do
  case $suite in
    mysql-9 | mariadb-11.8) fetch "$suite" ;;
    rust | doc | scripts | clients | suites | compose | all-suites) ;;
    *) echo "test.sh: no such suite: $suite" >&2; exit 2 ;;
  esac
done
if [ ${#beside[@]} != 0 ]; then
  # A process group of its own, to be ended whole.
  set -m
  for suite in "${beside[@]}"; do run "$suite"; done >"$work/beside" 2>&1 </dev/null &
  lane=$!
  set +m
fi
for suite in "$@"; do run "$suite"; done
if [ -n "$lane" ]; then wait "$lane"; lane=; fi
[ ${#beside[@]} = 0 ] || cat "$work/beside"

echo
for suite in "$@" "${beside[@]}"; do
  # A suite that has left nothing was killed.
  [ -e "$work/$suite.line" ] || printf '%-12s ended without a result\n' "$suite" >"$work/$suite.line"
  [ -e "$work/$suite.counts" ] || echo 0 1 0 >"$work/$suite.counts"
  cat "$work/$suite.line"
done
cat "$work"/*.counts | awk '{ passed += $1; failed += $2; skipped += $3 }
  END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit failed != 0 }'
