"""Glasses, headwear and jewellery of a spec: types, sampling, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from blender.spec_base import Rgb, choices, within
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

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "glasses_rgb", "headwear_rgb", "headwear_second_rgb", "metal_rgb")


def sample_accessories(seed: int, identity: Identity, hair: Hair) -> Accessories:
    """About half of the people wear something."""
    generator(seed, "accessories")
    return Accessories()


def accessory_words(worn: Accessories) -> list[tuple[str, ...]]:
    """For each thing worn, the ways a caption may name it."""
    return []
