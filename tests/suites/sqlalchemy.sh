# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# SQLAlchemy's dialect tests, which its wheel carries (sqlalchemy.testing.suite), with PyMySQL.

# shellcheck source=python.bash
. "$here/python.bash"

fetch() {
  environment sqlalchemy-venv SQLAlchemy==2.0.51 PyMySQL==1.1.2 pytest==8.4.2 pytest-timeout==2.4.0 cryptography
}

run() {
  mkdir -p "$work/suite"
  echo 'from sqlalchemy.testing.plugin.pytestplugin import *' >"$work/suite/conftest.py"
  cat >"$work/suite/conftest.py" <<'EOF'
from sqlalchemy.dialects import registry
import pytest
pytest.register_assert_rewrite("sqlalchemy.testing.assertions")
from sqlalchemy.testing.plugin.pytestplugin import *
EOF
  echo 'from sqlalchemy.testing.suite import *' >"$work/suite/test_suite.py"
  printf '[tool:pytest]\naddopts = --tb native -v -r fxX\n[sqla_testing]\nrequirement_cls = requirements:Requirements\nprofile_file = profiles.txt\n' >"$work/suite/setup.cfg"
  # What the dialect says of itself, and nothing more.
  printf 'from sqlalchemy.testing.requirements import SuiteRequirements as Requirements\n' >"$work/suite/requirements.py"
  mariadb --no-defaults -h "$host" -P "$directly" -u suite -psuite -e '
    CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4;
    CREATE DATABASE IF NOT EXISTS test_schema CHARACTER SET utf8mb4'
  cd "$work/suite" || return
  local only=("$@")
  [ $# -gt 0 ] || only=(test_suite.py)
  PYTHONPATH=$work/suite timeout 900 "$cache/sqlalchemy-venv/bin/pytest" -v -p no:cacheprovider --timeout=60 \
    --dburi "mariadb+pymysql://suite:suite@$host:$port/test" "${only[@]}" | tee "$work/out"
  # The version of the server and the driver is in the names; it is the same on both sides.
  outcomes "$work/out" >"$list"
}
