"""Short descriptions say what is true, of one thing or a few."""

from __future__ import annotations

import re

from blender.spec import sample_spec
from pipelines.phrases import COUNT, phrases

PEOPLE = [(seed, sample_spec(seed).attributes()) for seed in range(60)]


def test_phrases_are_many_short_and_the_same_again() -> None:
    for seed, attributes in PEOPLE:
        found = phrases(attributes, seed)
        assert len(found) == COUNT and found == phrases(attributes, seed)
        assert found[0] == f"a {attributes['gender']}"
        assert len(set(found[1:6])) == 5, "the first five say different things"
        assert max(len(text) for text in found) < 120
        assert not any(re.search(r"[{}_]|\ba [aeiou]", text) for text in found[1:4])
    assert len({text for seed, of in PEOPLE for text in phrases(of, seed)}) > 400


def test_phrases_are_true() -> None:
    """A word that names a thing is only said of people who have it."""
    for seed, of in PEOPLE:
        for text in phrases(of, seed):
            denied = re.search(r"without glasses|not wearing glasses", text) is not None
            assert not denied or of["glasses"] == "none"
            assert denied or "glasses" not in text or of["glasses"] != "none"
            assert "sunglasses" not in text or of["lenses"] != "clear"
            if re.search(r"\bbearded\b|with a .*beard", text):
                assert of["beard"] not in ("none", "stubble")
            if re.search(r"(?<!without a )\bhat\b", text):
                assert of["headwear"] != "none"
            assert not re.search(r"\bwoman\b|\bgirl\b", text) or of["gender"] == "woman"
            assert not re.search(r"\bman\b|\bboy\b", text) or of["gender"] == "man"
            assert "old " not in text.split(" ", 1)[1][:4] or of["years"] >= 60


def test_data_without_these_columns_have_none() -> None:
    assert phrases({}, 0) == [] == phrases({"age": 3, "glasses": True}, 0)
