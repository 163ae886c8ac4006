"""Clothes of a spec: types, sampling, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from blender.spec_base import Rgb, choices, pick, within
from blender.spec_cloth_colours import (
    CLOTH_COLOURS,
    DENIM,
    NAMES,
    OUTER,
    SHIRT,
    SUIT,
    TIE,
    TOP,
    contrast,
)
from blender.spec_face import Identity
from blender.streams import generator

Garment = Literal[
    "tshirt", "vneck", "boatneck", "offshoulder", "tank", "camisole", "sweater", "turtleneck",
    "shirt", "polo", "hoodie", "denim_jacket", "bomber", "cardigan", "suit", "blazer",
]  # fmt: skip
Pattern = Literal[
    "plain", "striped", "vertical", "pinstriped", "checked", "plaid", "dotted", "colourblock",
    "herringbone", "heathered", "floral",
]  # fmt: skip

# The outermost layer; {c} is its colour, with the pattern's words.
GARMENT_WORDS: dict[Garment, tuple[str, ...]] = {
    "tshirt": ("T-shirt", "crew-neck T-shirt", "tee"),
    "vneck": ("V-neck shirt", "V-neck T-shirt", "V-neck top"),
    "boatneck": ("boat-neck top", "wide-necked top"),
    "offshoulder": ("off-the-shoulder top", "top that leaves the shoulders bare"),
    "tank": ("tank top", "sleeveless top"),
    "camisole": ("camisole", "spaghetti-strap top", "top with thin straps"),
    "sweater": ("sweater", "crew-neck sweater", "knitted pullover"),
    "turtleneck": ("turtleneck", "turtleneck sweater", "roll-neck pullover"),
    "shirt": ("shirt", "button-up shirt", "collared shirt"),
    "polo": ("polo shirt", "polo"),
    "hoodie": ("hoodie", "hooded sweatshirt"),
    "denim_jacket": ("denim jacket", "open denim jacket"),
    "bomber": ("bomber jacket", "zip-up jacket"),
    "cardigan": ("cardigan", "open cardigan", "button-front cardigan"),
    "suit": ("suit", "suit jacket"),
    "blazer": ("blazer", "blazer with notch lapels"),
}
# What a pattern adds: before the garment, or after it; {s} is the second colour.
PATTERN_WORDS: dict[Pattern, tuple[str, ...]] = {
    "plain": ("{c} {g}", "{c} {g}", "plain {c} {g}"),
    "striped": ("{c} and {s} striped {g}", "{c} {g} with {s} stripes", "striped {c} {g}"),
    "vertical": ("{c} and {s} vertically striped {g}", "{c} {g} with vertical {s} stripes"),
    "pinstriped": ("pinstriped {c} {g}", "{c} pinstripe {g}", "{c} {g} with {s} pinstripes"),
    "checked": ("{c} and {s} checked {g}", "{c} gingham {g}", "checked {c} {g}"),
    "plaid": ("{c} plaid {g}", "{c} and {s} tartan {g}", "{c} {g} with a {s} plaid"),
    "dotted": ("{c} {g} with {s} polka dots", "polka-dot {c} {g}", "dotted {c} {g}"),
    "colourblock": ("{c} and {s} colour-block {g}", "two-tone {c} and {s} {g}"),
    "herringbone": ("{c} herringbone {g}", "{c} {g} with a herringbone weave"),
    "heathered": ("heathered {c} {g}", "mottled {c} {g}"),
    "floral": ("{c} floral {g}", "{c} {g} with {s} flowers", "flowered {c} {g}"),
}
INNER_WORDS = {
    "denim_jacket": "T-shirt", "bomber": "T-shirt", "cardigan": "T-shirt", "blazer": "top",
    "suit": "shirt",
}  # fmt: skip

# Chances for men and women, out of 100 or so.
_CHANCES: dict[Garment, tuple[float, float]] = {
    "tshirt": (13, 9), "vneck": (7, 8), "boatneck": (2.0, 7), "offshoulder": (0.0, 6),
    "tank": (3.5, 6), "camisole": (0.0, 8), "sweater": (8, 7), "turtleneck": (6, 8),
    "shirt": (11, 7), "polo": (8, 3), "hoodie": (9, 6), "denim_jacket": (7, 6), "bomber": (7, 4),
    "cardigan": (4, 8), "suit": (12, 1.5), "blazer": (3, 6),
}  # fmt: skip
_YOUNG: tuple[Garment, ...] = ("camisole", "offshoulder", "tank", "hoodie")
_OLD = 0.8  # of identity.age, beyond which the young garments are rare
_ANY: dict[Pattern, float] = {
    "plain": 46, "striped": 12, "vertical": 5, "checked": 6, "dotted": 6, "heathered": 8,
    "colourblock": 6, "floral": 5,
}  # fmt: skip
_WARM: dict[Pattern, float] = {
    "plain": 48, "striped": 16, "colourblock": 10, "heathered": 16, "dotted": 3, "herringbone": 3,
    "plaid": 4,
}  # fmt: skip
_FORMAL: dict[Pattern, float] = {
    "plain": 56, "pinstriped": 20, "herringbone": 14, "plaid": 10,
}  # fmt: skip
_SHIRTS: dict[Pattern, float] = {
    "plain": 32, "plaid": 19, "checked": 13, "vertical": 10, "pinstriped": 9, "dotted": 7,
    "floral": 10,
}  # fmt: skip
_LIGHT: dict[Pattern, float] = {"plain": 46, "striped": 12, "dotted": 14, "floral": 20,
                                "vertical": 4, "checked": 4}  # fmt: skip
_COAT: dict[Pattern, float] = {"plain": 88, "heathered": 8, "colourblock": 4}
_PATTERNS: dict[Garment, dict[Pattern, float]] = {
    "tshirt": _ANY, "vneck": _ANY, "boatneck": _ANY, "polo": _ANY,
    "offshoulder": _LIGHT, "camisole": _LIGHT, "tank": _LIGHT,
    "sweater": _WARM, "turtleneck": _WARM, "hoodie": _WARM, "cardigan": _WARM,
    "shirt": _SHIRTS, "denim_jacket": {"plain": 1}, "bomber": _COAT,
    "suit": _FORMAL, "blazer": _FORMAL,
}  # fmt: skip


@dataclass(frozen=True)
class Clothes:
    """What is worn above the bust's lower edge."""

    garment: Garment = "tshirt"
    pattern: Pattern = "plain"
    layer: Literal["outer", "inner"] = "outer"  # which layer the pattern is on
    colour: str = "white"  # what a caption calls it
    rgb: Rgb = (0.85, 0.85, 0.84)  # sRGB
    second: str = "grey"  # the other colour of the pattern
    second_rgb: Rgb = (0.30, 0.30, 0.32)  # sRGB
    inner: str = "white"  # what is seen under an open jacket
    inner_rgb: Rgb = (0.86, 0.86, 0.85)  # sRGB
    tie: str = "navy"  # worn with a suit
    tie_rgb: Rgb = (0.10, 0.15, 0.30)  # sRGB
    scale: float = 1.0  # of the pattern
    folds: int = 0  # which folds the cloth has fallen into

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "rgb", "second_rgb", "inner_rgb", "tie_rgb")
        within(self, 0.4, 2.5, "scale")
        within(self, 0, 2**31 - 1, "folds")


