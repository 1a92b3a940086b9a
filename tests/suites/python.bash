# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# What the suites in Python have in common: sourced by them.

# Makes a virtual environment of this name in the cache, with these packages.
environment() { # NAME REQUIREMENT…
  local name=$1 wanted
  shift
  packages suites-python || return
  wanted=$(printf '%s\n' "$@")
  [ "$(cat "$cache/$name/wanted" 2>/dev/null)" = "$wanted" ] && return
  rm -rf "${cache:?}/$name"
  python3 -m venv "$cache/$name" || return
  if ! "$cache/$name/bin/pip" install -q --disable-pip-version-check "$@"; then
    echo "skipped: pip could not install $*"
    return 77
  fi
  echo "$wanted" >"$cache/$name/wanted"
}

# Unpacks the source distribution of a package into the cache, as NAME-VERSION.
sources() { # NAME VERSION
  [ -d "$cache/$1-$2" ] && return
  local unpacked
  unpacked=$(mktemp -d "$cache/unpack.XXXXXX")
  if ! python3 -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$unpacked" "$1==$2"; then
    rm -rf "$unpacked"
    echo "skipped: pip could not download the sources of $1 $2"
    return 77
  fi
  tar -C "$unpacked" -xzf "$unpacked"/*.tar.gz && mv -T "$unpacked"/*/ "$cache/$1-$2"
  rm -rf "$unpacked"
}

# The list that pytest's -v output amounts to.
outcomes() { # FILE
  sed -nE 's/^(\S+::.*\S) +(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)( .*)?$/\1\t\2/p' "$1" |
    sed -E 's/\t(PASSED|XPASS)$/\tpass/; s/\t(FAILED|ERROR)$/\tfail/; s/\t(SKIPPED|XFAIL)$/\tskip/'
}

# The list that the output of unittest's -v amounts to: `method (module.Class.method) ... ok`, or as
# Connector/Python has it, `module.Class.method ... ok`. What a test prints may stand in between.
unittest_outcomes() { # FILE
  awk '
    match($0, /^[A-Za-z0-9_]+ \([A-Za-z0-9_.]+\)/) { name = substr($0, 1, RLENGTH - 1); sub(/.*\(/, "", name) }
    /^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+ \.\.\. / { name = $1 }
    name == "" { next }
    /(^|[. ])ok$/ { print name "\tpass"; name = "" }
    /(^|[. ])(FAIL|ERROR)$/ { print name "\tfail"; name = "" }
    /\.\.\. (skipped( .*)?|expected failure)$/ { print name "\tskip"; name = "" }' "$1"
}
