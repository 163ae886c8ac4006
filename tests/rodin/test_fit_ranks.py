"""The joint fit over two processes against one: decoder, planes, checkpoints, errors."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rodin.fit import FitError, Views, fit_decoder
from rodin.fit_ranks import Ranks, check_ranks, choose
from tests.rodin import joint_fit_rank, scenes
from tests.rodin.joint_fit_rank import SETTINGS, found_by

ROOT = Path(__file__).parents[2]
COUNT = 2


@pytest.fixture(scope="module")
def people() -> list[Views]:
    return [scenes.views(seed, count=10, size=32, samples=2) for seed in range(3)]


@pytest.fixture(scope="module")
def both(people: list[Views], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    for number, views in enumerate(people):
        arrays = {item.name: getattr(views, item.name) for item in dataclasses.fields(views)}
        np.savez(folder / f"person{number}.npz", **arrays)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    processes = [
        subprocess.Popen(
            [sys.executable, joint_fit_rank.__file__, str(rank), str(COUNT), str(folder)],
            env=environment,
        )
        for rank in range(COUNT)
    ]
    assert [process.wait(300) for process in processes] == [0] * COUNT
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(COUNT)]


def in_order(both: list[dict[str, Any]], run: str, name: str) -> list[Any]:
    """What the ranks found about subjects 0, 1, 2."""
    return [both[i % COUNT][run][name][i // COUNT] for i in range(3)]


def test_ranks_have_one_decoder_and_it_is_that_of_one_process(
    people: list[Views], both: list[dict[str, Any]]
) -> None:
    alone = found_by(people, Ranks())
    first, second = (found["whole"]["weights"] for found in both)
    assert first.keys() == alone["weights"].keys() and "start" in first
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        torch.testing.assert_close(value, alone["weights"][name], atol=1e-4, rtol=1e-3)
    for found, expected in zip(in_order(both, "whole", "planes"), alone["planes"], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_any_number_of_ranks_goes_on_from_a_checkpoint(
    people: list[Views], both: list[dict[str, Any]]
) -> None:
    assert [len(found["whole"]["state"]) for found in both] == [1, 0]
    (state,) = both[0]["whole"]["state"]
    assert state["step"] == 2 and len(state["planes"]) == 3
    whole = both[0]["whole"]["weights"]
    alone = fit_decoder(people, SETTINGS, seed=0, state=state)[0].state_dict()
    for name, value in whole.items():
        assert torch.equal(value, both[1]["resumed"]["weights"][name]), name
        torch.testing.assert_close(alone[name], value, atol=1e-4, rtol=1e-3)


def test_a_bad_subject_ends_all_ranks_alike(both: list[dict[str, Any]]) -> None:
    for bad in range(COUNT):
        (text, other) = (found["no views"][bad] for found in both)
        assert text == other and text.startswith(f"ViewsError: subject {bad}: view 0 is all")
        (text, other) = (found["diverged"][bad] for found in both)
        assert text == other and text.startswith("FitError: the loss is nan at step 2")


def test_every_rank_has_work_in_every_step() -> None:
    settings = dataclasses.replace(SETTINGS, subjects_per_step=4)
    generator = torch.Generator().manual_seed(0)
    steps = [choose(10, settings, generator) for _ in range(200)]
    for ranks in (1, 2, 4):
        shares = [[len(Ranks(r, ranks).owned(step)) for r in range(ranks)] for step in steps]
        assert all(share == [4 // ranks] * ranks for share in shares)
    counts = torch.bincount(torch.tensor(steps).flatten(), minlength=10)
    assert counts.min() > 40 and counts.max() < 130  # 2 or 3 subjects a class
    assert choose(3, settings, generator) == [0, 1, 2]


@pytest.mark.parametrize(
    ("mine", "subjects", "ranks", "text"),
    [
        (1, 1, Ranks(0, 2), "1 subjects for 2 ranks"),
        (3, 4, Ranks(1, 2), "rank 1 of 2 has 3 of 4 subjects, its share is 2"),
        (1, 3, Ranks(2, 3), "subjects_per_step is 2 for 3 ranks"),
    ],
)
def test_uneven_shares_are_refused(mine: int, subjects: int, ranks: Ranks, text: str) -> None:
    with pytest.raises(FitError, match=text):
        check_ranks(mine, subjects, SETTINGS, ranks)
