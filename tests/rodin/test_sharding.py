"""Training with sharded weights equals training with whole ones: two processes on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.rodin import sharded_rank, systems

LIMIT = 540  # seconds; it takes some ten of them on a free machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sharded_rank` leaves."""
    place = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, "-m", "tests.rodin.sharded_rank"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    ranks = [
        subprocess.Popen([*words, str(rank), str(place)], env=env, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            _, errors = rank.communicate(timeout=LIMIT)
            assert rank.returncode == 0, errors.decode()[-2000:]
    finally:
        for rank in ranks:
            rank.kill()
    return place


def found(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / f"{name}.pt", weights_only=True)


def tensors(state: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors of nested dicts and lists, by their path."""
    if isinstance(state, Tensor):
        return {path: state}
    parts = state.items() if isinstance(state, dict) else enumerate(state)
    inside = [(k, v) for k, v in parts if isinstance(v, (dict, list, tuple, Tensor))]
    return {p: t for k, v in inside for p, t in tensors(v, f"{path}/{k}").items()}


def close(one: Any, other: Any, apart: float = 1e-5) -> None:
    first, second = tensors(one), tensors(other)
    assert list(first) == list(second)
    for path, value in first.items():
        assert value.shape == second[path].shape, path
        assert torch.allclose(value, second[path], rtol=0, atol=apart), path


def test_same_weights_averages_and_checkpoint(folder: Path) -> None:
    ddp, fsdp = found(folder, "ddp"), found(folder, "fsdp")
    for part in ("system", "ema", "averages", "optimiser"):
        close(ddp["state"][part], fsdp["state"][part])
        assert tensors(fsdp["state"][part])
    close(ddp["ema"], fsdp["ema"])
    close(ddp["averages"], fsdp["averages"])
    assert ddp["norms"] == pytest.approx(fsdp["norms"], rel=1e-4)
    before = systems.base_system().state_dict()
    moved = [not torch.equal(before[name], value) for name, value in ddp["ema"].items()]
    assert sum(moved) > len(moved) / 2, "the weights that agree are trained ones"


def test_each_holds_about_half(folder: Path) -> None:
    share = found(folder, "fsdp")["parts"] / found(folder, "ddp")["parts"]
    assert 0.45 < share < 0.6


def test_either_goes_on_from_the_others_checkpoint(folder: Path) -> None:
    """And both arrive where one process would that sees the whole batches' mean."""
    ddp, fsdp = found(folder, "ddp-goes-on"), found(folder, "fsdp-goes-on")
    assert ddp["samples_seen"] == fsdp["samples_seen"] == 4 * (sharded_rank.STEPS + 2)
    for part in ("system", "ema", "averages", "optimiser"):
        close(ddp[part], fsdp[part])
