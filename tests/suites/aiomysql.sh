# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# aiomysql's own tests, from its source distribution: PyMySQL's suite in asyncio's form, with pools,
# LOCAL INFILE, several results, TLS and caching_sha2_password.

# shellcheck source=python.bash
. "$here/python.bash"

version=0.3.2

fetch() {
  # What its requirements-dev.txt asks for.
  environment aiomysql-venv "aiomysql==$version" PyMySQL==1.1.2 SQLAlchemy==1.3.24 uvloop==0.22.1 \
    pytest==8.4.2 pytest-timeout==2.4.0 cryptography setuptools || return
  sources aiomysql "$version"
}

run() {
  export MYSQL_ROOT_PASSWORD=suite PYTHONWARNINGS=ignore
  cp -r "$cache/aiomysql-$version/tests" "$work/"
  # Its accounts are root, which has no password here, and its certificates are of a server of its own:
  # TLS is what test_ssl is for, the others run without it.
  sed -i "s/'user': 'root'/'user': 'suite'/; s/server_params\[\"ssl\"\] = ctx/pass/
    s/assert result\['Value'\].startswith('TLS')/assert True/" "$work/tests/conftest.py"
  # Each test is there for two event loops, which differ for aiomysql alone.
  if [ $# = 0 ]; then set -- tests ${quick:+-k asyncio}; fi
  "$cache/aiomysql-venv/bin/pytest" -v -p no:cacheprovider --timeout=60 --mysql-address "server=$host:$port" "$@" |
    tee "$work/out"
  outcomes "$work/out" >"$list"
}
