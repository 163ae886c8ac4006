"""Words and table columns for a spec: whatever a caption says is true of the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from blender.spec_accessories import accessory_attributes, accessory_words
from blender.spec_clothes import clothes_attributes, clothes_words
from blender.spec_face import EXPRESSION_WORDS, skin_words
from blender.spec_hair import BEARD_WORDS, HAIR_WORDS
from blender.spec_types import AvatarSpec
from blender.streams import generator

_TONES = ("very fair", "fair", "light", "medium", "tan", "brown", "dark brown", "deep")
# Below each age: what captions call such a person; {g} is "man" or "woman".
_STAGES: tuple[tuple[int, tuple[str, ...]], ...] = (
    (20, ("teenage {y}", "{n}-year-old {y}")),
    (32, ("young {g}", "{g} in {p} twenties", "{n}-year-old {g}")),
    (40, ("{g} in {p} thirties", "{n}-year-old {g}")),
    (58, ("middle-aged {g}", "{g} of middle age", "{n}-year-old {g}")),
    (70, ("older {g}", "{g} in {p} sixties", "{n}-year-old {g}")),
    (200, ("elderly {g}", "old {g}", "{n}-year-old {g}")),
)
# Headwear under which no hair shows, so that captions say nothing of it.
_HIDES_HAIR = ("hijab", "turban")


def years(spec: AvatarSpec) -> int:
    """Apparent age in years."""
    return round(float(np.interp(spec.identity.age, [1 / 3, 2 / 3, 1.0], [11, 25, 85])))


def tone_name(spec: AvatarSpec) -> str:
    """The nearest of the eight named skin tones."""
    return _TONES[min(7, round(spec.skin.tone))]


def attributes(spec: AvatarSpec) -> dict[str, str | int | float | bool]:
    """See `AvatarSpec.attributes`."""
    return {
        "gender": "woman" if spec.identity.gender > 0.5 else "man",
        "years": years(spec),
        "african": spec.identity.african,
        "asian": spec.identity.asian,
        "caucasian": spec.identity.caucasian,
        "weight": spec.identity.weight,
        "muscle": spec.identity.muscle,
        "skin_tone": tone_name(spec),
        "freckles": spec.skin.freckles > 0,
        "eye_colour": spec.eyes.colour,
        "hair_style": spec.hair.style,
        "hair_colour": spec.hair.colour,
        "beard": spec.beard.style,
        "expression": spec.expression.name,
        **clothes_attributes(spec.clothes),
        **accessory_attributes(spec.accessories),
    }


# 'a' before a vowel's sound: an auburn bob, an 18-year-old, but a one-sided smile.
_AN = re.compile(r"\b([Aa]) (?=(?!one|uni|eu)[aeiou]|8\d|18-)")


def _list(parts: Sequence[str]) -> str:
    """'a, b and c'."""
    parts = [part for part in parts if part]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


class _Facts:
    """The phrases about one person; `pick` chooses among paraphrases, None takes the usual ones."""

    def __init__(self, spec: AvatarSpec, rng: np.random.Generator | None) -> None:
        self.rng = rng
        woman = spec.identity.gender > 0.5
        n = years(spec)
        stage = next(words for limit, words in _STAGES if n < limit)
        self.he, self.his = ("she", "her") if woman else ("he", "his")
        young = "girl" if woman else "boy"
        who = self.pick(stage).format(g="woman" if woman else "man", y=young, n=n, p=self.his)
        self.who = f"a {who}"
        self.skin = f"{tone_name(spec)} skin"
        worn = spec.accessories
        self.hair = ""
        if worn.headwear not in _HIDES_HAIR:
            self.hair = self.pick(HAIR_WORDS[spec.hair.style]).format(c=spec.hair.colour)
        self.beard = self.pick(BEARD_WORDS[spec.beard.style]).format(c=spec.hair.colour)
        shut = spec.expression.name == "eyes closed"
        dark = worn.glasses != "none" and worn.lenses != "clear"
        self.eyes = "" if shut or dark else f"{spec.eyes.colour} eyes"
        self.marks = [self.pick(words) for words in skin_words(spec.skin)]
        self.clothes = self.pick(clothes_words(spec.clothes))
        self.worn = [self.pick(words) for words in accessory_words(worn)]
        self.look = self.pick(EXPRESSION_WORDS[spec.expression.name])

    def pick(self, words: Sequence[str]) -> str:
        """One of the paraphrases."""
        return words[0] if self.rng is None else words[int(self.rng.integers(len(words)))]


def caption(spec: AvatarSpec) -> str:
    """See `AvatarSpec.caption`."""
    return _AN.sub(r"\1n ", _whole(_Facts(spec, None)))


def captions(spec: AvatarSpec) -> list[str]:
    """See `AvatarSpec.captions`."""
    rng = generator(spec.seed, "captions")
    forms = (_whole, _wearing_first, _sentences, _head_only, _dress_only)
    return [caption(spec), *(_AN.sub(r"\1n ", form(_Facts(spec, rng))) for form in forms)]


def _ending(facts: _Facts) -> str:
    return f", {facts.look}" if facts.look else ""


def _whole(f: _Facts) -> str:
    person = _list([f.skin, f.hair, f.beard, *f.marks, f.eyes])
    return (
        f"A portrait of {f.who} with {person}, wearing {_list([f.clothes, *f.worn])}{_ending(f)}."
    )


def _wearing_first(f: _Facts) -> str:
    who = f.who[0].upper() + f.who[1:]
    person = _list([f.hair, f.beard, f.eyes, *f.marks, f.skin])
    look = f" {f.look}" if f.look else ""
    return f"{who}{look} in {_list([f.clothes, *f.worn])}, with {person}."


def _sentences(f: _Facts) -> str:
    he = f.he.capitalize()
    looks = f" {he} is {f.look}." if f.look.split(" ")[0].endswith("ing") else ""
    person = _list([f.skin, f.eyes, f.hair, f.beard, *f.marks])
    who = f.who[0].upper() + f.who[1:]
    return f"{who}. {he} has {person}. {he} is wearing {_list([f.clothes, *f.worn])}.{looks}"


def _head_only(f: _Facts) -> str:
    """A partial description: the head."""
    words = [f.hair, f.beard, *f.worn] if f.hair or f.beard or f.worn else [f.skin]
    return f"{f.who} with {_list(words)}{_ending(f)}"


def _dress_only(f: _Facts) -> str:
    """A partial description: what is worn."""
    return f"{f.who} with {f.skin} wearing {_list([f.clothes, *f.worn])}"
