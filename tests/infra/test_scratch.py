"""Temporary folders: gone after the block, and after a kill with the next one of their kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra import scratch
from infra.scratch import scratch_folder

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from infra.scratch import scratch_folder
with scratch_folder("kind-", sys.argv[1]) as folder:
    (folder / "shard.tar").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_dead_processes_leave_nothing_for_long(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scratch, "_YOUNG", 0.0)
    (tmp_path / "kind-file").touch()
    (tmp_path / "other").mkdir()
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holders = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        left, held = (Path(h.stdout.readline().decode().strip()) for h in holders if h.stdout)
        holders[0].kill()
        holders[0].wait()
        with pytest.raises(KeyError), scratch_folder("kind-", str(tmp_path)) as folder:
            found = set(tmp_path.iterdir())
            assert found == {folder, held, tmp_path / "kind-file", tmp_path / "other"}
            assert left not in found and (held / "shard.tar").exists()
            raise KeyError
        assert not folder.exists()
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_a_folder_of_this_moment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "new-1").mkdir()
    with scratch_folder("new-", str(tmp_path)):
        assert (tmp_path / "new-1").exists()
