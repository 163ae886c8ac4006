"""Glasses, headwear, jewellery and headphones as Blender objects."""

from __future__ import annotations

import bpy

from blender.figure import Figure
from blender.hair_collide import Collider
from blender.spec_types import AvatarSpec


def build_accessories(spec: AvatarSpec, figure: Figure, person: Collider) -> list[bpy.types.Object]:
    """Objects, not yet in a scene, each with its label in `pass_index`.

    `person` is the collider of skin and clothes.
    """
    return []
