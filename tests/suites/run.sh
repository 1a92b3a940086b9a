#!/usr/bin/env bash
# Runs test suites that others wrote against a server and through the proxy, and shows the difference.
#
#   tests/suites/run.sh [--quick] [SUITE…]      all of them without an argument, in the order of order.txt
#
# A suite is a file beside this one, SUITE.sh. It brings the suite's sources into $cache, from where
# everybody gets them: nothing of them is in this repository. It has two functions, and may have a third:
#
#   fetch        makes sure that the suite is there; prints `skipped: WHY` and returns 77 if it cannot be
#   run NAME…    runs the suite, or only these tests, against $host:$port as $user with $password, with
#                $work as its own directory, and writes a line `NAME<tab>pass|fail|skip` for each to $list;
#                what it prints is the log. $quick is set when four minutes are to suffice for all suites
#   arguments    prints further arguments for the servers, one a line
#
# Each side has a pair of servers and a proxy of its own, from the same beginning, so that no side sees
# what the other left behind, and both run at the same time. `direct` talks to the active master.
#
# What passes directly must pass through the proxy. A test that does not is run again on both sides,
# alone; if it differs again it is shown, unless exceptions.txt has it with a reason. An exception
# that passes is shown too: the line can go. Ends with status 1 if anything is shown, and with lines that
# scripts/test.sh counts.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.." || exit
root=$PWD

export quick=''
suites=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=yes ;;
    -*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
    *) suites+=("$1") ;;
  esac
  shift
