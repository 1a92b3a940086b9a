# shellcheck shell=bash disable=SC2154 # the variables are those of run.sh
# The tests of Perl's driver, DBD::MariaDB, from Debian's source package, with the driver as Debian
# has built it: a test is a file.

fetch() {
  packages suites-perl || return
  [ -d "$cache/dbd-mariadb" ] && return
  # The sources of the packages that this machine's apt knows: the same archives, with an index of
  # their own, so that nothing is changed on the machine.
  local apt=$cache/apt archives
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  archives=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Label: Debian' |
    sort -u | awk '{ print "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " $1 " " $2 " main" }')
  [ -n "$archives" ] || { echo "skipped: apt knows no archive of Debian"; return 77; }
  echo "$archives" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
    -o Acquire::Check-Valid-Until=false)
  mkdir -p "$apt/source"
  if ! { apt-get -q "${options[@]}" update &&
    (cd "$apt/source" && apt-get -q "${options[@]}" --download-only --tar-only source libdbd-mariadb-perl); }; then
    echo "skipped: apt could not fetch the sources of libdbd-mariadb-perl"
    return 77
  fi
  mkdir -p "$cache/dbd-mariadb.new"
  tar -C "$cache/dbd-mariadb.new" --strip-components=1 -xf "$apt"/source/libdbd-mariadb-perl_*.orig.tar.* &&
    mv "$cache/dbd-mariadb.new" "$cache/dbd-mariadb"
}

run() {
  cp -r "$cache/dbd-mariadb/t" "$work/"
  mariadb --no-defaults -h "$host" -P "$directly" -u suite -psuite -e '
    CREATE DATABASE test CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci'
  export DBI_DSN="DBI:MariaDB:database=test;host=$host;port=$port" DBI_USER=suite DBI_PASS=suite
  cd "$work" || return
  local file
  [ $# -gt 0 ] || set -- t/*.t
  for file; do
    echo "--- $file"
    if ! timeout 60 perl -It "$file" >"$work/one" 2>&1; then
      printf '%s\tfail\n' "$file"
    elif grep -q '^1\.\.0 # SKIP' "$work/one"; then
      printf '%s\tskip\n' "$file"
    else
      printf '%s\tpass\n' "$file"
    fi >>"$list"
    cat "$work/one"
  done
}
