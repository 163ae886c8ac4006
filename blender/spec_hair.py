"""Hair, brows and beard of a spec: types, sampling, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from blender.spec_base import Rgb, choices, pick, rgb_of, within
from blender.spec_face import Identity
from blender.streams import generator

HairStyle = Literal[
    "bald", "buzz", "short", "slick", "long", "wavy", "fringe", "bob", "curly", "afro", "bun",
    "ponytail",
]  # fmt: skip
BeardStyle = Literal["none", "stubble", "full"]

# What captions call them; {c} is the colour. The first is the usual one.
HAIR_WORDS: dict[HairStyle, tuple[str, ...]] = {
    "bald": ("no hair", "a bald head"), "buzz": ("a {c} buzz cut",), "short": ("short {c} hair",),
    "slick": ("slicked-back {c} hair",), "long": ("long straight {c} hair",),
    "wavy": ("long wavy {c} hair",), "fringe": ("long {c} hair with a fringe",),
    "bob": ("a {c} bob",), "curly": ("curly {c} hair",), "afro": ("a {c} afro",),
    "bun": ("{c} hair in a bun",), "ponytail": ("a {c} ponytail",),
}  # fmt: skip
BEARD_WORDS: dict[BeardStyle, tuple[str, ...]] = {
    "none": ("",), "stubble": ("stubble",), "full": ("a full beard",),
}  # fmt: skip
_NATURAL: dict[str, Rgb] = {
    "black": (0.075, 0.062, 0.058),
    "dark brown": (0.165, 0.110, 0.080),
    "brown": (0.290, 0.190, 0.125),
    "light brown": (0.430, 0.300, 0.190),
    "blond": (0.680, 0.530, 0.330),
    "red": (0.470, 0.200, 0.095),
}
_DYED: dict[str, Rgb] = {
    "green": (0.06, 0.38, 0.30),
    "blue": (0.12, 0.24, 0.52),
    "pink": (0.72, 0.30, 0.45),
    "purple": (0.33, 0.17, 0.45),
}
# Chances of the styles for men and for women.
_STYLES: dict[HairStyle, tuple[float, float]] = {
    "bald": (0.09, 0.0), "buzz": (0.16, 0.02), "short": (0.30, 0.08), "slick": (0.12, 0.03),
    "long": (0.05, 0.20), "wavy": (0.04, 0.16), "fringe": (0.0, 0.12), "bob": (0.02, 0.14),
    "curly": (0.14, 0.09), "afro": (0.05, 0.04), "bun": (0.02, 0.07), "ponytail": (0.01, 0.05),
}  # fmt: skip
_GREY = np.array([0.62, 0.61, 0.59])


@dataclass(frozen=True)
class Hair:
    """Hair on the scalp."""

    style: HairStyle = "short"
    colour: str = "brown"  # what a caption calls it
    rgb: Rgb = (0.20, 0.13, 0.09)  # sRGB
    length: float = 1.0  # scale of the style's own lengths
    grey: float = 0.0  # share of grey strands, 0 .. 1
    recede: float = 0.0  # cm the hairline has moved back
    roughness: float = 0.35  # 0 .. 1

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "rgb", "grey", "roughness")
        within(self, 0.4, 1.6, "length")
        within(self, 0.0, 4.0, "recede")


@dataclass(frozen=True)
class Brows:
    """Eyebrows."""

    rgb: Rgb = (0.16, 0.11, 0.08)  # sRGB
    thickness: float = 1.0  # scale of the band
    density: float = 1.0  # 0 .. 1.5

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "rgb")
        within(self, 0.4, 1.8, "thickness")
        within(self, 0.0, 1.5, "density")


@dataclass(frozen=True)
class Beard:
    """Beard and moustache."""

    style: BeardStyle = "none"
    rgb: Rgb = (0.16, 0.11, 0.08)  # sRGB
    grey: float = 0.0  # share of grey strands, 0 .. 1
    length: float = 1.0  # scale of the style's own lengths

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "rgb", "grey")
        within(self, 0.4, 1.6, "length")


def sample_hair(seed: int, identity: Identity) -> Hair:
    """Style by gender and ancestry, colour by ancestry and age."""
    rng = generator(seed, "hair")
    column = int(identity.gender > 0.5)
    chances = {style: pair[column] for style, pair in _STYLES.items()}
    chances["afro"] *= 0.1 + 4.0 * identity.african
    chances["curly"] *= 0.5 + 2.0 * identity.african
    chances["fringe"] *= 0.6 + identity.asian
    if identity.age > 0.75 and not column:
        chances["bald"] *= 2.0
    style: HairStyle = pick(rng, chances)
    fair = identity.caucasian**1.3
    colours = {
        "black": 0.15 + 0.9 * (1 - fair), "dark brown": 0.35, "brown": 0.45 * fair,
        "light brown": 0.28 * fair, "blond": 0.30 * fair, "red": 0.10 * fair,
    }  # fmt: skip
    colour = pick(rng, colours)
    rgb = np.array(_NATURAL[colour]) * np.clip(rng.normal(1.0, 0.12), 0.7, 1.3)
    grey = float(np.clip((identity.age - 0.74) / 0.2 + rng.normal(0.0, 0.2), 0.0, 1.0))
    if rng.random() < 0.06:
        colour, grey = pick(rng, dict.fromkeys(_DYED, 1.0)), 0.0
        rgb = np.array(_DYED[colour])
    elif grey > 0.35:
        colour = "grey"
    recede = 0.0 if column else max(0.0, identity.age - 0.66) * 8.0 * rng.random()
    return Hair(
        style=style,
        colour=colour,
        rgb=rgb_of(rgb),
        length=round(float(rng.uniform(0.8, 1.2)), 4),
        grey=round(grey, 4),
        recede=round(float(recede), 4),
        roughness=round(float(rng.uniform(0.28, 0.45)), 4),
    )


def sample_brows(seed: int, identity: Identity, hair: Hair) -> Brows:
    """Brows a little darker than natural hair, thicker for men."""
    rng = generator(seed, "brows")
    base = np.array(hair.rgb if hair.colour not in _DYED else _NATURAL["dark brown"])
    base = base * (0.72 if base.max() > 0.3 else 0.9)
    base = base * (1 - 0.5 * hair.grey) + 0.5 * hair.grey * _GREY * 0.8
    man = 1.0 - identity.gender
    return Brows(
        rgb=rgb_of(base),
        thickness=round(float(np.clip(rng.normal(0.9 + 0.3 * man, 0.13), 0.6, 1.6)), 4),
        density=round(float(np.clip(rng.normal(0.9 + 0.1 * man, 0.12), 0.6, 1.3)), 4),
    )


def sample_beard(seed: int, identity: Identity, hair: Hair) -> Beard:
    """Beards on about half of the men."""
    rng = generator(seed, "beard")
    style: BeardStyle = "none"
    if identity.gender < 0.4:
        chances = {"none": 0.5, "stubble": 0.28, "full": 0.22}
        style = pick(rng, chances)
    base = np.array(hair.rgb if hair.colour not in _DYED else _NATURAL["dark brown"])
    return Beard(
        style=style,
        rgb=rgb_of(base * 0.9),
        grey=round(min(1.0, hair.grey * 1.1), 4),
        length=round(float(rng.uniform(0.75, 1.25)), 4),
    )
