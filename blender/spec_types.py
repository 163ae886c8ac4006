"""What an avatar is: plain, validated, JSON-able data. Nothing here draws or needs Blender.

Colours are sRGB triples in [0, 1]; `linear` turns them into what shaders want.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

Rgb = tuple[float, float, float]
Weights = tuple[tuple[str, float], ...]

HairStyle = Literal[
    "bald", "buzz", "short", "slick", "long", "wavy", "fringe", "bob", "curly", "afro", "bun",
    "ponytail",
]  # fmt: skip
BeardStyle = Literal["none", "stubble", "full"]
Garment = Literal["tshirt", "vneck", "sweater", "turtleneck"]
Pattern = Literal["plain", "striped", "checked"]


def linear(rgb: Rgb) -> Rgb:
    """An sRGB colour as linear light."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return r, g, b


def _within(owner: object, low: float, high: float, *names: str) -> None:
    """ValueError unless the named numbers (or triples) of `owner` are finite and in [low, high]."""
    for name in names:
        value = getattr(owner, name)
        for part in value if isinstance(value, tuple) else (value,):
            if not (math.isfinite(part) and low <= part <= high):
                raise ValueError(
                    f"{type(owner).__name__}.{name} is {value}; it must be within {low} to {high}"
                )


def _choices(owner: object) -> None:
    """ValueError unless every Literal field of `owner` holds one of its values."""
    for name, hint in typing.get_type_hints(type(owner)).items():
        if typing.get_origin(hint) is Literal and getattr(owner, name) not in typing.get_args(hint):
            raise ValueError(
                f"{type(owner).__name__}.{name} is {getattr(owner, name)!r}; "
                f"use one of {', '.join(typing.get_args(hint))}"
            )


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
        _within(self, 0.0, 1.0, "gender", "african", "asian", "caucasian", "muscle", "weight")
        _within(self, 1 / 3, 1.0, "age")
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
        _within(self, 0.0, 1.0, "rgb", "lip_rgb", "redness", "freckles", "makeup", "roughness")
        _within(self, 0.0, 1.0, "age_spots")
        _within(self, 0.0, 7.0, "tone")


@dataclass(frozen=True)
class Eyes:
    """Irises and where they look."""

    colour: str = "brown"  # what a caption calls it
    rgb: Rgb = (0.30, 0.17, 0.09)  # iris, sRGB
    pupil: float = 0.36  # radius of the pupil as a share of the iris
    yaw: float = 0.0  # degrees, positive looks to +x (the viewer's right)
    pitch: float = 0.0  # degrees, positive looks up

    def __post_init__(self) -> None:
        _within(self, 0.0, 1.0, "rgb")
        _within(self, 0.15, 0.7, "pupil")
        _within(self, -25.0, 25.0, "yaw", "pitch")


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
        _choices(self)
        _within(self, 0.0, 1.0, "rgb", "grey", "roughness")
        _within(self, 0.4, 1.6, "length")
        _within(self, 0.0, 4.0, "recede")


@dataclass(frozen=True)
class Brows:
    """Eyebrows."""

    rgb: Rgb = (0.16, 0.11, 0.08)  # sRGB
    thickness: float = 1.0  # scale of the band
    density: float = 1.0  # 0 .. 1.5

    def __post_init__(self) -> None:
        _within(self, 0.0, 1.0, "rgb")
        _within(self, 0.4, 1.8, "thickness")
        _within(self, 0.0, 1.5, "density")


@dataclass(frozen=True)
class Beard:
    """Beard and moustache."""

    style: BeardStyle = "none"
    rgb: Rgb = (0.16, 0.11, 0.08)  # sRGB
    grey: float = 0.0  # share of grey strands, 0 .. 1
    length: float = 1.0  # scale of the style's own lengths

    def __post_init__(self) -> None:
        _choices(self)
        _within(self, 0.0, 1.0, "rgb", "grey")
        _within(self, 0.4, 1.6, "length")


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
        _choices(self)
        _within(self, 0.0, 1.0, "rgb", "second_rgb")
        _within(self, 0.4, 2.5, "scale")


@dataclass(frozen=True)
class Pose:
    """How the head is held, degrees; the eyes' midpoint stays where it is."""

    yaw: float = 0.0  # positive turns to +x (the viewer's right)
    pitch: float = 0.0  # positive looks up
    roll: float = 0.0  # positive leans the crown to +x
    arms: float = 28.0  # how far the arms are lowered

    def __post_init__(self) -> None:
        _within(self, -20.0, 20.0, "yaw", "pitch", "roll")
        _within(self, 0.0, 45.0, "arms")


@dataclass(frozen=True)
class AvatarSpec:
    """One avatar. `seed` also feeds the streams that place strands and freckles."""

    seed: int = 0
    identity: Identity = field(default_factory=Identity)
    expression: Expression = field(default_factory=Expression)
    skin: Skin = field(default_factory=Skin)
    eyes: Eyes = field(default_factory=Eyes)
    hair: Hair = field(default_factory=Hair)
    brows: Brows = field(default_factory=Brows)
    beard: Beard = field(default_factory=Beard)
    clothes: Clothes = field(default_factory=Clothes)
    pose: Pose = field(default_factory=Pose)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; seeds start at 0")

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts, lists, numbers and strings, ready for JSON."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AvatarSpec:
        """The inverse of `to_dict`; missing fields take their defaults.

        Raises ValueError for unknown keys, wrong types and values out of range.
        """
        return _build(cls, data, "spec")

    def attributes(self) -> dict[str, str | int | float | bool]:
        """Flat facts about the avatar, for a table."""
        from blender.spec_text import attributes

        return attributes(self)

    def caption(self) -> str:
        """One English sentence about the avatar."""
        from blender.spec_text import caption

        return caption(self)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind` (dataclass, tuple, Literal, str, int or float), checked."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {value!r}; it must be an object with named fields")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(
                f"{where} has no field {unknown[0]!r}; use {', '.join(hints)}, or drop it"
            )
        parts = {k: _build(hints[k], v, f"{where}.{k}") for k, v in value.items()}
        return typing.cast(type, kind)(**parts)
    if origin is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} is {value!r}; it must be a list")
        if inner[-1] is Ellipsis:
            return tuple(_build(inner[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(inner):
            raise ValueError(f"{where} has {len(value)} items; it must have {len(inner)}")
        return tuple(_build(t, v, where) for t, v in zip(inner, value, strict=True))
    if origin is Literal or kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{where} is {value!r}; it must be a string")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where} is {value!r}; it must be a number")
    if kind is int and int(value) != value:
        raise ValueError(f"{where} is {value!r}; it must be a whole number")
    return kind(value)
