#!/usr/bin/env bash
# Makes sure that this machine has a MariaDB or MySQL server to start: one that is there, or that
# TANDEM_SERVER names, is used as it is; otherwise the MariaDB package is installed.
set -euo pipefail

# The server lives in an sbin directory, which is not on everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/usr/libexec
if [ -n "${TANDEM_SERVER:-}" ]; then exit 0; fi
if command -v mariadbd >/dev/null || command -v mysqld >/dev/null; then exit 0; fi

echo "Tandem runs before real database servers, and this machine has neither mariadbd nor mysqld."
if ! command -v apt-get >/dev/null; then
  echo "Install MariaDB's server with this system's package manager, then try again." >&2
  exit 1
fi
echo "The package's own server is not started: Tandem starts its own, in a private directory."
exec "$(dirname "$0")/install-packages.sh" server
