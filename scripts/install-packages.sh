#!/usr/bin/env bash
# Installs the packages of the named groups of packages.txt that are missing, and says so first.
#
# Uses sudo when not root. Services that come with a package are not started: a server of Debian's own
# would take port 3306, and nothing here needs one.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
for group in "$@"; do
  packages=$(awk -v group="$group" '$1 == group { print $2 }' packages.txt)
  [ -n "$packages" ] || { echo "install-packages: packages.txt has no group '$group'" >&2; exit 2; }
  for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "These packages are missing, and only root can install them: ${missing[*]}"
    echo "Run this as root, then try again:"
    echo "  apt-get update && apt-get install ${missing[*]}"
    exit 1
  fi >&2
  as_root=(sudo)
fi
echo "Installing ${missing[*]} with ${as_root[*]:+${as_root[*]} }apt-get (services stay off) …"

# policy-rc.d is Debian's way to say which services a package may start; 101 means none. A file that
# is there already is somebody's decision and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

log=$(mktemp)
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null; }
if ! { apt update && apt install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "install-packages: apt-get failed; its output is above" >&2
  exit 1
fi
rm -f "$log"

# Nor at the next boot, for a service that was not here before.
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    case $package in
      mariadb-server) "${as_root[@]}" systemctl --quiet disable mariadb.service ;;
      docker.io) "${as_root[@]}" systemctl --quiet disable docker.service docker.socket ;;
      haproxy) "${as_root[@]}" systemctl --quiet disable haproxy.service ;;
    esac
  done
fi
