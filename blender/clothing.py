"""Clothes as Blender objects."""

from __future__ import annotations

import bpy
import numpy as np

from blender.clothing_cuts import neckline
from blender.clothing_fabric import Fabric, fabric_material
from blender.clothing_mesh import FITS, LAYERS, GarmentMesh, Layer, make_layers
from blender.clothing_panels import seams, weave
from blender.clothing_parts import Part
from blender.clothing_patterns import REPEATS
from blender.clothing_wardrobe import PARTS, RELIEF
from blender.figure import Figure
from blender.meshes import make_object
from blender.skin import plain_material
from blender.spec_base import Rgb
from blender.spec_types import Clothes, linear
from blender.streams import generator

_SEWN = (50.0, -50.0, 50.0)  # the `trim` of pieces sewn on: far from every seam
# sRGB and roughness
_HARD: dict[str, tuple[Rgb, float]] = {
    "horn": ((0.80, 0.77, 0.70), 0.35),
    "metal": ((0.52, 0.50, 0.47), 0.30),
    "dark": ((0.10, 0.10, 0.11), 0.85),
}


def colours(clothes: Clothes) -> list[Rgb]:
    """The sRGB colour of each layer, inner first."""
    return [clothes.inner_rgb, clothes.rgb][-len(LAYERS[clothes.garment]) :]


def hem_colours(npos: np.ndarray, clothes: Clothes) -> np.ndarray:
    """What covers the skin at template points (N, 3) cm: (N, 4) linear RGB, 1 where cloth is."""
    out = np.zeros((len(npos), 4))
    for name, rgb in zip(LAYERS[clothes.garment], colours(clothes), strict=True):
        out[neckline(npos, name) > 0.0] = (*linear(rgb), 1.0)
    return out


def layer_fabric(clothes: Clothes, index: int) -> Fabric:
    """The cloth of layer `index` (0 the inner one)."""
    names = LAYERS[clothes.garment]
    patterned = index == (len(names) - 1 if clothes.layer == "outer" else 0)
    pattern = clothes.pattern if patterned else "plain"
    return Fabric(
        colour=linear(colours(clothes)[index]),
        second=linear(clothes.second_rgb),
        pattern=pattern,
        repeat=REPEATS[pattern] * clothes.scale,
        band=FITS[names[index]].band,
        relief=RELIEF.get(names[index], "jersey"),
        stitched=names[index] == "denim_jacket",
    )


def dress(figure: Figure, clothes: Clothes) -> tuple[list[GarmentMesh], list[bpy.types.Object]]:
    """The layers that `clothes` names on `figure`, inner first, as meshes and as objects.

    What is sewn to a layer and lies over it (collars, hoods, lapels) is a mesh of its own.
    """
    layers = make_layers(
        figure.vertices, figure.tights, figure.npos, clothes.garment, figure.torso, clothes.folds
    )
    meshes: list[GarmentMesh] = []
    objects: list[bpy.types.Object] = []
    for index, layer in enumerate(layers):
        fabric = layer_fabric(clothes, index)
        stuffs = {"cloth": fabric_material(fabric)}
        meshes.append(layer.mesh)
        objects.append(shell_object(layer, stuffs["cloth"]))
        rng = generator(clothes.folds, f"clothes.parts.{index}")
        parts = PARTS[layer.name](layer, rng) if layer.name in PARTS else []
        for part in parts:
            if not len(part.triangles):
                continue
            if part.stuff not in stuffs:
                stuffs[part.stuff] = _stuff(part.stuff, fabric, clothes)
            objects.append(part_object(part, stuffs[part.stuff]))
            if part.stuff in ("cloth", "rib"):
                npos = np.zeros_like(part.vertices)
                meshes.append(GarmentMesh(part.vertices, part.triangles, npos, part.thickness))
    return meshes, objects


def _stuff(name: str, fabric: Fabric, clothes: Clothes) -> bpy.types.Material:
    if name == "rib":
        return fabric_material(Fabric(fabric.colour, fabric.second, relief="rib"))
    if name == "cord":
        pale = tuple(0.35 * c + 0.45 for c in fabric.colour)
        return fabric_material(Fabric((pale[0], pale[1], pale[2]), fabric.second))
    if name == "tie":
        colour = linear(clothes.tie_rgb)
        bright = tuple(0.5 * c + 0.3 for c in colour)
        kind = ("plain", "striped", "dotted")[clothes.folds % 3]
        return fabric_material(
            Fabric(colour, (bright[0], bright[1], bright[2]), kind, 1.9, relief="wool")
        )
    return plain_material(name, *_HARD[name])


def shell_object(layer: Layer, material: bpy.types.Material) -> bpy.types.Object:
    """A layer as an object; its thickness grows inwards."""
    mesh = layer.mesh
    assert mesh.hollow is not None and mesh.edge is not None
    attributes = weave(mesh.npos)
    attributes["hollow"] = mesh.hollow
    attributes["trim"] = np.stack([mesh.edge, *seams(mesh.npos)], axis=1)
    return _object("clothes", mesh.vertices, mesh.triangles, attributes, material, mesh.thickness)


def part_object(part: Part, material: bpy.types.Material) -> bpy.types.Object:
    """A piece as an object."""
    trim = np.broadcast_to(_SEWN, part.vertices.shape)
    attributes = {"weave": part.weave, "trim": trim}
    return _object(f"clothes_{part.stuff}", part.vertices, part.triangles, attributes, material,
                   part.thickness)  # fmt: skip


def _object(
    name: str,
    vertices: np.ndarray,
    triangles: np.ndarray,
    attributes: dict[str, np.ndarray],
    material: bpy.types.Material,
    thickness: float,
) -> bpy.types.Object:
    made = make_object(name, vertices, triangles, attributes, material)
    if thickness > 0:
        thick = made.modifiers.new("thickness", "SOLIDIFY")
        thick.thickness, thick.offset, thick.use_even_offset = thickness, -1.0, False
    return made
