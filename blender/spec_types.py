"""What an avatar is: plain, validated, JSON-able data. Nothing here draws or needs Blender."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from blender.spec_accessories import Accessories
from blender.spec_base import Rgb, Weights, build, linear, plain
from blender.spec_clothes import Clothes, Garment, Pattern
from blender.spec_face import Expression, Eyes, Identity, Pose, Skin
from blender.spec_hair import Beard, BeardStyle, Brows, Hair, HairStyle

__all__ = [
    "Accessories", "AvatarSpec", "Beard", "BeardStyle", "Brows", "Clothes", "Expression", "Eyes",
    "Garment", "Hair", "HairStyle", "Identity", "Pattern", "Pose", "Rgb", "Skin", "Weights",
    "linear",
]  # fmt: skip


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
    accessories: Accessories = field(default_factory=Accessories)
    pose: Pose = field(default_factory=Pose)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; seeds start at 0")

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts, lists, numbers and strings, ready for JSON."""
        return plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AvatarSpec:
        """The inverse of `to_dict`; missing fields take their defaults.

        Raises ValueError for unknown keys, wrong types and values out of range.
        """
        return build(cls, data, "spec")

    def attributes(self) -> dict[str, str | int | float | bool]:
        """Flat facts about the avatar, for a table."""
        from blender.spec_text import attributes

        return attributes(self)

    def caption(self) -> str:
        """One English sentence about the avatar."""
        from blender.spec_text import caption

        return caption(self)

    def captions(self) -> list[str]:
        """`caption` and five paraphrases of it, the last two partial; always the same ones."""
        from blender.spec_text import captions

        return captions(self)
