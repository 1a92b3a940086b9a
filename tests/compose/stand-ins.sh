#!/usr/bin/env bash
# Makes images that stand in for the public ones that Dockerfile and docker-compose.yml name, under
# their names, in the docker daemon that DOCKER_HOST points at. See README.md beside this file.
#
#   tests/compose/stand-ins.sh [debian] [rust] [mariadb]     (all three without an argument)
#
# An image that is there already is left alone: remove it with `docker image rm` to have it made anew.
# Needs root, mmdebstrap, and the package archive that this machine's own apt uses.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# The archive this machine gets Debian from; also used for the release that it does not run.
archive() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' |
    grep -m1 -E '/debian/?$' || { echo "stand-ins: this machine's apt has no Debian archive" >&2; return 1; }
}

have() { docker image inspect "$1" >/dev/null 2>&1; }

# strap RELEASE IMAGE [mmdebstrap options] [-- docker import options]
strap() {
  local release=$1 image=$2 options=() import=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# -gt 0 ] && { shift; import=("$@"); }
  echo "stand-ins: making $image from $release"
  mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Retries "3"' "${options[@]}" \
    "$release" - "$(archive)" | docker import "${import[@]}" - "$image" >/dev/null
}

debian() {
  have debian:bookworm-slim || strap bookworm debian:bookworm-slim -- --change 'CMD ["bash"]'
}

# The public image has gcc, libc6-dev, the CA certificates and one toolchain. The toolchain is this
# machine's; so are the certificates and cargo's settings, which say where its crates come from.
rust() {
  have rust:1-slim-bookworm && return
  local toolchain cargo_home=${CARGO_HOME:-$HOME/.cargo} hooks=() file
  toolchain=$(rustc --print sysroot)
  for file in config.toml config; do
    [ -f "$cargo_home/$file" ] && hooks+=(--customize-hook="copy-in '$cargo_home/$file' /usr/local/cargo")
  done
  strap bookworm rust:1-slim-bookworm --include=ca-certificates,gcc,libc6-dev \
    --customize-hook='mkdir -p "$1/usr/local/cargo" "$1/usr/local/rustup"' \
    --customize-hook="tar -C '$toolchain' -c bin lib | tar -C \"\$1/usr/local/rustup\" -x" \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' "${hooks[@]}" \
    -- --change 'ENV CARGO_HOME=/usr/local/cargo' \
    --change 'ENV PATH=/usr/local/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["bash"]'
}

# Debian's MariaDB 11.8 with an entrypoint and a health check that keep to the public image's contract.
mariadb() {
  have mariadb:11 && return
  strap trixie mariadb:11 --include=mariadb-server \
    --customize-hook="copy-in '$here/mariadb/docker-entrypoint.sh' '$here/mariadb/healthcheck.sh' /usr/local/bin" \
    --customize-hook='chmod 755 "$1"/usr/local/bin/*.sh' \
    --customize-hook='rm -rf "$1/var/lib/mysql"' \
    --customize-hook='sed -Ei "s/^(bind-address|log|user\s)/#&/" "$1"/etc/mysql/mariadb.conf.d/*.cnf' \
    -- --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["mariadbd"]' \
    --change 'VOLUME /var/lib/mysql' --change 'EXPOSE 3306'
}

[ $# -gt 0 ] || set -- debian rust mariadb
for image in "$@"; do
  case $image in
    debian | rust | mariadb) "$image" ;;
    *) echo "stand-ins: no such image: $image" >&2; exit 2 ;;
  esac
done
