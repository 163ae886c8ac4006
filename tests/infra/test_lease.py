"""One driver at a time: living owners are respected, dead ones are not, on files and on S3."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.lease import Lease, LeaseTaken
from infra.storage import FileStore, Store

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from infra.lease import Lease
from infra.storage import FileStore
with Lease(FileStore(sys.argv[1]), "lease.json", "it", beat=0.1):
    print("holds", flush=True)
    time.sleep(600)
"""


def lease(store: Store, patience: float = 3.0) -> Lease:
    return Lease(store, "lease.json", "training", beat=0.1, patience=patience)


def test_a_living_owner_is_respected_and_leaves_nothing(any_store) -> None:
    with lease(any_store):
        began = time.monotonic()
        with pytest.raises(LeaseTaken, match=r"training is being done by .*process .*--out"):
            lease(any_store, patience=60).__enter__()
        assert time.monotonic() - began < 30  # it does not wait for the end of its patience
    assert list(any_store.list()) == []
    with lease(any_store, patience=60):
        pass


def test_a_killed_owner_is_followed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"holds\n"
    with pytest.raises(LeaseTaken):
        lease(FileStore(tmp_path), patience=60).__enter__()
    holder.kill()
    holder.wait()
    with lease(FileStore(tmp_path), patience=0.5):
        assert (tmp_path / "lease.json").exists()


def test_who_was_taken_for_dead_stops(tmp_path: Path) -> None:
    """Its storage stood still for longer than the patience of another."""
    with pytest.raises(LeaseTaken), lease(FileStore(tmp_path)):
        other = lease(FileStore(tmp_path))
        for _ in range(20):  # against its next sign of life
            other._write()
            time.sleep(0.02)
        time.sleep(30)
        pytest.fail("it went on")
