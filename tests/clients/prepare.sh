#!/usr/bin/env bash
# Makes the clients of this directory ready to run, and lists them in target/clients/commands.tsv: a
# client a line, its name and the words of its command between tabs (MODE stands for what it shall do),
# or `!` and why it is not on this machine. Nothing is installed outside target/; the packages that it
# builds on are the group `clients` of scripts/packages.txt.
set -uo pipefail
cd "$(dirname "$0")" || exit
here=$PWD
out=$(cd ../.. && pwd)/target/clients
mkdir -p "$out"
list=$out/commands.tsv.new log=$out/prepare.log
: >"$list"
: >"$log"

has() { command -v "$1" >/dev/null; }
entry() { (IFS=$'\t'; printf '%s\n' "$*") >>"$list"; }
missing() { entry "$1" '!' "$2"; }

# Runs a command once for each state of the named files: `once STAMP FILE… -- COMMAND…`.
once() {
  local stamp=$out/$1.stamp files=() sum
  shift
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  sum=$(cat "${files[@]}" | cksum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ]; then return; fi
  "$@" >>"$log" 2>&1 || return
  printf '%s\n' "$sum" >"$stamp"
}

command_lines() {
  local root=${TANDEM_MYSQL_ROOT:-$here/../../.cache/servers/mysql-9}
  if has mariadb; then entry mariadb-cli bash "$here/shell/client.sh" MODE mariadb mariadb
  else missing mariadb-cli 'no mariadb program'; fi
  if [ -x "$root/usr/bin/mysql" ]; then
    entry mysql-cli bash "$here/shell/client.sh" MODE mysql "$root/lib64/ld-linux-x86-64.so.2" --library-path \
      "$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/mysql/private" "$root/usr/bin/mysql"
  else missing mysql-cli 'MySQL 9 was not fetched (scripts/fetch-server.sh mysql-9)'; fi
}

make_venv() {
  # Debian's Python, whose headers come with the package that the list names.
  /usr/bin/python3 -m venv --clear "$out/venv" && "$out/venv/bin/pip" install -q -r python/requirements.txt
}

python_drivers() {
  local name reason=
  if [ ! -x /usr/bin/python3 ]; then reason='no /usr/bin/python3'
  elif ! once venv python/requirements.txt -- make_venv; then reason="its packages cannot be installed ($log)"; fi
  for name in pymysql mysqlclient connector-pure connector-c aiomysql asyncmy sqlalchemy django; do
    if [ -n "$reason" ]; then missing "python-$name" "$reason"; continue; fi
    # Without bytecode beside the sources.
    case $name in
      connector-*) entry "python-$name" "$out/venv/bin/python" -B "$here/python/connector_client.py" MODE "${name#*-}" ;;
      *) entry "python-$name" "$out/venv/bin/python" -B "$here/python/${name}_client.py" MODE ;;
    esac
  done
}

install_modules() {
  mkdir -p "$out/node" && cp node/package.json node/package-lock.json "$out/node" &&
    (cd "$out/node" && npm ci --no-audit --no-fund)
}

node_drivers() {
  local name reason=
  if ! has node || ! has npm; then reason='no node or npm'
  elif ! once node node/package-lock.json -- install_modules; then reason="its packages cannot be installed ($log)"; fi
  for name in mysql2 mariadb; do
    if [ -n "$reason" ]; then missing "node-$name" "$reason"
    else entry "node-$name" env "NODE_PATH=$out/node/node_modules" node "$here/node/${name}_client.js" MODE; fi
  done
}

php_drivers() {
  local name
  for name in mysqli pdo; do
    if has php && php -r 'exit((int) !extension_loaded("mysqli"));'; then
      entry "php-$name" php -d mysqli.allow_local_infile=1 -d memory_limit=1G "$here/php/${name}_client.php" MODE
    else missing "php-$name" 'no php with mysqli'; fi
  done
}

perl_driver() {
  if perl -MDBD::MariaDB -e 1 2>/dev/null; then entry perl-dbd perl "$here/perl/client.pl" MODE
  else missing perl-dbd 'no DBD::MariaDB'; fi
}

compile_c() {
  # Word by word: what pkg-config prints are arguments.
  # shellcheck disable=SC2046
  cc -O1 -Wall -Wextra -Werror -o "$out/c_client" c/client.c $(pkg-config --cflags --libs libmariadb)
}

c_library() {
  if ! has cc || ! pkg-config --exists libmariadb 2>/dev/null; then missing libmariadb 'no cc or no libmariadb-dev'
  elif once c c/client.c -- compile_c; then entry libmariadb "$out/c_client" MODE
  else missing libmariadb "it cannot be compiled ($log)"; fi
}

# Debian's packages of Go sources lie here; no module is fetched.
compile_go() { GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$out/go-cache GOFLAGS='' go build -o "$out/go_client" go/client.go; }

go_driver() {
  if ! has go || [ ! -d /usr/share/gocode/src/github.com/go-sql-driver/mysql ]; then missing go 'no go, or no go-sql-driver'
  elif once go go/client.go -- compile_go; then entry go "$out/go_client" MODE
  else missing go "it cannot be compiled ($log)"; fi
}

java_driver() {
  local jar=/usr/share/java/mariadb-java-client.jar
  if ! has javac || [ ! -f "$jar" ]; then missing java 'no javac, or no libmariadb-java'
  elif once java java/Client.java -- javac -d "$out/java" java/Client.java; then
    entry java java -cp "$jar:$out/java" Client MODE
  else missing java "it cannot be compiled ($log)"; fi
}

rust_drivers() {
  local name
  for name in sqlx mysql_async diesel; do
    if CARGO_TARGET_DIR=$out/rust cargo build --locked --quiet --manifest-path rust/Cargo.toml --bin "${name}_client" \
      >>"$log" 2>&1; then
      entry "rust-$name" "$out/rust/debug/${name}_client" MODE
    else missing "rust-$name" "it cannot be built ($log)"; fi
  done
}

command_lines
c_library
python_drivers
node_drivers
php_drivers
perl_driver
go_driver
java_driver
rust_drivers
mv "$list" "${list%.new}"
