"""Temporary folders that do not outlive a `kill -9`: the next process of the kind removes them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_YOUNG = 60.0  # seconds: a folder may be a moment old and not locked yet
_swept: set[tuple[str, str]] = set()


@contextmanager
def scratch_folder(prefix: str, base: str | None = None) -> Iterator[Path]:
    """An empty folder below `base` (default: the system's) for the length of the block.

    Its process holds a lock on it, which ends with the process however that ends. Once in a process
    the folders of this prefix that nobody holds are removed.
    """
    parent = base or tempfile.gettempdir()
    if (prefix, parent) not in _swept:
        _swept.add((prefix, parent))
        _sweep(Path(parent), prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # held, of somebody else, or no folder
            if time.time() - folder.stat().st_mtime < _YOUNG:
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
