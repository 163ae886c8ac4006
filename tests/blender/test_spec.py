"""Specs: sampling, validation, dict round trip, words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender.spec import AvatarSpec, Hair, Identity, sample_spec
from blender.targets import FACE_ACTIONS, LOCAL_TARGETS


@given(st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_sampling_is_deterministic_valid_and_json_able(seed: int) -> None:
    spec = sample_spec(seed)
    assert spec == sample_spec(seed)
    assert AvatarSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert {name for name, _ in spec.identity.targets} == set(LOCAL_TARGETS)
    assert {name for name, _ in spec.expression.actions} <= set(FACE_ACTIONS)
    assert spec.caption().endswith(".")
    assert all(isinstance(v, (str, int, float, bool)) for v in spec.attributes().values())


def test_seed_zero_is_a_seed_and_seeds_differ() -> None:
    people = [sample_spec(seed) for seed in range(50)]
    assert len({p.identity for p in people}) == 50
    assert len({p.hair.style for p in people}) >= 6
    assert {p.attributes()["gender"] for p in people} == {"man", "woman"}
    assert len({p.caption() for p in people}) == 50


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seeds start at 0"):
        sample_spec(-1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"colour": 1}, "no field 'colour'"),
        ({"hair": {"stile": "bob"}}, "no field 'stile'"),
        ({"hair": {"style": "mullet"}}, "use one of bald"),
        ({"identity": {"gender": 1.5}}, "within 0.0 to 1.0"),
        ({"identity": {"gender": "x"}}, "must be a number"),
        ({"identity": {"age": float("nan")}}, "Identity.age"),
        ({"skin": {"rgb": [0.1, 0.2]}}, "must have 3"),
        ({"pose": [1]}, "named fields"),
        ({"seed": 1.5}, "whole number"),
        ({"identity": {"targets": [["nose-hump-incr", 3.0]]}}, "within -1 to 1"),
    ],
)
def test_bad_dicts_are_refused_with_the_fix(change: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        AvatarSpec.from_dict(change)
    assert "\n" not in str(caught.value)


def test_no_ancestry_is_refused() -> None:
    with pytest.raises(ValueError, match="no ancestry"):
        Identity(african=0, asian=0, caucasian=0)


def test_changing_one_group_leaves_the_others() -> None:
    assert AvatarSpec(hair=Hair(style="bob")).identity == AvatarSpec().identity


def test_no_necklace_over_collars() -> None:
    people = [sample_spec(seed) for seed in range(600)]
    worn = {p.clothes.garment for p in people if p.accessories.necklace != "none"}
    assert worn and not worn & {"turtleneck", "suit", "shirt", "hoodie", "polo"}
