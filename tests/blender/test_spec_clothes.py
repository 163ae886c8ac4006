"""Sampled clothes: everything is worn by somebody, and the words say what is to be seen."""

from __future__ import annotations

import typing
from collections import Counter

import pytest

from blender.sample_face import sample_identity
from blender.spec_cloth_colours import CLOTH_COLOURS, contrast
from blender.spec_clothes import (
    GARMENT_WORDS,
    INNER_WORDS,
    PATTERN_WORDS,
    Clothes,
    Garment,
    Pattern,
    clothes_attributes,
    clothes_words,
    sample_clothes,
)


@pytest.fixture(scope="module")
def people() -> list[tuple[float, Clothes]]:
    seeds = range(500)
    both = [(sample_identity(seed), seed) for seed in seeds]
    return [(identity.gender, sample_clothes(seed, identity)) for identity, seed in both]


def test_every_garment_and_pattern_is_worn(people: list[tuple[float, Clothes]]) -> None:
    garments = Counter(clothes.garment for _, clothes in people)
    patterns = Counter(clothes.pattern for _, clothes in people)
    assert min(garments[g] for g in typing.get_args(Garment)) >= 5, garments
    assert min(patterns[p] for p in typing.get_args(Pattern)) >= 5, patterns
    assert {clothes.layer for _, clothes in people} == {"outer", "inner"}
    assert len({clothes.colour for _, clothes in people}) >= 25
    assert max(garments.values()) < 100


def test_chances_differ_between_women_and_men(people: list[tuple[float, Clothes]]) -> None:
    suits = [gender for gender, clothes in people if clothes.garment == "suit"]
    straps = [gender for gender, clothes in people if clothes.garment == "camisole"]
    assert sum(g < 0.5 for g in suits) > len(suits) / 2
    assert all(g > 0.5 for g in straps)


def test_the_same_seed_dresses_the_same() -> None:
    identity = sample_identity(3)
    assert sample_clothes(3, identity) == sample_clothes(3, identity)
    assert sample_clothes(3, identity) != sample_clothes(4, identity)


def test_colours_next_to_each_other_differ(people: list[tuple[float, Clothes]]) -> None:
    for _, clothes in people:
        assert contrast(clothes.inner, clothes.tie) > 0.25
        base = clothes.inner if clothes.layer == "inner" else clothes.colour
        assert contrast(clothes.second, base) > 0.12
        assert contrast(clothes.inner, clothes.colour) > 0.25
        assert all(0 <= c <= 1 for c in clothes.rgb + clothes.inner_rgb)


def test_words_name_what_is_seen(people: list[tuple[float, Clothes]]) -> None:
    for _, clothes in people:
        phrases = clothes_words(clothes)
        assert 1 <= len(phrases) == len(set(phrases))
        for words in phrases:
            assert words.startswith(("a ", "an ")) and "{" not in words and "  " not in words
            assert clothes.colour in words or clothes.colour == "denim blue"
            assert ("tie" in words.split()) == (clothes.garment == "suit")
            assert (" over " in words) == (clothes.garment in INNER_WORDS)


def test_words_of_a_suit() -> None:
    suit = Clothes(garment="suit", colour="navy", inner="white", tie="red")
    assert "a navy suit with a red tie over a white shirt" in clothes_words(suit)
    striped = Clothes(colour="orange", second="navy", pattern="striped")
    assert clothes_words(striped)[0] == "an orange and navy striped T-shirt"
    under = Clothes(garment="cardigan", pattern="dotted", layer="inner", second="navy")
    assert "cardigan over a white T-shirt with navy polka dots" in clothes_words(under)[0]


def test_attributes_are_flat_text(people: list[tuple[float, Clothes]]) -> None:
    keys = {tuple(clothes_attributes(clothes)) for _, clothes in people}
    assert len(keys) == 1 and len(keys.pop()) == 8
    under = clothes_attributes(Clothes(garment="cardigan", pattern="dotted", layer="inner"))
    assert under["garment_pattern"] == "plain" and under["inner_pattern"] == "dotted"
    assert under["tie_colour"] == "" and under["inner_garment"] == "T-shirt"


def test_every_style_has_words() -> None:
    assert set(GARMENT_WORDS) == set(typing.get_args(Garment))
    assert set(PATTERN_WORDS) == set(typing.get_args(Pattern))
    assert all(len(words) >= 2 for words in (*GARMENT_WORDS.values(), *PATTERN_WORDS.values()))


def test_bad_clothes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Clothes\.scale is 9\.0; it must be within 0.4 to 2.5"):
        Clothes(scale=9.0)
    with pytest.raises(ValueError, match=r"Clothes\.garment is 'toga'; use one of tshirt"):
        Clothes(garment="toga")  # type: ignore[arg-type]
    assert len(CLOTH_COLOURS) >= 28
