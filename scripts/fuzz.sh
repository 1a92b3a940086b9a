#!/usr/bin/env bash
# Fuzzes the readers of bytes, one target after the other, and says what each run came to.
#
#   scripts/fuzz.sh [-m MINUTES] [TARGET…]   every target of fuzz/fuzz_targets, 5 minutes each
#   scripts/fuzz.sh -k [TARGET…]             takes what was found since into fuzz/corpus
#
# What is found stays in target/fuzz/corpus, so that the next run begins there; an input that breaks
# something is in fuzz/artifacts. What goes into fuzz/corpus is one small input for every piece of code
# that no other input there reaches.
#
# cargo-fuzz is built into .cache/tools when it is not installed. It needs no nightly toolchain here:
# Tandem has no unsafe code, so the targets run without a sanitizer, at twice the speed.
set -euo pipefail
cd "$(dirname "$0")/.."

LONGEST=1024 # bytes of an input; tests/fuzz_corpus.rs insists on it for those that are kept
minutes=5 keep=
while getopts m:k option; do
  case $option in
    m) minutes=$OPTARG ;;
    k) keep=yes ;;
    *) sed -n '4,5s/^# *//p' "$0" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ $# = 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do set -- "$@" "$(basename "$file" .rs)"; done
fi

PATH=$PWD/.cache/tools/bin:$PATH
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "Building cargo-fuzz into .cache/tools …"
  cargo install --quiet --locked --root .cache/tools cargo-fuzz
fi
# The versions of everything that Tandem is built with; cargo adds what only the targets need.
cp Cargo.lock fuzz/Cargo.lock

run() { # TARGET DIRECTORY… -- OPTION…
  cargo fuzz run --sanitizer none "$@" -max_len=$LONGEST -timeout=20
}

lines=() failed=0
for target in "$@"; do
  found=target/fuzz/corpus/$target kept=fuzz/corpus/$target log=target/fuzz/$target.log
  mkdir -p "$found"
  if [ -n "$keep" ]; then
    run "$target" "$kept" "$found" -- -merge=1 -use_counters=0 2>&1 | grep -E '^(MERGE|#)' | tail -n 1
    continue
  fi
  printf '\n== %s\n' "$target"
  verdict=ok
  run "$target" "$found" "$kept" -- -max_total_time=$((60 * minutes)) -print_final_stats=1 \
    2>&1 | tee "$log" | grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE)|^[[:space:]]*NEW_(FUNC|PC)' \
    || verdict=BROKEN failed=1
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  reach=$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$log" | tail -n 1)
  lines+=("$(printf '%-14s %-6s %10s runs   %s' "$target" "$verdict" "${runs:-?}" "$reach")")
done
if [ -z "$keep" ]; then printf '\n' && printf '%s\n' "${lines[@]}"; fi
exit $failed
