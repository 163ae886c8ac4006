"""Clothes as Blender objects."""

from __future__ import annotations

import bpy
import numpy as np

from blender.clothing_cuts import neckline, seams, weave
from blender.clothing_fabric import Fabric, fabric_material
from blender.clothing_mesh import FITS, GarmentMesh, make_garment
from blender.figure import Figure
from blender.spec_types import Clothes, linear

_REPEAT = {"plain": 4.0, "striped": 4.4, "checked": 3.2}  # cm
_KNIT = {"sweater": 0.75, "turtleneck": 0.5}  # cm between ribs


def garment_object(garment: GarmentMesh, clothes: Clothes) -> bpy.types.Object:
    """A garment as an object, not yet in a scene; its thickness grows inwards."""
    mesh = bpy.data.meshes.new("clothes")
    mesh.from_pydata(garment.vertices.tolist(), [], garment.triangles.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(garment.triangles), bool))
    sleeve, ridge = seams(garment.npos)
    trim = np.stack([neckline(garment.npos, clothes.garment), sleeve, ridge], axis=1)
    body, arm = weave(garment.npos)
    for name, values in (("weave", body), ("weave_arm", arm), ("trim", trim)):
        attribute = mesh.attributes.new(name, "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", values.astype(np.float32).reshape(-1))
    fabric = Fabric(
        colour=linear(clothes.rgb),
        second=linear(clothes.second_rgb),
        pattern=clothes.pattern,
        repeat=_REPEAT[clothes.pattern] * clothes.scale,
        collar=FITS[clothes.garment].collar,
        knit=_KNIT.get(clothes.garment, 0.0),
    )
    mesh.materials.append(fabric_material(fabric))
    made = bpy.data.objects.new("clothes", mesh)
    thick = made.modifiers.new("thickness", "SOLIDIFY")
    thick.thickness, thick.offset, thick.use_even_offset = garment.thickness, -1.0, False
    return made


def dress(figure: Figure, clothes: Clothes) -> tuple[list[GarmentMesh], list[bpy.types.Object]]:
    """The layers that `clothes` names on `figure`, inner first, as meshes and as objects."""
    garment = make_garment(
        figure.vertices, figure.tights, figure.npos, clothes.garment, figure.torso
    )
    return [garment], [garment_object(garment, clothes)]
