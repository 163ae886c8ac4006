"""The order in which training sees its samples."""

from __future__ import annotations

from itertools import islice

import pytest

from pipelines.data import RunOrder


def take(count: int, batch: int, batches: int, **more: int) -> list[list[int]]:
    settings = {"seed": 0, "start": 0, "rank": 0, "ranks": 1, **more}
    return list(islice(RunOrder(count, batch, **settings), batches))


def test_an_epoch_sees_every_sample_once_and_a_new_one_another_order() -> None:
    flat = [index for batch in take(6, 2, 6) for index in batch]
    assert sorted(flat[:6]) == sorted(flat[6:]) == list(range(6))
    assert flat[:6] != flat[6:]


def test_resuming_goes_on_in_the_same_order() -> None:
    straight = take(5, 2, 8)
    assert take(5, 2, 5, start=6) == straight[3:]


def test_ranks_share_each_batch_without_overlap() -> None:
    whole = take(7, 4, 3)
    parts = [take(7, 4, 3, rank=rank, ranks=2) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(first + second) == sorted(batch)


def test_seeds_differ_and_zero_is_a_seed() -> None:
    assert take(9, 9, 1, seed=0) != take(9, 9, 1, seed=1)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=3 does not divide among 2"):
        take(5, 3, 1, ranks=2)
