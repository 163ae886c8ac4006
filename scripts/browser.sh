#!/usr/bin/env bash
# Sees to a browser for the tests of pages; without one they are skipped, which a line says.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "test: installing chromium for the tests of pages"
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends chromium >/dev/null; then
    exit 0
  fi
fi
echo "test: no chromium here, tests of pages are skipped; sudo apt-get install chromium runs them" >&2
