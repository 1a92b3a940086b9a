# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# mysql_async's own tests, from the crate that Tandem itself is built with.

fetch() {
  local crate version
  crate=$(cargo metadata --locked --format-version 1 --manifest-path "$root/Cargo.toml" |
    grep -o '"manifest_path":"[^"]*/mysql_async-[^"]*/Cargo.toml"' | head -n 1 | cut -d '"' -f 4)
  [ -n "$crate" ] || { echo "skipped: cargo does not know where mysql_async is"; return 77; }
  crate=$(dirname "$crate")
  version=$(basename "$crate")
  if [ ! -d "$cache/$version" ]; then
    cp -r "$crate" "$cache/$version" && chmod -R u+w "$cache/$version"
  fi
  ln -sfn "$version" "$cache/mysql_async"
  cd "$cache/mysql_async" && cargo test --lib --no-run --no-default-features --features minimal-rust,derive
}

arguments() {
  printf '%s\n' --binlog-format=ROW
}

run() {
  cd "$cache/mysql_async" || return
  mariadb --no-defaults -h "$host" -P "$directly" -u suite -psuite -e 'CREATE DATABASE IF NOT EXISTS mysql_async'
  # One after the other: they use the same tables.
  DATABASE_URL="mysql://suite:suite@$host:$port/mysql_async?prefer_socket=false" timeout 600 \
    cargo test --lib --no-fail-fast --no-default-features --features minimal-rust,derive -- --test-threads=1 "$@" 2>&1 |
    tee "$work/out"
  sed -nE 's/^test (.*) \.\.\. (ok|FAILED|ignored.*)$/\1\t\2/p' "$work/out" |
    sed -E 's/\tok$/\tpass/; s/\tFAILED$/\tfail/; s/\tignored.*$/\tskip/' >"$list"
}
