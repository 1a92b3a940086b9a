#!/bin/sh
# Fetches a database server that this machine's distribution does not have, for tests and trials.
#
#   scripts/fetch-server.sh NAME [DIR]      NAME: mysql-9 or mariadb-11.8
#
# The result is a small Debian root, made with mmdebstrap from the mirror that this machine's own
# apt uses, in DIR (default: .cache/servers/NAME). Nothing is installed on the machine; the sandbox
# runs the server inside the root through the root's own loader, without chroot and without
# privileges:
#
#   TANDEM_SERVER=.cache/servers/mysql-9 cargo test --test sandbox
#
# A root that is there already is left alone. One that is being made lies beside its final place and
# is renamed when it is complete, so that an interrupted run leaves nothing that looks finished.
#
# On a machine that is not Debian, name a Debian mirror in DEBIAN_MIRROR.
set -eu

fail() { echo "fetch-server: $*" >&2; exit 1; }

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: $0 mysql-9|mariadb-11.8 [DIR]"
name=$1
root=${2:-"$(cd "$(dirname "$0")/.." && pwd)/.cache/servers/$name"}

hook=true
case $name in
    mysql-9)      suite=sid    server=usr/sbin/mysqld   packages=mysql-server-core,mysql-client-core ;;
    mariadb-11.8) suite=trixie server=usr/sbin/mariadbd packages=mariadb-server-core,mariadb-client-core ;;
    *)            fail "unknown server \"$name\"; there are mysql-9 and mariadb-11.8" ;;
esac

# MariaDB's authentication plugins lie in a package that sets up a service: only its files are taken.
if [ "$name" = mariadb-11.8 ]; then
    hook='chroot "$1" sh -c "cd /tmp && apt-get -qq download mariadb-server && \
        dpkg-deb --extract mariadb-server_*.deb server && mkdir -p /usr/lib/mysql && \
        cp -a server/usr/lib/mysql/plugin /usr/lib/mysql/ && rm -r server mariadb-server_*.deb"'
fi

if [ -x "$root/$server" ]; then
    echo "$name is there: $root"
    exit 0
fi
[ ! -e "$root" ] || fail "$root exists but holds no $server; remove it first"

command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing: apt-get install mmdebstrap"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"

# The first archive of Debian proper among apt's own sources; the security archive has other suites.
mirror=${DEBIAN_MIRROR:-$(
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1
)}
# Before the first `apt-get update` apt does not know the labels yet.
mirror=${mirror:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
    | grep '/debian/*$' | head -n 1)}
[ -n "$mirror" ] || fail "apt knows no Debian mirror; name one in DEBIAN_MIRROR"

mkdir -p "$(dirname "$root")"
making=$(mktemp -d "$root.making.XXXXXX")
trap 'rm -rf "$making"' EXIT
trap 'exit 1' HUP INT TERM

# A mirror that is a snapshot has an index whose validity has passed; it is still signed.
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$packages" --customize-hook="$hook" "$suite" "$making/root" \
    "deb [signed-by=$keyring] $mirror $suite main" >&2 \
    || fail "$mirror gave no $suite with $packages; what mmdebstrap said is above"
[ -x "$making/root/$server" ] || fail "the packages $packages of $suite hold no /$server"
mv -T "$making/root" "$root"
echo "$name is ready: $root"
