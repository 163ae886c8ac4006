"""Words and table columns for a spec."""

from __future__ import annotations

import numpy as np

from blender.spec_clothes import GARMENT_WORDS
from blender.spec_hair import BEARD_WORDS, HAIR_WORDS
from blender.spec_types import AvatarSpec

_TONES = ("very fair", "fair", "light", "medium", "tan", "brown", "dark brown", "deep")


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
        "skin_tone": tone_name(spec),
        "freckles": spec.skin.freckles > 0,
        "makeup": spec.skin.makeup > 0,
        "eye_colour": spec.eyes.colour,
        "hair_style": spec.hair.style,
        "hair_colour": spec.hair.colour,
        "beard": spec.beard.style,
        "garment": spec.clothes.garment,
        "garment_colour": spec.clothes.colour,
        "garment_pattern": spec.clothes.pattern,
        "expression": spec.expression.name,
    }


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(spec: AvatarSpec) -> str:
    """See `AvatarSpec.caption`."""
    age = years(spec)
    stage = "young" if age < 32 else "middle-aged" if age < 58 else "elderly"
    who = "woman" if spec.identity.gender > 0.5 else "man"
    hair = HAIR_WORDS[spec.hair.style][0].format(c=spec.hair.colour)
    beard = BEARD_WORDS[spec.beard.style][0]
    beard = f", {beard}" if beard else ""
    look = "" if spec.expression.name == "neutral" else f", {spec.expression.name}"
    pattern = "" if spec.clothes.pattern == "plain" else f"{spec.clothes.pattern} "
    wear = _article(f"{spec.clothes.colour} {pattern}{GARMENT_WORDS[spec.clothes.garment][0]}")
    words = f"{stage} {who}"
    return (
        f"A portrait of {_article(words)} with {tone_name(spec)} skin, {hair}{beard} and "
        f"{spec.eyes.colour} eyes, wearing {wear}{look}."
    )
