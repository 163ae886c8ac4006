"""Glasses, headwear, jewellery and headphones as Blender objects."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from blender.accessory_glasses import build_glasses
from blender.accessory_hats import HATS, build_hat
from blender.accessory_head import head_of
from blender.accessory_hijab import build_hijab
from blender.accessory_jewellery import build_earrings, build_necklace, build_piercing
from blender.accessory_wraps import WRAPS, build_headphones, build_wrap
from blender.clothing_mesh import GarmentMesh
from blender.figure import Figure
from blender.hair_collide import Collider
from blender.spec_types import AvatarSpec
from blender.streams import generator


def build_accessories(
    spec: AvatarSpec, figure: Figure, person: Collider, garments: Sequence[GarmentMesh]
) -> list[bpy.types.Object]:
    """Objects, not yet in a scene, each with its label in `pass_index`.

    `person` is the collider of skin and clothes, `garments` are the clothes, inner first.
    """
    worn = spec.accessories
    out: list[bpy.types.Object] = []
    slots = (worn.glasses, worn.headwear, worn.earrings, worn.necklace, worn.piercing)
    if all(slot == "none" for slot in slots):
        return out
    head = head_of(figure)
    if worn.glasses != "none":
        out += build_glasses(worn, head)
    if worn.headwear in HATS:
        out += build_hat(worn, head)
    elif worn.headwear in WRAPS:
        out += build_wrap(worn, head)
    elif worn.headwear == "hijab":
        side = -1.0 if generator(spec.seed, "hijab").random() < 0.5 else 1.0
        out += build_hijab(worn, head, person, side)
    elif worn.headwear == "headphones":
        out += build_headphones(worn, head)
    if worn.earrings != "none":
        out += build_earrings(worn, head)
    if worn.piercing != "none":
        out += build_piercing(worn, head)
    if worn.necklace != "none":
        out += build_necklace(worn, head, person, figure.torso, garments)
    return out
