"""Ground truth beside the picture: depth, normals and classes, one ray through each pixel's centre.

All three come from one render in which every surface shines with numbers: red is the distance along
the view axis in metres, green and blue hold the class and the world normal in octahedral form
(Cigolle et al., "A Survey of Efficient Representations for Independent Unit Vectors", JCGT 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from blender.labels import LABELS
from blender.nodes import Graph
from rodin.conventions import BOX_HALF_SIZE_M

_STEP = 4.0  # between the codes of two classes; a normal's part lies in [0, 2]
CLEAR = "lens"  # objects so named are looked through


@dataclass(frozen=True)
class Truth:
    """What V views show, exactly."""

    depth: np.ndarray  # (V, H, W) float32, box units along camera z, 0 where nothing
    normals: np.ndarray  # (V, H, W, 3) float32, unit, avatar frame, 0 where nothing
    labels: np.ndarray  # (V, H, W) uint8, see `blender.labels`


def prepare_truth() -> None:
    """Turn the scene into one whose render `decode_truth` reads."""
    scene = bpy.context.scene
    scene.view_layers[0].material_override = _material()
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01
    for item in scene.objects:
        if item.name.startswith(CLEAR):
            item.hide_render = True


def _material() -> bpy.types.Material:
    g = Graph("truth")
    label = g.call("ShaderNodeObjectInfo").outputs["Object Index"]
    # Lips and mouth are parts of the skin; elsewhere these attributes are 0.
    skin = g.math("COMPARE", label, float(LABELS["skin"]), 0.1)
    for name, low in (("lips", 0.5), ("mouth", 0.55)):
        part = g.math("GREATER_THAN", g.attribute(name, "Fac"), low)
        part = g.math("MULTIPLY", part, skin)
        change = g.math("SUBTRACT", float(LABELS[name]), label)
        label = g.math("MULTIPLY_ADD", part, change, label)
    u, v = _octahedral(g)
    code = g.math("MULTIPLY_ADD", label, _STEP, g.math("ADD", u, 1.0))
    z = g.call("ShaderNodeCameraData").outputs["View Z Depth"]
    colour = g.call("ShaderNodeCombineColor", {0: z, 1: code, 2: v}).outputs[0]
    return g.surface(g.call("ShaderNodeEmission", {"Color": colour}).outputs[0])


def _octahedral(g: Graph) -> tuple[Any, Any]:
    """The shading normal as two numbers in [-1, 1]."""
    normal = g.call("ShaderNodeNewGeometry").outputs["Normal"]
    x, y, z = g.call("ShaderNodeSeparateXYZ", {0: normal}).outputs
    size = [g.math("ABSOLUTE", part) for part in (x, y, z)]
    total = g.math("ADD", g.math("ADD", size[0], size[1]), size[2])
    u, v = g.math("DIVIDE", x, total), g.math("DIVIDE", y, total)
    below = g.math("LESS_THAN", z, 0.0)
    out = []
    for own, other in ((u, v), (v, u)):
        sign = g.math("MULTIPLY_ADD", g.math("LESS_THAN", own, 0.0), -2.0, 1.0)
        folded = g.math("MULTIPLY", g.math("SUBTRACT", 1.0, g.math("ABSOLUTE", other)), sign)
        change = g.math("SUBTRACT", folded, own)
        out.append(g.math("MULTIPLY_ADD", below, change, own))
    return out[0], out[1]


def decode_truth(pixels: np.ndarray) -> Truth:
    """Linear RGBA (V, H, W, 4) of the prepared scene to numbers."""
    there = pixels[..., 3] > 0.5
    depth = np.where(there, pixels[..., 0] / BOX_HALF_SIZE_M, 0.0).astype(np.float32)
    code = pixels[..., 1].astype(np.float64)
    label = np.where(there, np.floor(code / _STEP + 1e-6), 0)
    u = np.clip(code - label * _STEP - 1.0, -1.0, 1.0)
    v = np.clip(pixels[..., 2].astype(np.float64), -1.0, 1.0)
    z = 1.0 - np.abs(u) - np.abs(v)
    fold = np.maximum(-z, 0.0)
    normal = np.stack([u - np.copysign(fold, u), v - np.copysign(fold, v), z], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    # Blender's axes to the avatar's: (x, z, -y).
    normal = np.stack([normal[..., 0], normal[..., 2], -normal[..., 1]], axis=-1)
    normals = np.where(there[..., None], normal, 0.0).astype(np.float32)
    return Truth(depth, normals, label.astype(np.uint8))
