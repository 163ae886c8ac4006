"""Shaders of metal, plastic, glass and stones."""

from __future__ import annotations

import bpy

from blender.nodes import Graph
from blender.spec_types import Rgb, linear

# The way to the lamps that glass in front of a face can mirror, and their brightness in it.
_LAMPS = (((-0.52, -0.67, 0.53), 7.0), ((0.74, -0.66, 0.14), 3.0))


def metal(rgb: Rgb, roughness: float = 0.22) -> bpy.types.Material:
    """Polished metal."""
    g = Graph("metal")
    inputs = {"Base Color": (*linear(rgb), 1.0), "Metallic": 1.0, "Roughness": roughness}
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])


def acetate(rgb: Rgb, mottled: bool = False) -> bpy.types.Material:
    """Polished plastic; mottled with dark patches it is tortoiseshell."""
    g = Graph("acetate")
    colour = (*linear(rgb), 1.0)
    if mottled:
        spots = g.remap(g.noise(g.attribute("head"), 1.5, 1.0), 0.42, 0.60, 0.0, 1.0)
        colour = g.mix(spots, colour, (0.012, 0.006, 0.004, 1.0))
    inputs = {
        "Base Color": colour, "Roughness": 0.28, "Coat Weight": 0.5, "Coat Roughness": 0.08,
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])


def pearl() -> bpy.types.Material:
    """Mother of pearl: white, with a soft lustre."""
    g = Graph("pearl")
    inputs = {
        "Base Color": (0.86, 0.80, 0.74, 1.0), "Roughness": 0.22, "Coat Weight": 0.8,
        "Coat Roughness": 0.06, "Sheen Weight": 0.2,
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])


def gem(rgb: Rgb) -> bpy.types.Material:
    """A cut stone, opaque: it shines by its polish alone."""
    g = Graph("gem")
    inputs = {
        "Base Color": (*linear(rgb), 1.0), "Roughness": 0.06, "Metallic": 0.35,
        "Coat Weight": 1.0, "Coat Roughness": 0.02,
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])


def lens(tint: Rgb | None) -> bpy.types.Material:
    """A sheet of glass: see-through, plus what it mirrors of sky and lamps.

    The mirror image is worked out from the direction alone and added as light, so that a lens
    makes no noise: neither in colour nor, before the background, in alpha. `tint` (sRGB) is the
    colour light takes on its way through; None for clear glass. Tinted lenses are lighter at the
    bottom, by the attribute `fade` (0 top .. 1 bottom).
    """
    g = Graph("lens")
    clear = (0.97, 0.98, 0.98, 1.0)
    if tint is not None:
        light = tuple(min(1.0, 2.5 * c + 0.03) for c in linear(tint))
        clear = g.mix(g.attribute("fade", "Fac"), (*linear(tint), 1.0), (*light, 1.0))
    through = g.call("ShaderNodeBsdfTransparent", {"Color": clear}).outputs[0]
    mirrored = g.call("ShaderNodeTexCoord").outputs["Reflection"]
    height = g.call("ShaderNodeSeparateXYZ", {0: mirrored}).outputs["Z"]
    seen = g.remap(height, -0.6, 1.0, 0.25, 0.62)
    for place, strength in _LAMPS:
        towards = {0: mirrored, 1: place}
        near = g.call("ShaderNodeVectorMath", towards, operation="DOT_PRODUCT").outputs["Value"]
        seen = g.math("ADD", seen, g.remap(near, 0.955, 0.985, 0.0, strength))
    facing = g.call("ShaderNodeLayerWeight", {"Blend": 0.5}).outputs["Facing"]
    share = g.math("MULTIPLY_ADD", g.math("POWER", facing, 3.0), 0.45, 0.022)
    image = g.call("ShaderNodeEmission", {"Strength": g.math("MULTIPLY", seen, share)}).outputs[0]
    material = g.surface(g.call("ShaderNodeAddShader", {0: through, 1: image}).outputs[0])
    material.cycles.emission_sampling = "NONE"  # it lights nothing
    return material
