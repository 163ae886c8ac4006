"""Strand colours and the hair shader."""

from __future__ import annotations

import bpy
import numpy as np

from blender.hair_mask import ripple
from blender.hair_nodes import new_curves

_GREY = np.array([0.52, 0.51, 0.50])  # linear, a hair without pigment
_COLOUR = "strand_rgb"


def strand_colours(
    rgb: tuple[float, float, float], grey: float, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Linear colours (count, 3): `rgb` with a little life in it, a share `grey` without pigment."""
    tone = np.exp(rng.normal(0.0, 0.16, (count, 1)))
    warmth = rng.normal(0.0, 0.03, (count, 1)) * np.array([1.0, 0.0, -1.0])
    colours = np.array(rgb) * tone * (1.0 + warmth)
    white = rng.random(count) < grey
    colours[white] = _GREY * np.exp(rng.normal(-0.05, 0.12, (int(white.sum()), 1)))
    return np.clip(colours, 0.0, 0.9)


def lock_tone(roots: np.ndarray) -> np.ndarray:
    """Brightness (M, 1) about 1 shared by the strands of a lock; roots (M, 3), template cm."""
    swing = 0.20 * ripple(roots, 1.3) + 0.12 * ripple(roots[:, [2, 0, 1]], 3.1)
    return np.exp(swing)[:, None]


def hair_material(
    roughness: float, tip_rgb: tuple[float, float, float], ombre: float
) -> bpy.types.Material:
    """Principled plus a narrow strand highlight; colours come from the curves.

    Towards their ends strands take the linear `tip_rgb` by `ombre`, 0 .. 1.
    """
    material = bpy.data.materials.new("hair")
    material.use_nodes = True
    tree = material.node_tree
    surface = tree.nodes["Principled BSDF"]
    colour = tree.nodes.new("ShaderNodeAttribute")
    colour.attribute_name = _COLOUR
    # Hair is deeper at the roots, where light hardly comes.
    info = tree.nodes.new("ShaderNodeHairInfo")
    depth = tree.nodes.new("ShaderNodeMapRange")
    depth.inputs["To Min"].default_value = 0.62
    depth.inputs["From Max"].default_value = 0.45
    tree.links.new(info.outputs["Intercept"], depth.inputs["Value"])
    tinted = tree.nodes.new("ShaderNodeMix")
    tinted.data_type, tinted.blend_type = "RGBA", "MULTIPLY"
    tinted.inputs[0].default_value = 1.0
    tree.links.new(_dipped(tree, info, colour, tip_rgb, ombre), tinted.inputs[6])
    tree.links.new(depth.outputs[0], tinted.inputs[7])
    tree.links.new(tinted.outputs[2], surface.inputs["Base Color"])
    surface.inputs["Roughness"].default_value = 0.35 + 0.5 * roughness
    surface.inputs["Specular IOR Level"].default_value = 0.35

    gloss = tree.nodes.new("ShaderNodeBsdfHair")
    gloss.component = "Reflection"
    gloss.inputs["Color"].default_value = (0.8, 0.78, 0.75, 1.0)
    gloss.inputs["RoughnessU"].default_value = 0.10 + 0.35 * roughness
    gloss.inputs["RoughnessV"].default_value = 0.8
    mixed = tree.nodes.new("ShaderNodeMixShader")
    mixed.inputs[0].default_value = 0.11
    tree.links.new(surface.outputs[0], mixed.inputs[1])
    tree.links.new(gloss.outputs[0], mixed.inputs[2])
    output = next(n for n in tree.nodes if n.type == "OUTPUT_MATERIAL")
    tree.links.new(mixed.outputs[0], output.inputs["Surface"])
    return material


def _dipped(
    tree: bpy.types.NodeTree,
    info: bpy.types.Node,
    colour: bpy.types.Node,
    tip_rgb: tuple[float, float, float],
    ombre: float,
) -> bpy.types.NodeSocket:
    """The strand's colour, turning to `tip_rgb` below its middle."""
    if ombre == 0:
        return colour.outputs["Color"]
    share = tree.nodes.new("ShaderNodeMapRange")
    share.interpolation_type = "SMOOTHSTEP"
    for name, value in (("From Min", 0.38), ("From Max", 0.85), ("To Max", ombre)):
        share.inputs[name].default_value = value
    tree.links.new(info.outputs["Intercept"], share.inputs["Value"])
    mixed = tree.nodes.new("ShaderNodeMix")
    mixed.data_type = "RGBA"
    mixed.inputs[7].default_value = (*tip_rgb, 1.0)
    tree.links.new(share.outputs[0], mixed.inputs[0])
    tree.links.new(colour.outputs["Color"], mixed.inputs[6])
    return mixed.outputs[2]


def curves_object(
    name: str,
    strands: np.ndarray,
    radius: float,
    tip: float,
    colours: np.ndarray,
    material: bpy.types.Material,
) -> bpy.types.Object:
    """A curves object, not yet in a scene: strands (M, P, 3) m, colours (M, 3) linear.

    `radius` m at the root, `tip` its share left at the tip.
    """
    curves = new_curves(name, strands)
    count, points, _ = strands.shape
    taper = radius * (1.0 - (1.0 - tip) * np.linspace(0, 1, points) ** 2)
    width = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    width.data.foreach_set("value", np.tile(taper, count).astype(np.float32))
    colour = curves.attributes.new(_COLOUR, "FLOAT_COLOR", "CURVE")
    rgba = np.concatenate([colours, np.ones((count, 1))], axis=1).astype(np.float32)
    colour.data.foreach_set("color", rgba.reshape(-1))
    curves.materials.append(material)
    return bpy.data.objects.new(name, curves)
