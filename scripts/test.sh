#!/usr/bin/env bash
# Runs the test suites and counts: one line a suite, then `N passed, N failed, N skipped`.
#
#   scripts/test.sh [SUITE…]      all of them without an argument:
#                                 rust doc scripts clients suites compose mysql-9 mariadb-11.8
#   scripts/test.sh all-suites    what `suites` runs a part of: tests that others wrote, see tests/suites/run.sh
#
# A suite is a function here. It prints as it likes, leaves its counts in passed, failed and skipped,
# and may leave a reason in note. The suites with a server's name are the tests that need servers,
# once more, before that one: scripts/fetch-server.sh has it or gets it. A server that cannot be had
# is skipped, and the suite's line says why.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Each server's system tables are made once for all tests of this run.
mkdir "$work/templates"
export TANDEM_SANDBOX_TEMPLATES=$work/templates
lines=() total_passed=0 total_failed=0 total_skipped=0

# Runs a command, showing its output and keeping it, without colours, in $work/out.
keep() {
  "$@" 2>&1 | tee "$work/raw"
  local status=${PIPESTATUS[0]}
  sed 's/\x1b\[[0-9;]*m//g' "$work/raw" >"$work/out"
  return "$status"
}

# Adds up the numbers that stand before a word in the lines of $work/out that match a pattern.
count() { # PATTERN WORD
  grep -E "$1" "$work/out" | grep -oE "[0-9]+ $2" | awk '{ sum += $1 } END { print sum + 0 }'
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

rust() { # [--test=FILE…]
  if cargo nextest --version >/dev/null 2>&1; then
    keep cargo nextest run --locked --profile ci "$@"
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
  note=$(grep '^NOT TESTED' "$work/out" | sed 's/^NOT TESTED: //' | paste -s -d ';')
  return $status
}

suites() { foreign_suites --quick; }

all_suites() { foreign_suites; }

# Its last line has the counts; what is skipped has a line of its own that says why.
foreign_suites() {
  cargo build --quiet --locked --example stack || return
  keep tests/suites/run.sh "$@"
  local status=$?
  passed=$(tail -n 1 "$work/out" | grep -oE '[0-9]+ passed' | cut -d ' ' -f 1)
  failed=$(tail -n 1 "$work/out" | grep -oE '[0-9]+ failed' | cut -d ' ' -f 1)
  skipped=$(tail -n 1 "$work/out" | grep -oE '[0-9]+ skipped' | cut -d ' ' -f 1)
  note=$(grep -E '^[a-z0-9-]+: skipped: ' "$work/out" | paste -s -d ';')
  return "$status"
}

compose() {
  keep tests/compose/run.sh
  case $? in
    0) passed=1 ;;
    77) skipped=1 note=$(sed -n 's/^skipped: //p' "$work/out" | tail -n 1) ;;
    *) failed=1 ;;
  esac
}

# What is tested before every server: each file of tests/ that starts real ones, but for memory.rs,
# demo.rs and sandbox_cleanup.rs (the proxy's own memory, what the others test, how the owner of servers
# ends), and for tls and hops, which are written for MariaDB and have their own cases for MySQL 9.
with_servers=(sandbox control sessions failover operating protocol wire as_the_server clients logins stranded)

# Before anything is run: the clients use a server that is there. Leaves a reason where there is none.
fetch() { # NAME
  printf '\n== %s\n' "$1"
  if ! keep timeout 900 scripts/fetch-server.sh "$1"; then
    grep . "$work/out" | tail -n 1 >"$work/no-$1"
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
  rust "${with_servers[@]/#/--test=}"
}

run() { # SUITE
  local suite=$1 start=$SECONDS status
  passed=0 failed=0 skipped=0 note=
  printf '\n== %s\n' "$suite"
  case $suite in
    mysql-* | mariadb-*) server "$suite" ;;
    *) "$suite" ;;
  esac
  status=$?
  # What could not be built or run at all has no counts, but it has not passed.
  if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1 note="ended with status $status"; fi
  lines+=("$(printf '%-12s %4d passed %3d failed %3d skipped %5d s%s' \
    "$suite" "$passed" "$failed" "$skipped" $((SECONDS - start)) "${note:+   ($note)}")")
  total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
  total_skipped=$((total_skipped + skipped))
}

[ $# -gt 0 ] || set -- rust doc scripts clients suites compose mysql-9 mariadb-11.8
for suite in "$@"; do
  case $suite in mysql-9 | mariadb-11.8) fetch "$suite" ;; esac
done
for suite in "$@"; do
  case $suite in
    rust | doc | scripts | clients | suites | compose | mysql-9 | mariadb-11.8) run "$suite" ;;
    all-suites) run all_suites ;;
    *) echo "test.sh: no such suite: $suite" >&2; exit 2 ;;
  esac
done

echo
printf '%s\n' "${lines[@]}"
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ "$total_failed" = 0 ]
