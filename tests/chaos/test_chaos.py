"""Some minutes of `make chaos`, and proof that its comparison can fail."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.storage import FileStore
from tests.chaos import suite
from tests.chaos.chains import CHAINS, Chain, compare
from tests.chaos.episode import Outcome, episode, undisturbed
from tests.chaos.services import World
from tests.infra.people import flip, keys_of, make, tar_of

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(nodes=1, mlflow=False) as made:
        yield made


@pytest.fixture(scope="module")
def chains() -> dict[str, Chain]:
    return {chain.name: replace(chain) for chain in CHAINS}


def check(outcome: Outcome, names: list[str]) -> None:
    assert outcome.good, f"{outcome.verdict.why} after {outcome.struck}, exits {outcome.codes}"
    # A run that ends early escapes the last of them.
    assert sorted([*(name for name, _ in outcome.struck), *outcome.missed]) == sorted(names)
    assert len(outcome.struck) > 1


def test_shards_come_whole_and_once(world: World, chains: dict[str, Chain]) -> None:
    chain = chains["numbers"]
    undisturbed(world, chain, chains)
    names = ["kill -9 worker", "kill -9 driver", "kill -9 node", "kill -9 S3 server"]
    check(episode(world, chain, chains, names, "test/numbers/0"), names)
    names = ["two drivers at once", "S3 throttled, answers cut", "kill -9 driver"]
    check(episode(world, chain, chains, names, "test/numbers/1"), names)


# -- the comparison -----------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Chain, Path]:
    """A chain whose undisturbed run is a made data set, and a copy of that."""
    make(FileStore(tmp_path / "whole/numbers"), keys_of(0, 12))
    shutil.copytree(tmp_path / "whole", tmp_path / "copy")
    return replace(CHAINS[0], reference=str(tmp_path / "whole")), tmp_path / "copy"


def judged(runs: tuple[Chain, Path]) -> Any:
    return compare(runs[0], None, str(runs[1]))  # type: ignore[arg-type]


def test_equal_runs_are_equal(runs: tuple[Chain, Path]) -> None:
    assert judged(runs).good


def test_lost_and_doubled_samples_are_counted(runs: tuple[Chain, Path]) -> None:
    store = FileStore(runs[1] / "numbers")
    make(store, keys_of(0, 10))
    verdict = judged(runs)
    assert (verdict.lost, verdict.doubled, verdict.equal) == (2, 0, False)


def test_a_poisoned_sample_counts_as_lost(runs: tuple[Chain, Path]) -> None:
    make(FileStore(runs[1] / "numbers"), keys_of(0, 12), poison=keys_of(3, 1))
    assert judged(runs).lost == 1 and not judged(runs).equal


def test_one_bit_is_seen(runs: tuple[Chain, Path]) -> None:
    store = FileStore(runs[1] / "numbers")
    flip(store, tar_of(store), 700)
    assert judged(runs).why and not judged(runs).good


def test_a_lost_shard_is_seen(runs: tuple[Chain, Path]) -> None:
    store = FileStore(runs[1] / "numbers")
    store.delete(tar_of(store))
    assert not judged(runs).good


def test_the_plan_of_the_night() -> None:
    """At least sixty kills; each seed another order, the same seed the same."""
    plans = suite.NIGHT.values()
    kills = [count for plan in plans for name, count in plan.items() if name.startswith("kill")]
    assert sum(kills) >= 70
    for name, plan in suite.NIGHT.items():
        first, same, other = (
            suite.drawn(plan, suite.TOGETHER[name], random.Random(seed)) for seed in (1, 1, 2)
        )
        assert first == same and (first != other or len(plan) < 3)
        kept = {name: n for name, n in plan.items() if name != suite.SKEW or suite.skews()}
        assert Counter(fault for group in first for fault in group) == Counter(kept)


def test_the_table_names_each_fault() -> None:
    struck = [("kill -9 driver", "driver"), ("kill -9 driver", "driver"), ("x", "y")]
    outcome = Outcome("fit", 0, struck=struck, codes=[-9, -9, 0], seconds=12.0)
    outcome.verdict.lost = 2
    lines = suite.table([outcome]).splitlines()
    assert lines[2] == "| fit | kill -9 driver | 2 | 2 | 0 | 1 of 1 | 3 | 12 |"
    assert len(lines) == 4
