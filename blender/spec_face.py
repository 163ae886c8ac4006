"""Face, skin, eyes, expression and pose of a spec: plain, validated data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from blender.spec_base import Rgb, Weights, within


@dataclass(frozen=True)
class Identity:
    """The shape of head and shoulders."""

    gender: float = 0.5  # 0 male .. 1 female
    age: float = 0.66  # 1/3 child (11 years), 2/3 young (25), 1 old (85)
    african: float = 1 / 3  # ancestry shares, taken relative to their sum
    asian: float = 1 / 3
    caucasian: float = 1 / 3
    muscle: float = 0.5  # 0 .. 1
    weight: float = 0.5  # 0 thin .. 1 heavy
    targets: Weights = ()  # (name of a target's positive end, signed weight), see blender.targets

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "gender", "african", "asian", "caucasian", "muscle", "weight")
        within(self, 1 / 3, 1.0, "age")
        if self.african + self.asian + self.caucasian <= 0:
            raise ValueError("Identity has no ancestry; make african, asian or caucasian positive")
        for name, weight in self.targets:
            if not (math.isfinite(weight) and abs(weight) <= 1):
                raise ValueError(f"Identity.targets {name} is {weight}; it must be within -1 to 1")


@dataclass(frozen=True)
class Expression:
    """Facial action units by name (the 52 ARKit-like ones), weights 0 .. 1."""

    name: str = "neutral"  # what a caption calls it
    actions: Weights = ()

    def __post_init__(self) -> None:
        for name, weight in self.actions:
            if not (math.isfinite(weight) and 0 <= weight <= 1):
                raise ValueError(f"Expression.actions {name} is {weight}; it must be in 0 to 1")


@dataclass(frozen=True)
class Skin:
    """Skin colour and condition."""

    rgb: Rgb = (0.80, 0.60, 0.50)  # base colour, sRGB
    tone: float = 3.0  # 0 lightest .. 7 darkest, what `rgb` was mixed from
    lip_rgb: Rgb = (0.70, 0.38, 0.36)  # lips, sRGB
    redness: float = 0.4  # 0 .. 1 on cheeks, nose and ears
    freckles: float = 0.0  # 0 .. 1
    makeup: float = 0.0  # 0 .. 1 eye shadow and lip colour
    roughness: float = 0.5  # 0 .. 1
    age_spots: float = 0.0  # 0 .. 1

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "rgb", "lip_rgb", "redness", "freckles", "makeup", "roughness")
        within(self, 0.0, 1.0, "age_spots")
        within(self, 0.0, 7.0, "tone")


@dataclass(frozen=True)
class Eyes:
    """Irises and where they look."""

    colour: str = "brown"  # what a caption calls it
    rgb: Rgb = (0.30, 0.17, 0.09)  # iris, sRGB
    pupil: float = 0.36  # radius of the pupil as a share of the iris
    yaw: float = 0.0  # degrees, positive looks to +x (the viewer's right)
    pitch: float = 0.0  # degrees, positive looks up

    def __post_init__(self) -> None:
        within(self, 0.0, 1.0, "rgb")
        within(self, 0.15, 0.7, "pupil")
        within(self, -25.0, 25.0, "yaw", "pitch")


@dataclass(frozen=True)
class Pose:
    """How the head is held, degrees; the eyes' midpoint stays where it is."""

    yaw: float = 0.0  # positive turns to +x (the viewer's right)
    pitch: float = 0.0  # positive looks up
    roll: float = 0.0  # positive leans the crown to +x
    arms: float = 28.0  # how far the arms are lowered

    def __post_init__(self) -> None:
        within(self, -20.0, 20.0, "yaw", "pitch", "roll")
        within(self, 0.0, 45.0, "arms")
