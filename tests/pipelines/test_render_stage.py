"""The render stage around Blender: rigs by name, poison people, bad settings."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from blender import BuildError
from blender.light_rigs import RIGS
from blender.light_rigs import Light as Rigs
from infra import cluster
from infra.shards import Failure, Packed
from pipelines.presets import TINY
from pipelines.render import RenderWorker, identity
from pipelines.settings import Light, RenderStage


class Child:
    """Stands for the Blender process: one answer a call."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def call(self, *_: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def worker(*answers: Any) -> RenderWorker:
    made = RenderWorker("file:///nowhere", TINY.render, "/nowhere", 4)
    made.process = Child(*answers)  # type: ignore[assignment]
    return made


def test_rigs_are_those_of_the_factory() -> None:
    assert typing.get_args(Light) == typing.get_args(Rigs)
    assert set(RIGS) | {"varied"} == set(typing.get_args(Rigs))


def test_a_person_who_cannot_be_built_is_recorded_not_raised() -> None:
    result = worker(BuildError("avatar 3 cannot be built: no roots")).person("000000003")
    assert result == Failure("000000003", "avatar 3 cannot be built: no roots", "BuildError")


def test_a_dead_blender_gets_one_more_try() -> None:
    died = cluster.WorkerDied("killed")
    good = ({"meta.json": b"{}"}, {"seed": 3})
    assert isinstance(worker(died, good).person("000000003"), Packed)
    assert worker(died, died).person("000000003") == Failure("000000003", "killed", "WorkerDied")


def test_a_full_disk_is_nobodys_fault() -> None:
    with pytest.raises(OSError, match="no space"):
        worker(OSError("no space left")).person("000000003")


def test_what_changes_a_sample_changes_its_identity() -> None:
    base = identity(RenderStage())
    for change in (
        {"light": "varied"}, {"focal_jitter": 0.1}, {"centre_jitter": 0.1}, {"normals": True},
        {"labels": True}, {"landmarks": True}, {"depth": False}, {"samples": 9},
    ):  # fmt: skip
        assert identity(RenderStage(**change)) != base  # type: ignore[arg-type]
    assert identity(RenderStage(avatars=5)) == base


def test_jitter_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"use 0 to 0\.5 and 0 to 0\.25"):
        RenderStage(focal_jitter=0.9)
