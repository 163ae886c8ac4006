"""The joint fit over several processes: what its ranks tell each other.

Rank r of R holds the subjects r, r + R, r + 2R, ... with their planes and the moments of these;
none of that leaves it. The decoder is on every rank: its gradients are summed, so all of them take
the same step. Needs an initialised `torch.distributed`; a single rank needs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from rodin.fit_settings import FitError, FitSettings
from rodin.plane_store import PlaneStore


@dataclass(frozen=True)
class Ranks:
    """Which one of how many processes this is."""

    rank: int = 0  # this process
    count: int = 1  # all processes

    def raise_together(self, error: ValueError | None) -> None:
        """Raise the first rank's error on all of them: who goes on alone would wait for ever."""
        errors: list[ValueError | None] = [error]
        if self.count > 1:
            errors = [None] * self.count
            distributed.all_gather_object(errors, error)
        for found in errors:
            if found is not None:
                raise found

    def total(self, value: Tensor) -> Tensor:
        """The sum over the ranks, the same bytes on each."""
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def owned(self, subjects: Sequence[int]) -> list[int]:
        """Those of the subjects' numbers that this rank holds."""
        return [index for index in subjects if index % self.count == self.rank]

    def states(self, stores: Sequence[PlaneStore], subjects: int) -> list[dict[str, Any]]:
        """`PlaneStore.state` of all subjects, in order, on rank 0; on the others nothing."""
        found = []
        for index in range(subjects):
            owner = index % self.count
            if self.rank not in (0, owner):
                continue
            # One subject at a time: the planes of all would be twice in memory otherwise.
            box = [stores[index // self.count].state() if self.rank == owner else None]
            if self.rank:
                distributed.send_object_list(box, 0)
                continue
            if owner:
                distributed.recv_object_list(box, owner)
            assert box[0] is not None
            found.append(box[0])
        return found


def choose(subjects: int, settings: FitSettings, generator: torch.Generator) -> list[int]:
    """The subjects of a step: one at random of each class index % subjects_per_step.

    So every rank has as many of them as any other, and which they are does not depend on how many
    ranks there are.
    """
    classes = min(settings.subjects_per_step, subjects)
    members = [range(first, subjects, classes) for first in range(classes)]
    return [
        numbers[int(torch.randint(len(numbers), (1,), generator=generator))] for numbers in members
    ]


def check_ranks(mine: int, subjects: int, settings: FitSettings, ranks: Ranks) -> None:
    """Raises FitError where the ranks would not have as much work as each other."""
    if subjects < ranks.count:
        raise FitError(
            f"{subjects} subjects for {ranks.count} ranks; use at most a rank for each subject"
        )
    share = len(range(ranks.rank, subjects, ranks.count))
    if mine != share:
        raise FitError(
            f"rank {ranks.rank} of {ranks.count} has {mine} of {subjects} subjects, its share is"
            f" {share}; pass it every {ranks.count}th one from number {ranks.rank} on"
        )
    if settings.subjects_per_step % ranks.count:
        raise FitError(
            f"subjects_per_step is {settings.subjects_per_step} for {ranks.count} ranks; make it a"
            " multiple of the ranks"
        )
