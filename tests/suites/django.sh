# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# Django's own tests of what speaks to the database, from its source distribution, with PyMySQL.

# shellcheck source=python.bash
. "$here/python.bash"

version=5.2.19
labels=(
  backends basic transactions transaction_hooks bulk_create custom_pk datatypes dates datetimes delete
  expressions expressions_case expressions_window get_or_create introspection inspectdb lookup
  many_to_many many_to_one model_fields null_queries or_lookups ordering raw_query
  save_delete_hooks schema select_for_update select_related test_utils timezones update
)

fetch() {
  environment django-venv "Django==$version" PyMySQL==1.1.2 cryptography || return
  sources Django "$version"
}

run() {
  cat >"$work/settings_suite.py" <<EOF
import pymysql
pymysql.version_info = (2, 2, 1, "final", 0)  # Django asks for a mysqlclient of that age
pymysql.install_as_MySQLdb()
def database(name):
    return {
        "ENGINE": "django.db.backends.mysql", "NAME": name, "USER": "suite", "PASSWORD": "suite",
        "HOST": "$host", "PORT": $port, "TEST": {"CHARSET": "utf8mb4"},
    }
DATABASES = {"default": database("django"), "other": database("django_other")}
SECRET_KEY = "suite"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
EOF
  if [ $# -gt 0 ]; then labels=("$@"); fi
  cd "$cache/Django-$version/tests" || return
  PYTHONPATH=$work timeout 1500 "$cache/django-venv/bin/python" -W ignore runtests.py --settings=settings_suite \
    --parallel=1 --noinput -v 2 "${labels[@]}" 2>&1 | tee "$work/out"
  unittest_outcomes "$work/out" >"$list"
}
