"""Glasses, headwear, jewellery and headphones as Blender objects."""

from __future__ import annotations

import bpy

from blender.accessory_glasses import build_glasses
from blender.accessory_head import head_of
from blender.figure import Figure
from blender.hair_collide import Collider
from blender.spec_types import AvatarSpec


def build_accessories(spec: AvatarSpec, figure: Figure, person: Collider) -> list[bpy.types.Object]:
    """Objects, not yet in a scene, each with its label in `pass_index`.

    `person` is the collider of skin and clothes.
    """
    worn = spec.accessories
    out: list[bpy.types.Object] = []
    head = head_of(figure)
    if worn.glasses != "none":
        out += build_glasses(worn, head)
    return out
