"""Captions say what the spec says, in several ways, in proper English."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from blender.spec import AvatarSpec, sample_spec
from blender.spec_accessories import Accessories
from blender.spec_clothes import Clothes
from blender.spec_face import Expression, Identity
from blender.spec_hair import Beard, Hair

_WRONG = re.compile(r"[{}]|  | ,|\ba (?!one|uni|eu)[aeiou]\w|\ban [^aeiou18]|,,|\(|None")
PEOPLE = [sample_spec(seed) for seed in range(250)]


def test_captions_are_stable_many_and_different() -> None:
    for spec in PEOPLE:
        texts = spec.captions()
        assert texts == sample_spec(spec.seed).captions()
        assert texts[0] == spec.caption()
        assert len(texts) == 6
        assert len(set(texts)) >= 5


def test_captions_read_well() -> None:
    for spec in PEOPLE:
        for text in spec.captions():
            assert not re.search(
                r"[{}]|  | ,|\ba (?!one|uni|eu)[aeiou]\w|\ban [^aeiou18]|,,|\(|None", text
            ), text
            assert len(text) < 400


def test_whole_captions_name_every_visible_part() -> None:
    for spec in PEOPLE:
        facts = spec.attributes()
        for text in spec.captions()[:4]:
            low = text.lower()
            assert f"{facts['skin_tone']} skin" in low
            colour = "blue" if "denim" in spec.clothes.colour else spec.clothes.colour
            assert colour in low
            shown = spec.accessories.headwear not in ("hijab", "turban")
            if shown and spec.hair.style != "bald":
                assert spec.hair.colour in low, text


@pytest.mark.parametrize(
    ("change", "present", "absent"),
    [
        ({"identity": Identity(gender=0.9, age=0.98)}, "woman", "young"),
        ({"identity": Identity(gender=0.1, age=0.5)}, "boy", "woman"),
        ({"beard": Beard(style="full")}, "beard", "stubble"),
        ({"expression": Expression(name="laugh")}, "laugh", "sad"),
        ({"hair": Hair(style="bald")}, "no hair", "short"),
        ({"accessories": Accessories(headwear="hijab")}, "hijab", "hair"),
        ({"accessories": Accessories(glasses="wayfarer", lenses="grey")}, "glasses", "eyes"),
        ({"clothes": Clothes(garment="hoodie")}, "hoodie", "shirt"),
    ],
)
def test_caption_follows_the_spec(change: dict, present: str, absent: str) -> None:
    text = replace(AvatarSpec(), **change).caption()
    assert present in text and absent not in text


def test_attributes_have_the_same_columns_for_everybody() -> None:
    columns = list(PEOPLE[0].attributes())
    for spec in PEOPLE:
        facts = spec.attributes()
        assert list(facts) == columns
        assert all(isinstance(v, (str, int, float, bool)) for v in facts.values())
