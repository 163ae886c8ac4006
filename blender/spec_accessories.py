"""Glasses, headwear and jewellery of a spec: types, sampling, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from blender.spec_base import Rgb, choices, within
from blender.spec_face import Identity
from blender.spec_hair import Hair
from blender.streams import generator

Glasses = Literal["none"]
Headwear = Literal["none"]
Earrings = Literal["none"]
Necklace = Literal["none"]


@dataclass(frozen=True)
class Accessories:
    """What is worn besides clothes; each slot may be empty."""

    glasses: Glasses = "none"
    glasses_colour: str = "black"  # of the frame, what a caption calls it
    glasses_rgb: Rgb = (0.03, 0.03, 0.03)  # sRGB
    headwear: Headwear = "none"
    headwear_colour: str = "black"  # what a caption calls it
    headwear_rgb: Rgb = (0.08, 0.08, 0.09)  # sRGB
    earrings: Earrings = "none"
    necklace: Necklace = "none"
    metal_rgb: Rgb = (0.83, 0.69, 0.35)  # of jewellery, sRGB

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "glasses_rgb", "headwear_rgb", "metal_rgb")


def sample_accessories(seed: int, identity: Identity, hair: Hair) -> Accessories:
    """About half of the people wear something."""
    generator(seed, "accessories")
    return Accessories()


def accessory_words(worn: Accessories) -> list[tuple[str, ...]]:
    """For each thing worn, the ways a caption may name it."""
    return []
