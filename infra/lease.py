"""One driver at a time on work that must not be done twice at once, such as a training.

A lease is an object that its owner rewrites every few seconds. Whoever wants it watches whether it
changes: clocks of two machines are never compared, and no conditional write is asked of S3.
"""

from __future__ import annotations

import _thread
import json
import os
import secrets
import socket
import threading
import time
from types import TracebackType

from infra.canon import canonical_json
from infra.storage import NotFoundError, StorageError, Store

BEAT = 2.0  # seconds between two signs of life
PATIENCE = 15.0  # seconds without one until the owner is taken to be dead


class LeaseTaken(ValueError):
    """Another process does this work now; one line with the fix."""


class Lease:
    """Holds `key` of `store` for the length of a block; `what` names the work in errors.

    Entering takes no time where nobody holds it, and PATIENCE seconds where a killed process left
    it. Raises LeaseTaken where another process lives, or took over while this one could not write.
    """

    def __init__(
        self, store: Store, key: str, what: str, *, beat: float = BEAT, patience: float = PATIENCE
    ) -> None:
        self.store, self.key, self.what = store, key, what
        self.beat, self.patience = beat, patience
        self.owner = f"{socket.gethostname()}, process {os.getpid()}, {secrets.token_hex(4)}"
        self._count = 0
        self._stop = threading.Event()
        self._lost = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        first, end = self._read(), time.monotonic() + self.patience
        while first is not None and time.monotonic() < end:
            time.sleep(self.beat / 4)
            now = self._read()
            if now is None:
                break
            if now != first:
                raise self._taken(now)
        self._write()
        if first is not None:
            time.sleep(self.beat / 2)  # two that waited for the same dead owner: the later stays
        found = self._read()
        if found is not None and not self._mine(found):
            raise self._taken(found)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._lost:
            raise self._taken(self._read()) from None
        self.store.delete(self.key)

    def _live(self) -> None:
        while not self._stop.wait(self.beat):
            try:
                found = self._read()
                if found is None or self._mine(found):
                    self._write()
                    continue
            except StorageError:
                continue  # storage is away: the work itself will say so
            self._lost = True
            _thread.interrupt_main()
            return

    def _read(self) -> bytes | None:
        try:
            return self.store.read(self.key, 0, 4096)
        except NotFoundError:
            return None

    def _write(self) -> None:
        self._count += 1
        self.store.write(self.key, canonical_json({"owner": self.owner, "beat": self._count}))

    def _mine(self, found: bytes) -> bool:
        return _owner(found) == self.owner

    def _taken(self, found: bytes | None) -> LeaseTaken:
        who = _owner(found or b"").rpartition(",")[0] or "another process"
        return LeaseTaken(
            f"{self.store.uri}: {self.what} is being done by {who}; wait for its end, stop it, or"
            " use another --out"
        )


def _owner(found: bytes) -> str:
    try:
        return str(json.loads(found)["owner"])[:200]
    except (ValueError, KeyError, TypeError):
        return ""
