"""Everything grown on or put on a body: clothes, scalp hair, brows, lashes, beard."""

from __future__ import annotations

import bpy

from blender.body import Shaped
from blender.clothing import dress
from blender.figure import figure_of
from blender.hair import face_hair, hair_objects, head_hair
from blender.spec_types import AvatarSpec


def build_wear(spec: AvatarSpec, shaped: Shaped) -> list[bpy.types.Object]:
    """Objects, not yet linked to a collection: the garment first, since hair lies on it."""
    figure = figure_of(shaped)
    garment, cloth = dress(figure, spec.clothes)
    sets = head_hair(figure, spec.hair, spec.seed, garment) + face_hair(figure, spec)
    return [cloth, *hair_objects(sets)]