done
if [ ${#suites[@]} = 0 ]; then
  mapfile -t suites < <(grep -v '^#' "$here/order.txt" | awk -v quick="$quick" '!quick || $2 == "quick" { print $1 }')
fi

export cache=${SUITES_CACHE:-$root/.cache/suites}
results=$root/target/suites
mkdir -p "$cache" "$results"
stack=${TANDEM_STACK:-$root/target/debug/examples/stack}

# For fetch: the packages of these groups.
packages() { # GROUP…
  "$root/scripts/install-packages.sh" "$@" && return
  echo "skipped: the packages of $* could not be installed"
  return 77
}

# For fetch of a suite that is about MariaDB's server.
of_mariadb() {
  [ -z "${TANDEM_SERVER:-}" ] || [ -x "$TANDEM_SERVER/usr/sbin/mariadbd" ] && return
  echo "skipped: it is of MariaDB's server, and TANDEM_SERVER names another"
  return 77
}

# The value of a key in the line of JSON that a stack begins with.
value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2"; }

# Runs one side of a suite with servers of its own: in a subshell, for it has the suite's functions.
side() ( # SUITE SIDE DIRECTORY NAME…
  suite=$1 side=$2 work=$3
  shift 3
  export host=127.0.0.1 port user=root password='' list=$work/list work side
  rm -rf "$work"
  mkdir -p "$work"
  : >"$list"
  # shellcheck source=/dev/null
  . "$here/$suite.sh"
  server=()
  if declare -F arguments >/dev/null; then mapfile -t server < <(arguments); fi
  # The servers end when this descriptor is closed: with this subshell, whatever becomes of it.
  mkfifo "$work/until"
  "$stack" "${server[@]}" <"$work/until" >"$work/stack" 2>"$work/stack.log" &
  local pid=$!
  exec 9>"$work/until"
  until grep -q proxy "$work/stack"; do
    kill -0 "$pid" 2>/dev/null || { echo "no servers:"; cat "$work/stack.log"; exit 1; }
    read -rt 0.05 <> <(:) || true
  done
  if [ "$side" = direct ]; then port=$(value direct "$work/stack"); else port=$(value proxy "$work/stack"); fi
  directly=$(value direct "$work/stack")
  export directly
  cd "$work" || exit
  run "$@" </dev/null 9>&-
  exec 9>&-
  wait "$pid"
)

# Both sides of a suite, at the same time.
both() { # SUITE DIRECTORY NAME…
  local suite=$1 directory=$2 side
  shift 2
  for side in direct proxied; do
    mkdir -p "$directory"
    side "$suite" "$side" "$directory/$side" "$@" >"$directory/$side.log" 2>&1 &
  done
  wait
  for side in direct proxied; do
    sort -u "$directory/$side/list" >"$directory/$side.txt"
  done
}

# NAME, direct, proxied: for every test that passed directly and not through the proxy.
differences() { # DIRECTORY
  join -t $'\t' -a 1 -e missing -o 0,1.2,2.2 "$1/direct.txt" "$1/proxied.txt" |
    awk -F '\t' '$2 == "pass" && $3 != "pass"'
}

lines=() total_passed=0 total_failed=0 total_skipped=0
compare() { # SUITE
  local suite=$1 directory=$results/$1 start=$SECONDS why
  local passed=0 failed=0 neither=0 excepted=0
  rm -rf "$directory"
  mkdir -p "$directory"
  # shellcheck source=/dev/null
  if ! (. "$here/$suite.sh" && cd "$cache" && fetch) >"$directory/fetch.log" 2>&1 </dev/null; then
    why=$(sed -n 's/^skipped: //p' "$directory/fetch.log" | tail -n 1)
    if [ -n "$why" ]; then
      lines+=("$suite: skipped: $why")
      total_skipped=$((total_skipped + 1))
    else
      tail -n 20 "$directory/fetch.log"
      lines+=("$suite: could not be fetched")
      total_failed=$((total_failed + 1))
    fi
    return
  fi

  both "$suite" "$directory"
  local -a again=()
  mapfile -t again < <(differences "$directory" | cut -f 1 | known "$suite" not)
  if [ ${#again[@]} -gt 0 ] && [ ${#again[@]} -le 40 ]; then
    both "$suite" "$directory/again" "${again[@]}"
    for side in direct proxied; do
      # The second answer counts.
      sort -t $'\t' -k 1,1 -u "$directory/again/$side.txt" "$directory/$side.txt" >"$directory/$side.new" &&
        mv "$directory/$side.new" "$directory/$side.txt"
    done
  fi

  local name direct proxied
  while IFS=$'\t' read -r name direct proxied; do
    case $direct/$proxied in
      pass/pass)
        passed=$((passed + 1))
        if [ -n "$(echo "$name" | known "$suite")" ]; then
          failed=$((failed + 1))
          echo "$suite: $name passes: its line in exceptions.txt can go"
        fi ;;
      pass/*)
        if [ -n "$(echo "$name" | known "$suite")" ]; then
          excepted=$((excepted + 1))
        else
          failed=$((failed + 1))
          echo "$suite: $name: direct $direct, proxied $proxied"
        fi ;;
      *) neither=$((neither + 1)) ;;
    esac
  done < <(join -t $'\t' -a 1 -e missing -o 0,1.2,2.2 "$directory/direct.txt" "$directory/proxied.txt")
  if [ "$passed" = 0 ]; then
    failed=$((failed + 1))
    echo "$suite: nothing passed"
    tail -n 20 "$directory/direct.log" "$directory/proxied.log"
  fi
  lines+=("$(printf '%-22s %4d passed on both sides, %d only directly, %d excepted, %d do not pass directly, %d s' \
    "$suite" "$passed" "$failed" "$excepted" "$neither" $((SECONDS - start)))")
  total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
}

# Those of the names on standard input that exceptions.txt has for a suite, or has not.
known() { # SUITE [not]
  awk -F '\t' -v suite="$1" -v no="${2:-}" '
    NR == FNR { if ($0 !~ /^#/ && $1 == suite) has[$2] = 1; next }
    ($1 in has) == (no == "")' "$here/exceptions.txt" -
}

for suite in "${suites[@]}"; do
  [ -f "$here/$suite.sh" ] || { echo "run.sh: no such suite: $suite" >&2; exit 2; }
  printf '== %s\n' "$suite"
  compare "$suite"
done
echo
printf '%s\n' "${lines[@]}"
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ "$total_failed" = 0 ]
