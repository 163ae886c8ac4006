#!/usr/bin/env bash
# Makes .venv from requirements.lock; checks the shared libraries that Blender's module needs.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || {
  echo "setup: $python not found; install Python 3.11 or name one: make setup PYTHON=/path/to/python3.11" >&2
  exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "setup: $python is not Python 3.11, the only version that bpy 4.5 runs on; make setup PYTHON=..." >&2
  exit 1
}

[ -x .venv/bin/python ] || "$python" -m venv .venv
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet uv
echo "setup: installing the pinned packages into .venv (about 7 GB)"
VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python requirements.lock
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .

# bpy links against these; Debian and Ubuntu use the same package names.
packages="libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6 libgl1 libxext6 libxt6"
line="apt-get install -y --no-install-recommends $packages"
missing() {
  ldd .venv/lib/python3.11/site-packages/bpy/__init__*.so .venv/lib/python3.11/site-packages/bpy/lib/*.so* \
    2>/dev/null | awk '/not found/ {print $1}' | grep -E '^lib(X|xkb|SM|ICE|GL|xcb|uuid)' | sort -u || true
}
if [ -n "$(missing)" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing shared libraries for Blender: $packages"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive $line -qq >/dev/null
  fi
  if [ -n "$(missing)" ]; then
    echo "setup: Blender needs shared libraries that are not here: $(missing | tr '\n' ' ')" >&2
    echo "setup: run: sudo apt-get update && sudo $line" >&2
    exit 1
  fi
fi
.venv/bin/python -c 'import bpy' 2>&1 | tail -1
