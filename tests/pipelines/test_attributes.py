"""Attributes read off portraits."""

from __future__ import annotations

import pytest
import torch

from blender.spec import sample_spec
from pipelines import attributes

FACTS = {
    "gender": "man", "years": 61.5, "skin_tone": "tan", "hair_style": "quiff", "beard": "stubble",
    "hair_colour": "brown to blond", "glasses": "round", "headwear": "headband", "garment": "polo",
    "expression": "laugh",
}  # fmt: skip
FOUND = {
    "sex": "man", "age": "old", "skin": "medium", "hair length": "short", "hair colour": "dark",
    "beard": "no", "glasses": "yes", "hat": "no", "garment": "collar", "expression": "smiling",
}  # fmt: skip


def faces(count: int, seed: int) -> tuple[torch.Tensor, list[dict[str, str]]]:
    """Discs on white: dark or light; half of them have a bar where glasses are."""
    noise = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = (y - 32) ** 2 + (x - 32) ** 2 < 400
    images, known = [], []
    for i in range(count):
        image = torch.ones(64, 64, 3)
        image[disc] = 0.3 if i % 2 else 0.7
        if i // 2 % 2:
            image[24:28, 16:48] = 0.0
        images.append((image + 0.05 * torch.randn(image.shape, generator=noise)).clamp(0, 1))
        skin, glasses = ("dark" if i % 2 else "light"), ("yes" if i // 2 % 2 else "no")
        known.append({"skin": skin, "glasses": glasses})
    return torch.stack(images), known


def test_classes_of_a_person() -> None:
    assert attributes.classes(FACTS) == FOUND
    assert attributes.classes({}) == {}
    changed = attributes.classes({**FACTS, "hair_style": "bald", "beard": "full"})
    assert (changed["hair colour"], changed["hair length"]) == ("none", "bald")
    assert changed["beard"] == "yes"


def test_every_person_of_the_factory_has_classes() -> None:
    seen: dict[str, set[str]] = {name: set() for name in attributes.GROUPS}
    for seed in range(120):
        for name, word in attributes.classes(sample_spec(seed).attributes()).items():
            seen[name].add(word)
    assert {name: len(words) for name, words in seen.items()} == {
        "sex": 2, "age": 3, "skin": 3, "hair length": 3, "hair colour": 6, "beard": 2,
        "glasses": 2, "hat": 2, "garment": 3, "expression": 3,
    }  # fmt: skip


def test_a_reader_reads_others_than_those_it_learned_from() -> None:
    reader = attributes.Reader().learn(*faces(32, seed=0))
    assert set(reader.models) == {"skin", "glasses"}
    images, known = faces(24, seed=1)
    found = attributes.agreement(reader.read(images), known)
    assert found["skin"] == 1.0
    assert found["glasses"] > 0.9
    others = [{"skin": "dark" if one["skin"] == "light" else "light"} for one in known]
    assert attributes.agreement(reader.read(images), others) == {"skin": 0.0}


def test_every_class_counts_alike() -> None:
    """Nine of ten have no hat: a reader that always says so gets one half."""
    wanted = [{"hat": "no"}] * 9 + [{"hat": "yes"}]
    assert attributes.agreement([{"hat": "no"}] * 10, wanted) == {"hat": 0.5}
    assert attributes.agreement([{"hat": "no"}] * 9, wanted[:9]) == {}


def test_too_few_people_are_refused() -> None:
    images, known = faces(8, seed=0)
    with pytest.raises(ValueError, match="cannot be learned from 8 images"):
        attributes.Reader().learn(images, known)
