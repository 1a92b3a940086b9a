# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# MySQL Connector/Python's own tests, from its source distribution, without its C extension.

# shellcheck source=python.bash
. "$here/python.bash"

version=26.10.0

fetch() {
  environment connector-venv cryptography || return
  sources mysql-connector-python "$version"
}

run() {
  # It writes where it lies.
  cp -r "$cache/mysql-connector-python-$version" "$work/source"
  cd "$work/source" || return
  mariadb --no-defaults -h "$host" -P "$directly" -u suite -psuite -e 'CREATE DATABASE IF NOT EXISTS test;
    CREATE DATABASE IF NOT EXISTS myconnpy'
  local one=()
  for name in "$@"; do one+=(-T "$name"); done
  PYTHONPATH=$work/source/lib timeout 900 "$cache/connector-venv/bin/python" -W ignore unittests.py \
    --use-external-server --skip-install --host "$host" --port "$port" --user suite --password suite \
    --verbosity 2 "${one[@]}" 2>&1 | tee "$work/out"
  unittest_outcomes "$work/out" >"$list"
}
