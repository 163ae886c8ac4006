"""A read-through cache of samples on a local disk, for data sets on S3.

Entries are named by the sha256 of their content, which the manifest holds: what is read is always
compared, so that a damaged or forged entry is a miss, and data sets that share samples share them
here too. Several processes may use one folder; the least recently read entries go first.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from infra.canon import sha256_hex

_NAME = re.compile(r"[0-9a-f]{64}")
_TEMP = ".tmp-"
_STALE = 3600.0  # seconds after which another process's temporary file is a dead one's
FOLDER = "RODIN_CACHE"  # environment variable: the folder; no cache without it
LIMIT = "RODIN_CACHE_GB"  # environment variable: its size limit, default below
DEFAULT_GB = 20.0


class SampleCache:
    """At most `limit` bytes of samples in `folder`."""

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a cache of {limit} bytes holds nothing; use 1 or more")
        self.folder, self.limit = Path(folder).expanduser(), limit
        self._unswept = limit  # bytes put since the folder was last measured: measure at once

    def get(self, digest: str) -> bytes | None:
        """The bytes whose sha256 is `digest`; None where they are not here or damaged."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if sha256_hex(data) != digest:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the order of eviction
        return data

    def put(self, digest: str, data: bytes) -> None:
        """Keep `data`; a full or missing disk only means that nothing is kept."""
        if len(data) > self.limit // 4:
            return
        path = self._path(digest)
        temporary = path.with_name(f"{_TEMP}{os.getpid()}-{secrets.token_hex(4)}")
        try:
            # Room first: the limit holds at any time, but for what other processes add meanwhile.
            if self._unswept + len(data) > self.limit // 16:
                self._sweep(len(data))
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.replace(temporary, path)
            self._unswept += len(data)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _path(self, digest: str) -> Path:
        if not _NAME.fullmatch(digest):
            raise ValueError(f"bad sha256 {digest[:80]!r}; 64 hex digits are needed")
        return self.folder / digest[:2] / digest

    def _sweep(self, coming: int) -> None:
        """Drop the least recently read until the next sixteenth of the limit fits."""
        found = []
        newest = 0.0
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
                newest = max(newest, state.st_mtime)
        total = sum(size for _, size, _ in found)
        room = self.limit - max(coming, self.limit // 16)
        for changed, size, path in sorted(found):
            dead = path.name.startswith(_TEMP) and changed < newest - _STALE
            if (total <= room and not dead) or (path.name.startswith(_TEMP) and not dead):
                continue
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
        self._unswept = 0


def from_environment() -> SampleCache | None:
    """The cache that RODIN_CACHE and RODIN_CACHE_GB name; None without the first."""
    folder, text = os.environ.get(FOLDER), os.environ.get(LIMIT, str(DEFAULT_GB))
    if not folder:
        return None
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise ValueError(f"{LIMIT}={text[:40]!r} is no number; write gigabytes, e.g. 20") from None
    return SampleCache(folder, limit)