def sample_clothes(seed: int, identity: Identity) -> Clothes:
    """A garment, its layers' colours and a pattern."""
    rng = generator(seed, "clothes")
    column = 1 if identity.gender > 0.5 else 0
    chances = {name: both[column] for name, both in _CHANCES.items()}
    if identity.age > _OLD:
        chances |= {name: 0.3 * chances[name] for name in _YOUNG}
    garment: Garment = pick(rng, chances)
    pattern: Pattern = pick(rng, _PATTERNS[garment])
    palette = {"suit": SUIT, "blazer": SUIT, "denim_jacket": DENIM, "bomber": OUTER}
    first = _one(rng, palette.get(garment, NAMES))
    inner = _one(rng, SHIRT if garment == "suit" else TOP, first)
    layer: Literal["outer", "inner"] = "outer"
    if garment in ("denim_jacket", "bomber", "cardigan") and rng.random() < 0.3:
        pattern = pick(rng, {"striped": 6, "dotted": 2, "checked": 1, "floral": 1})
        layer = "inner"
    base = inner if layer == "inner" else first
    second = _one(rng, NAMES, base)
    if pattern in ("herringbone", "plaid") and garment in ("suit", "blazer"):
        near = [n for n in SUIT if 0.12 < contrast(n, first) < 0.5]
        second = _one(rng, near or SUIT)
    elif rng.random() < 0.45 or pattern == "pinstriped":
        second = _one(rng, ("white", "cream", "navy", "black", "light grey"), base)
    return Clothes(
        garment=garment,
        pattern=pattern,
        layer=layer,
        colour=first,
        rgb=_dye(rng, first),
        second=second,
        second_rgb=CLOTH_COLOURS[second],
        inner=inner,
        inner_rgb=_dye(rng, inner),
        tie=(tie := _one(rng, TIE, inner)),
        tie_rgb=CLOTH_COLOURS[tie],
        scale=round(float(rng.uniform(0.7, 1.5)), 4),
        folds=int(rng.integers(1 << 16)),
    )


