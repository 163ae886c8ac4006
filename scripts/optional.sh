#!/usr/bin/env bash
# A Debian package that tests use where it is there: optional.sh PACKAGE FILE... for WHAT.
# As root it is installed where none of the files or commands exists; otherwise a line says so.
set -euo pipefail
package=$1; shift
while [ "$1" != for ]; do
  if [ -e "$1" ] || command -v "$1" >/dev/null; then exit 0; fi
  shift
done
shift
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing $package for $*"
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null; then
    exit 0
  fi
fi
echo "no $package here, left out: $*; sudo apt-get install $package runs them" >&2
