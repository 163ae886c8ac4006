"""Everything grown on or put on a body: clothes, hair, brows, lashes, beard, accessories."""

from __future__ import annotations

import bpy

from blender.accessories import build_accessories
from blender.body import Shaped
from blender.clothing import dress
from blender.figure import figure_of
from blender.hair import face_hair, hair_objects, head_hair, person_collider
from blender.hat_cover import hat_cover
from blender.labels import LABELS
from blender.spec_types import AvatarSpec


def build_wear(spec: AvatarSpec, shaped: Shaped) -> list[bpy.types.Object]:
    """Objects, not yet linked to a collection, labelled by `pass_index`."""
    figure = figure_of(shaped)
    garments, cloths = dress(figure, spec.clothes)
    for cloth in cloths:
        cloth.pass_index = LABELS["clothes"]
    person = person_collider(figure, garments)
    sets = head_hair(figure, spec.hair, spec.seed, person, hat_cover(spec.accessories))
    sets += face_hair(figure, spec, person)
    return [*cloths, *hair_objects(sets), *build_accessories(spec, figure, person, garments)]
