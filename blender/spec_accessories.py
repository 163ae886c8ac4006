"""Glasses, headwear and jewellery of a spec: types, sampling, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from blender.spec_base import Rgb, choices, pick, within
from blender.spec_clothes import Clothes
from blender.spec_face import Identity
from blender.spec_hair import Hair
from blender.streams import generator

Glasses = Literal[
    "none", "round", "oval", "rectangular", "square", "aviator", "cat-eye", "browline", "rimless",
    "round acetate", "wayfarer",
]  # fmt: skip
Lenses = Literal["clear", "grey", "brown", "green", "blue", "rose"]
Headwear = Literal[
    "none", "beanie", "baseball cap", "bucket hat", "fedora", "straw hat", "flat cap", "beret",
    "headband", "bandana", "hijab", "turban", "headphones",
]  # fmt: skip
Earrings = Literal["none", "studs", "pearls", "small hoops", "big hoops", "drops"]
Necklace = Literal["none", "chain", "pendant", "pearls", "choker"]
Piercing = Literal["none", "nose stud", "septum ring", "brow ring"]

METALS: dict[str, Rgb] = {
    "gold": (0.89, 0.71, 0.36), "silver": (0.80, 0.81, 0.83), "copper": (0.84, 0.58, 0.48),
    "black": (0.06, 0.06, 0.065),
}  # fmt: skip
LENSES: dict[str, Rgb | None] = {
    "clear": None, "grey": (0.13, 0.13, 0.14), "brown": (0.20, 0.12, 0.07),
    "green": (0.10, 0.15, 0.11), "blue": (0.16, 0.24, 0.38), "rose": (0.62, 0.30, 0.34),
}  # fmt: skip

_ANY = 0.50  # share of the people who may wear something
_FRAMES: dict[str, float] = {
    "round": 1.0, "oval": 1.0, "rectangular": 1.3, "square": 1.0, "aviator": 1.1, "cat-eye": 0.9,
    "browline": 0.9, "rimless": 1.0, "round acetate": 0.9, "wayfarer": 1.1,
}  # fmt: skip
_ACETATE = frozenset({"rectangular", "square", "cat-eye", "browline", "round acetate", "wayfarer"})
_TINTS = {"clear": 0.60, "grey": 0.12, "brown": 0.08, "green": 0.07, "blue": 0.065, "rose": 0.065}
_ACETATE_COLOURS: dict[str, Rgb] = {
    "black": (0.03, 0.03, 0.03), "tortoiseshell": (0.45, 0.22, 0.08), "brown": (0.26, 0.14, 0.08),
    "navy": (0.07, 0.11, 0.26), "red": (0.52, 0.06, 0.09), "green": (0.09, 0.25, 0.17),
    "white": (0.86, 0.86, 0.84),
}  # fmt: skip
_METAL_COLOURS = METALS
# Chances of headwear for men and for women.
_HEADWEAR: dict[str, tuple[float, float]] = {
    "beanie": (1.2, 0.9), "baseball cap": (1.2, 1.0), "bucket hat": (1.3, 1.2),
    "fedora": (1.4, 1.0), "straw hat": (0.8, 1.1), "flat cap": (1.8, 0.6), "beret": (0.6, 1.2),
    "headband": (0.4, 0.6), "bandana": (0.7, 0.7), "hijab": (0.0, 1.3), "turban": (1.0, 1.0),
    "headphones": (0.6, 0.6),
}  # fmt: skip
# Hair that goes under a hat; hair that goes with what leaves the crown free or hides it all.
_FLAT_HAIR = frozenset(
    {
        "bald", "buzz", "crew", "horseshoe", "short", "sidepart", "slick", "undercut", "pixie",
        "bob", "lob", "ringlets", "long", "wavy", "fringe", "shag", "cornrows", "curly", "coily",
        "locs", "braids",
    }
)  # fmt: skip
_BULKY_HAIR = frozenset({"bun", "topknot", "ponytail", "pigtails", "afro"})
_EARRINGS = {"studs": 1.0, "pearls": 0.7, "small hoops": 1.0, "big hoops": 0.8, "drops": 0.9}
_NECKLACES: tuple[dict[str, float], ...] = (
    {"chain": 1.0, "pendant": 0.5, "pearls": 0.12, "choker": 0.1},
    {"chain": 0.8, "pendant": 0.9, "pearls": 0.8, "choker": 0.8},
)
_PIERCINGS = {"nose stud": 1.2, "septum ring": 1.0, "brow ring": 1.0}
_COLOURS: dict[str, Rgb] = {
    "black": (0.075, 0.075, 0.085), "white": (0.85, 0.85, 0.84), "grey": (0.42, 0.43, 0.45),
    "navy": (0.10, 0.14, 0.28), "blue": (0.18, 0.32, 0.60), "light blue": (0.52, 0.68, 0.82),
    "teal": (0.08, 0.40, 0.42), "green": (0.18, 0.38, 0.23), "olive": (0.36, 0.36, 0.21),
    "yellow": (0.84, 0.66, 0.22), "orange": (0.80, 0.40, 0.17), "red": (0.66, 0.13, 0.13),
    "burgundy": (0.38, 0.10, 0.16), "pink": (0.84, 0.56, 0.62), "purple": (0.40, 0.25, 0.50),
    "beige": (0.74, 0.64, 0.50), "brown": (0.34, 0.22, 0.15),
}  # fmt: skip
_ONLY: dict[str, tuple[str, ...]] = {
    "straw hat": ("beige",),
    "fedora": ("black", "grey", "navy", "brown", "beige", "burgundy", "olive"),
    "flat cap": ("grey", "brown", "navy", "olive", "beige", "black"),
    "headphones": ("black", "white", "grey", "red", "navy", "pink"),
    "bandana": ("red", "navy", "black", "blue", "green", "purple", "pink", "orange"),
}
_SECOND: dict[str, Rgb] = {
    "white": (0.86, 0.85, 0.82), "black": (0.06, 0.06, 0.065), "red": (0.55, 0.10, 0.11),
    "navy": (0.09, 0.12, 0.26),
}  # fmt: skip
_STONES: dict[str, Rgb] = {
    "diamond": (0.86, 0.89, 0.93), "ruby": (0.60, 0.05, 0.12), "emerald": (0.05, 0.42, 0.25),
    "sapphire": (0.08, 0.18, 0.55), "turquoise": (0.20, 0.62, 0.62),
}  # fmt: skip
# What captions call them; {c} is the colour, {m} the metal. The first is the usual one.
_HEADWEAR_WORDS: dict[str, tuple[str, ...]] = {
    "beanie": ("{c} beanie", "{c} knitted beanie", "{c} woolly hat"),
    "baseball cap": ("{c} baseball cap", "{c} cap"),
    "bucket hat": ("{c} bucket hat", "{c} cotton bucket hat"),
    "fedora": ("{c} fedora", "{c} felt hat", "{c} brimmed hat"),
    "straw hat": ("straw hat", "wide-brimmed straw hat", "straw sun hat"),
    "flat cap": ("{c} flat cap", "{c} tweed cap"),
    "beret": ("{c} beret", "{c} felt beret"),
    "headband": ("{c} headband", "{c} fabric headband"),
    "bandana": ("{c} bandana", "patterned {c} bandana", "{c} bandana tied at the back"),
    "hijab": ("{c} hijab", "{c} headscarf"),
    "turban": ("{c} turban", "{c} head wrap"),
    "headphones": ("pair of {c} headphones", "pair of over-ear headphones"),
}
_EARRING_WORDS: dict[str, tuple[str, ...]] = {
    "studs": ("stud earrings", "{m} stud earrings"),
    "pearls": ("pearl earrings", "pearl stud earrings"),
    "small hoops": ("small {m} hoop earrings", "small hoop earrings"),
    "big hoops": ("large {m} hoop earrings", "big hoop earrings", "hoop earrings"),
    "drops": ("drop earrings", "dangling {m} earrings"),
}
_NECKLACE_WORDS: dict[str, tuple[str, ...]] = {
    "chain": ("{m} chain", "thin {m} necklace"),
    "pendant": ("{m} necklace with a pendant", "pendant necklace"),
    "pearls": ("pearl necklace", "string of pearls"),
    "choker": ("black choker", "black velvet choker"),
}


@dataclass(frozen=True)
class Accessories:
    """What is worn besides clothes; each slot may be empty."""

    glasses: Glasses = "none"
    glasses_colour: str = "black"  # of the frame, what a caption calls it
    glasses_rgb: Rgb = (0.03, 0.03, 0.03)  # sRGB
    lenses: Lenses = "clear"
    headwear: Headwear = "none"
    headwear_colour: str = "black"  # what a caption calls it
    headwear_rgb: Rgb = (0.08, 0.08, 0.09)  # sRGB
    headwear_second_rgb: Rgb = (0.80, 0.80, 0.78)  # of bands, dots and stitches, sRGB
    earrings: Earrings = "none"
    necklace: Necklace = "none"
    piercing: Piercing = "none"
    metal: str = "gold"  # of the jewellery, what a caption calls it
    metal_rgb: Rgb = (0.89, 0.71, 0.36)  # sRGB
    stone_rgb: Rgb = (0.85, 0.88, 0.92)  # of studs and drops, sRGB

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "glasses_rgb", "headwear_rgb", "headwear_second_rgb")
        within(self, 0.0, 1.0, "metal_rgb", "stone_rgb")


# Garments over which a necklace lies free; collars and hoods would swallow parts of it.
_OPEN_NECKS = ("tshirt", "vneck", "boatneck", "offshoulder", "tank", "camisole", "sweater")


def sample_accessories(
    seed: int, identity: Identity, hair: Hair, clothes: Clothes | None = None
) -> Accessories:
    """Something for a little under half of the people, often more than one thing."""
    rng = generator(seed, "accessories")
    worn = rng.random() < _ANY
    woman = identity.gender > 0.5
    # Each choice takes its numbers whether or not it is used, so that slots do not disturb
    # each other.
    glasses = _maybe(rng, 0.52 * worn, _FRAMES)
    lenses = pick(rng, _TINTS)
    acetate = glasses in _ACETATE
    colours = _ACETATE_COLOURS if acetate else _METAL_COLOURS
    frame_colour = pick(rng, dict.fromkeys(colours, 1.0) | {"black": 2.0 if acetate else 1.0})
    suits = {k: v[int(woman)] for k, v in _HEADWEAR.items() if hair.style in _under(k)}
    headwear = _maybe(rng, 0.60 * worn * bool(suits), suits or {"beanie": 1.0})
    colour = pick(rng, dict.fromkeys(_hat_colours(headwear), 1.0))
    second = pick(rng, dict.fromkeys(_SECOND, 1.0))
    earrings = _maybe(rng, (0.60 if woman else 0.15) * worn, _EARRINGS)
    necklace = _maybe(rng, (0.55 if woman else 0.28) * worn, _NECKLACES[int(woman)])
    piercing = _maybe(rng, 0.16 * worn * (identity.age < 0.9), _PIERCINGS)
    metal = pick(rng, {"gold": 0.55, "silver": 0.35, "copper": 0.10})
    stone = pick(rng, dict.fromkeys(_STONES, 1.0))
    if headwear == "hijab":
        earrings = necklace = "none"
    elif headwear == "headphones":
        earrings = "none"
    if clothes is not None and clothes.garment not in _OPEN_NECKS:
        necklace = "none"
    return Accessories(
        glasses=glasses,
        glasses_colour=frame_colour,
        glasses_rgb=colours[frame_colour],
        lenses=lenses,
        headwear=headwear,
        headwear_colour=colour,
        headwear_rgb=_hat_colours(headwear)[colour],
        headwear_second_rgb=_SECOND[second],
        earrings=earrings,
        necklace=necklace,
        piercing=piercing,
        metal=metal,
        metal_rgb=METALS[metal],
        stone_rgb=_STONES[stone],
    )


def _maybe(rng: np.random.Generator, chance: float, kinds: dict[str, float]) -> Any:
    """One of `kinds` with a chance, else "none"."""
    wanted, kind = rng.random() < chance, pick(rng, kinds)
    return kind if wanted else "none"


def _under(headwear: str) -> frozenset[str]:
    """The hair styles that go with a kind of headwear."""
    if headwear in ("headband", "headphones", "hijab"):
        return _FLAT_HAIR | _BULKY_HAIR
    return _FLAT_HAIR


def _hat_colours(headwear: str) -> dict[str, Rgb]:
    return {k: _COLOURS[k] for k in _ONLY.get(headwear, tuple(_COLOURS))}


def accessory_words(worn: Accessories) -> list[tuple[str, ...]]:
    """For each thing worn, the ways a caption may name it, article included."""
    out = []
    if worn.glasses != "none":
        out.append(_glasses_words(worn))
    if worn.headwear != "none":
        named = (w.format(c=worn.headwear_colour) for w in _HEADWEAR_WORDS[worn.headwear])
        out.append(tuple(_article(w) for w in named))
    if worn.earrings != "none":
        out.append(tuple(w.format(m=worn.metal) for w in _EARRING_WORDS[worn.earrings]))
    if worn.necklace != "none":
        named = (w.format(m=worn.metal) for w in _NECKLACE_WORDS[worn.necklace])
        out.append(tuple(_article(w) for w in named))
    if worn.piercing != "none":
        out.append((_article(worn.piercing), _article(f"{worn.metal} {worn.piercing}")))
    return out


def _article(words: str) -> str:
    """ "a" or "an" before a singular noun phrase."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def _glasses_words(worn: Accessories) -> tuple[str, ...]:
    shape, colour = worn.glasses.removesuffix(" acetate"), worn.glasses_colour
    if worn.lenses != "clear":
        return (f"{shape} sunglasses", "sunglasses", f"sunglasses with {worn.lenses} lenses")
    if worn.glasses == "rimless":
        return ("rimless glasses", "thin rimless glasses")
    if worn.glasses in _ACETATE:
        return (f"{colour} {shape} glasses", f"{shape} glasses", f"glasses with {colour} frames")
    return (f"{colour} {shape} glasses", f"{shape} glasses", f"{shape} metal glasses")


def accessory_attributes(worn: Accessories) -> dict[str, str]:
    """Flat facts for a table; "none" where a slot is empty."""

    def when(slot: str, value: str) -> str:
        return value if slot != "none" else "none"

    jewels = [worn.earrings, worn.necklace, worn.piercing]
    some = next((j for j in jewels if j != "none"), "none")
    return {
        "glasses": worn.glasses,
        "glasses_colour": when(worn.glasses, worn.glasses_colour),
        "lenses": when(worn.glasses, worn.lenses),
        "headwear": worn.headwear,
        "headwear_colour": when(worn.headwear, worn.headwear_colour),
        "earrings": worn.earrings,
        "necklace": worn.necklace,
        "piercing": worn.piercing,
        "jewellery_metal": when(some, worn.metal),
    }