def _one(rng: np.random.Generator, names: Sequence[str], beside: str | None = None) -> str:
    """One of the names, told apart easily from the colour `beside`."""
    fit = [n for n in names if beside is None or contrast(n, beside) > 0.25]
    return fit[int(rng.integers(len(fit)))]


def _dye(rng: np.random.Generator, name: str) -> Rgb:
    """The named colour as one of many dyers would make it."""
    shade = float(rng.uniform(0.93, 1.07))
    r, g, b = (
        round(min(1.0, max(0.0, c * shade + float(rng.uniform(-0.015, 0.015)))), 4)
        for c in CLOTH_COLOURS[name]
    )
    return r, g, b


def clothes_words(clothes: Clothes) -> tuple[str, ...]:
    """Noun phrases with their articles, all true of the picture."""
    outer = clothes.layer == "outer"
    garments = GARMENT_WORDS[clothes.garment]
    plain: tuple[str, ...] = ("{c} {g}",)
    shapes = PATTERN_WORDS[clothes.pattern] if outer else plain
    under = INNER_WORDS.get(clothes.garment)
    out = []
    for k in range(max(len(garments), len(shapes))):
        words = shapes[k % len(shapes)].format(
            c=_told(clothes.colour, clothes.garment),
            g=garments[k % len(garments)],
            s=clothes.second,
        )
        if under is not None:
            below = plain if outer else PATTERN_WORDS[clothes.pattern]
            inner = below[k % len(below)].format(c=clothes.inner, g=under, s=clothes.second)
            tie = f" with a {clothes.tie} tie" if clothes.garment == "suit" else ""
            words += f"{tie} over {_article(inner)}"
        out.append(_article(words))
    return tuple(dict.fromkeys(out))


def clothes_attributes(clothes: Clothes) -> dict[str, str]:
    """Flat facts for a table; empty where there is no such thing."""
    outer = clothes.layer == "outer"
    layered = clothes.garment in INNER_WORDS
    patterned = clothes.pattern != "plain"
    return {
        "garment": clothes.garment,
        "garment_colour": clothes.colour,
        "garment_pattern": clothes.pattern if outer else "plain",
        "garment_second_colour": clothes.second if patterned else "",
        "inner_garment": INNER_WORDS.get(clothes.garment, ""),
        "inner_colour": clothes.inner if layered else "",
        "inner_pattern": ("plain" if outer else clothes.pattern) if layered else "",
        "tie_colour": clothes.tie if clothes.garment == "suit" else "",
    }


def _told(colour: str, garment: str) -> str:
    return "blue" if (colour, garment) == ("denim blue", "denim_jacket") else colour


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words
