"""Clothes of a spec: types, sampling, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from blender.spec_base import Rgb, choices, pick, within
from blender.spec_face import Identity
from blender.streams import generator

Garment = Literal["tshirt", "vneck", "sweater", "turtleneck"]
Pattern = Literal["plain", "striped", "checked"]

GARMENT_WORDS: dict[Garment, tuple[str, ...]] = {
    "tshirt": ("T-shirt",), "vneck": ("V-neck shirt",), "sweater": ("sweater",),
    "turtleneck": ("turtleneck",),
}  # fmt: skip
CLOTH_COLOURS: dict[str, Rgb] = {
    "white": (0.86, 0.86, 0.85),
    "black": (0.075, 0.075, 0.085),
    "grey": (0.46, 0.47, 0.49),
    "navy": (0.10, 0.15, 0.30),
    "blue": (0.18, 0.32, 0.62),
    "light blue": (0.55, 0.70, 0.85),
    "teal": (0.08, 0.40, 0.42),
    "green": (0.20, 0.42, 0.24),
    "olive": (0.38, 0.38, 0.22),
    "yellow": (0.85, 0.68, 0.25),
    "orange": (0.82, 0.42, 0.20),
    "red": (0.68, 0.15, 0.15),
    "burgundy": (0.38, 0.10, 0.16),
    "pink": (0.86, 0.60, 0.64),
    "purple": (0.40, 0.26, 0.50),
    "cream": (0.88, 0.80, 0.67),
}


@dataclass(frozen=True)
class Clothes:
    """What is worn above the bust's lower edge."""

    garment: Garment = "tshirt"
    pattern: Pattern = "plain"
    colour: str = "white"  # what a caption calls it
    rgb: Rgb = (0.85, 0.85, 0.84)  # sRGB
    second_rgb: Rgb = (0.30, 0.30, 0.32)  # the other colour of a pattern, sRGB
    scale: float = 1.0  # of the pattern

    def __post_init__(self) -> None:
        choices(self)
        within(self, 0.0, 1.0, "rgb", "second_rgb")
        within(self, 0.4, 2.5, "scale")


def sample_clothes(seed: int, identity: Identity) -> Clothes:
    """A garment, its pattern and two colours."""
    rng = generator(seed, "clothes")
    garments: dict[Garment, float] = {
        "tshirt": 0.34, "vneck": 0.18, "sweater": 0.20, "turtleneck": 0.18,
    }  # fmt: skip
    garment: Garment = pick(rng, garments)
    pattern: Pattern = pick(rng, {"plain": 0.62, "striped": 0.22, "checked": 0.16})
    names = list(CLOTH_COLOURS)
    first, second = (names[int(k)] for k in rng.choice(len(names), size=2, replace=False))
    if rng.random() < 0.4:
        second = "white" if first != "white" else "navy"
    return Clothes(
        garment=garment,
        pattern=pattern,
        colour=first,
        rgb=CLOTH_COLOURS[first],
        second_rgb=CLOTH_COLOURS[second],
        scale=round(float(rng.uniform(0.7, 1.6)), 4),
    )
