"""Blender's bundled hair node groups (CC0 assets inside bpy), run on numpy strands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from blender.hair_styles import Style

_GROUPS = ("Interpolate Hair Curves", "Clump Hair Curves", "Curl Hair Curves", "Frizz Hair Curves")
_UV = "UVMap"
_DENSITY = "density"


@dataclass(frozen=True)
class Scalp:
    """The surface that hair grows from."""

    vertices: np.ndarray  # (N, 3) m
    faces: np.ndarray  # (F, 3) int
    uv: np.ndarray  # (N, 2) in [0, 1], one-to-one
    density: np.ndarray  # (N,) in [0, 1]
    npos: np.ndarray  # (N, 3) cm
    normals: np.ndarray  # (N, 3)


def _node_groups() -> dict[str, bpy.types.NodeTree]:
    """The node groups by name, loaded once into the current file."""
    missing = [name for name in _GROUPS if name not in bpy.data.node_groups]
    if missing:
        assets = Path(bpy.utils.resource_path("LOCAL")) / "datafiles/assets/geometry_nodes"
        path = assets / "procedural_hair_node_assets.blend"
        with bpy.data.libraries.load(str(path), link=False) as (_, into):
            into.node_groups = list(missing)
    return {name: bpy.data.node_groups[name] for name in _GROUPS}


def new_curves(name: str, strands: np.ndarray) -> bpy.types.HairCurves:
    """A curves datablock from strands (M, P, 3) in metres."""
    curves = bpy.data.hair_curves.new(name)
    count, points, _ = strands.shape
    curves.add_curves([points] * count)
    flat = np.ascontiguousarray(strands, dtype=np.float32).reshape(-1)
    curves.attributes["position"].data.foreach_set("vector", flat)
    return curves


def _scalp_object(scalp: Scalp) -> bpy.types.Object:
    mesh = bpy.data.meshes.new("scalp")
    mesh.from_pydata(scalp.vertices.tolist(), [], scalp.faces.tolist())
    corner = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corner)
    layer = mesh.uv_layers.new(name=_UV)
    layer.data.foreach_set("uv", scalp.uv[corner].astype(np.float32).reshape(-1))
    weight = mesh.attributes.new(_DENSITY, "FLOAT", "POINT")
    weight.data.foreach_set("value", scalp.density.astype(np.float32))
    return bpy.data.objects.new("scalp", mesh)


def _add(target: bpy.types.Object, group: bpy.types.NodeTree, values: dict[str, object]) -> None:
    modifier = target.modifiers.new(group.name, "NODES")
    modifier.node_group = group
    for name, value in values.items():
        socket = next(
            item.identifier
            for item in group.interface.items_tree
            if item.item_type == "SOCKET"
            and item.in_out == "INPUT"
            and item.name == name
            and not (name == "Surface" and item.socket_type != "NodeSocketObject")
        )
        if isinstance(value, str):
            modifier[f"{socket}_use_attribute"] = True
            modifier[f"{socket}_attribute_name"] = value
        else:
            modifier[socket] = value


def _stack(target: bpy.types.Object, surface: bpy.types.Object, style: Style, seed: int) -> None:
    """The modifiers: interpolate, then clump, curl and frizz where the style has them."""
    groups = _node_groups()
    size, clumping = style.clump
    _add(
        target,
        groups["Interpolate Hair Curves"],
        {
            "Surface": surface,
            "Surface UV Map": _UV,
            "Density": float(style.density) * 1.3,  # the mask averages about 0.7
            "Density Mask": _DENSITY,
            "Interpolation Guides": 4,
            "Poisson Disk Distribution": False,
            "Part by Mesh Islands": True,
            "Seed": seed,
        },
    )
    if clumping > 0 or style.curl is not None:
        values = {"Guide Distance": size, "Existing Guide Map": False, "Factor": clumping}
        _add(target, groups["Clump Hair Curves"], {**values, "Shape": 0.4, "Seed": seed + 1})
    if style.curl is not None:
        radius, turns = style.curl
        values = {"Existing Guide Map": True, "Radius": radius, "Frequency": turns}
        more = {"Curl Start": 0.08, "Subdivision": 1, "Random Offset": 0.35, "Seed": seed + 2}
        _add(target, groups["Curl Hair Curves"], {**values, **more})
    if style.frizz > 0:
        values = {"Distance": style.frizz, "Shape": 0.5, "Cumulative Offset": False}
        _add(target, groups["Frizz Hair Curves"], {**values, "Seed": seed + 3})


def grow(
    guides: np.ndarray, guide_uv: np.ndarray, scalp: Scalp, style: Style, seed: int
) -> np.ndarray:
    """All strands (M, P, 3) between guides (N, K, 3) with roots at guide_uv (N, 2) on the scalp.

    Works in the current scene and leaves nothing in it.
    """
    surface = _scalp_object(scalp)
    curves = new_curves("guides", guides)
    uv = curves.attributes.new("surface_uv_coordinate", "FLOAT2", "CURVE")
    uv.data.foreach_set("vector", guide_uv.astype(np.float32).reshape(-1))
    curves.surface, curves.surface_uv_map = surface, _UV
    target = bpy.data.objects.new("guides", curves)
    scene = bpy.context.scene.collection.objects
    scene.link(surface)
    scene.link(target)
    _stack(target, surface, style, seed)
    data = target.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    count, total = len(data.curves), len(data.points)
    flat = np.empty(total * 3, np.float32)
    data.attributes["position"].data.foreach_get("vector", flat)
    bpy.data.objects.remove(target)
    bpy.data.hair_curves.remove(curves)
    mesh = surface.data
    bpy.data.objects.remove(surface)
    bpy.data.meshes.remove(mesh)
    # Every strand comes out with as many points as the guides (times the curl's subdivision).
    return flat.reshape(count, -1, 3).astype(np.float64) if count else np.empty((0, 2, 3))
