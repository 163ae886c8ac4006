"""Words and table columns for a spec."""

from __future__ import annotations

import numpy as np

from blender.spec_types import AvatarSpec

_HAIR = {
    "bald": "no hair", "buzz": "a {c} buzz cut", "short": "short {c} hair",
    "slick": "slicked-back {c} hair", "long": "long straight {c} hair",
    "wavy": "long wavy {c} hair", "fringe": "long {c} hair with a fringe", "bob": "a {c} bob",
    "curly": "curly {c} hair", "afro": "a {c} afro", "bun": "{c} hair in a bun",
    "ponytail": "a {c} ponytail",
}  # fmt: skip
_GARMENT = {
    "tshirt": "T-shirt", "vneck": "V-neck shirt", "sweater": "sweater",
    "turtleneck": "turtleneck",
}  # fmt: skip
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
    hair = _HAIR[spec.hair.style].format(c=spec.hair.colour)
    beard = {"none": "", "stubble": ", stubble", "full": ", a full beard"}[spec.beard.style]
    look = "" if spec.expression.name == "neutral" else f", {spec.expression.name}"
    pattern = "" if spec.clothes.pattern == "plain" else f"{spec.clothes.pattern} "
    wear = _article(f"{spec.clothes.colour} {pattern}{_GARMENT[spec.clothes.garment]}")
    words = f"{stage} {who}"
    return (
        f"A portrait of {_article(words)} with {tone_name(spec)} skin, {hair}{beard} and "
        f"{spec.eyes.colour} eyes, wearing {wear}{look}."
    )
