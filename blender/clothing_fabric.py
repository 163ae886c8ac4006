"""Cloth shaders.

They read the point attributes of `clothing_panels.weave` (cm on the cloth, a set for each panel),
`hollow`, how deep in a fold a point lies, and `trim`: cm from the neckline, past the sleeve's
seam, in front of the shoulder's seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from blender.clothing_patterns import Cloth, bars, patterned, ramp, wave
from blender.nodes import Graph
from blender.spec_base import Rgb

RELIEFS = ("jersey", "rib", "knit", "twill", "wool")


@dataclass(frozen=True)
class Fabric:
    """What a garment is made of."""

    colour: Rgb  # linear
    second: Rgb  # linear, the other colour of a pattern
    pattern: str = "plain"  # a key of clothing_patterns.REPEATS
    repeat: float = 4.0  # cm, one repeat of the pattern
    band: float = 0.0  # cm, height of the ribbed band at the neckline
    relief: str = "jersey"  # one of RELIEFS
    stitched: bool = False  # seams sewn twice with bright thread, as on denim


def fabric_material(fabric: Fabric) -> bpy.types.Material:
    """A cloth material: pattern, ribbed collar, seams, weave or knit as bumps."""
    graph = Graph("fabric")
    neck, past, ridge = graph.call("ShaderNodeSeparateXYZ", {0: graph.attribute("trim")}).outputs
    on_arm = graph.math("GREATER_THAN", past, 0.0)
    behind = graph.math("LESS_THAN", ridge, 0.0)
    body = _choose(graph, behind, graph.attribute("weave"), graph.attribute("weave_back"))
    weave = _choose(graph, on_arm, body, graph.attribute("weave_arm"))
    across, down, ring = graph.call("ShaderNodeSeparateXYZ", {0: weave}).outputs
    shoulder = graph.math("MULTIPLY_ADD", on_arm, 9.0, graph.math("ABSOLUTE", ridge))
    seam = graph.math("MINIMUM", graph.math("ABSOLUTE", past), shoulder)
    banded = ramp(graph, neck, fabric.band + 0.06, fabric.band - 0.06) if fabric.band else 0.0
    if fabric.band:
        line = graph.math("ABSOLUTE", graph.math("SUBTRACT", neck, fabric.band))
        seam = graph.math("MINIMUM", seam, line)
    flat = ramp(graph, seam, 0.02, 0.20)  # 0 in the groove of a seam

    colours = (fabric.colour, fabric.second)
    colour = patterned(graph, fabric.pattern, Cloth(across, down, on_arm), fabric.repeat, colours)
    if fabric.band and fabric.pattern != "plain":
        colour = graph.mix(banded, colour, (*(0.92 * c for c in fabric.colour), 1.0))
    if fabric.stitched:
        colour = graph.mix(_stitches(graph, seam), colour, (0.55, 0.33, 0.12, 1.0))
    # A worn cloth is never one even colour.
    shade = graph.math("MULTIPLY_ADD", flat, 0.30, 0.70)
    blotch = graph.noise(weave, 0.35)
    shade = graph.math("MULTIPLY", shade, graph.remap(blotch, 0.3, 0.7, 0.93, 1.06))
    hollow = graph.attribute("hollow", "Fac")
    shade = graph.math("MULTIPLY", shade, graph.remap(hollow, -0.8, 1.0, 1.06, 0.68))
    height, tone = _relief(graph, fabric.relief, (weave, across, down))
    ribs = wave(graph, ring, 0.5)
    if fabric.band:
        height = _mix(graph, banded, height, graph.math("MULTIPLY", ribs, 0.22))
        tone = _mix(graph, banded, tone, graph.math("MULTIPLY_ADD", ribs, 0.16, 0.86))
    shade = graph.math("MULTIPLY", shade, tone)
    colour = graph.mix(1.0, colour, shade, "MULTIPLY")
    height = graph.math("MULTIPLY_ADD", flat, 0.28, height)
    bump = graph.call("ShaderNodeBump", {"Strength": 0.7, "Distance": 0.004, "Height": height})
    shader = graph.call(
        "ShaderNodeBsdfPrincipled",
        {
            "Base Color": colour,
            "Roughness": 0.85,
            "Specular IOR Level": 0.2,
            "Sheen Weight": 0.12,
            "Sheen Roughness": 0.5,
            "Normal": bump.outputs[0],
        },
    )
    return graph.surface(shader.outputs[0])


def _choose(graph: Graph, weight: Any, a: Any, b: Any) -> Any:
    node = graph.call("ShaderNodeMix", {0: weight, 4: a, 5: b}, data_type="VECTOR")
    return node.outputs[1]


def _mix(graph: Graph, weight: Any, a: Any, b: Any) -> Any:
    return graph.call("ShaderNodeMix", {0: weight, 2: a, 3: b}, data_type="FLOAT").outputs[0]


def _stitches(graph: Graph, seam: Any) -> Any:
    """1 on a line of thread on both sides of a seam, by the distance from it in cm."""
    line = graph.math("ABSOLUTE", graph.math("SUBTRACT", seam, 0.40))
    return graph.math("MULTIPLY", ramp(graph, line, 0.09, 0.05), 0.8)


def _relief(graph: Graph, kind: str, cloth: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """Height of the cloth's structure, about [0, 0.4] (4 mm a unit), and its shade about 1.

    cloth is (weave, across, down) in cm. Structure that is meant to be seen at 256 pixels repeats
    every 6 mm or more; finer cloth only breaks up the light.
    """
    weave, across, down = cloth
    if kind == "rib":
        ribs = wave(graph, across, 0.85)
        return graph.math("MULTIPLY", ribs, 0.34), graph.math("MULTIPLY_ADD", ribs, 0.22, 0.84)
    if kind == "knit":
        column = wave(graph, across, 0.9)
        stitch = wave(graph, graph.math("MULTIPLY_ADD", column, 0.42, down), 0.62)
        height = graph.math("MULTIPLY_ADD", stitch, 0.16, graph.math("MULTIPLY", column, 0.22))
        return height, graph.math("MULTIPLY_ADD", height, 0.55, 0.86)
    if kind == "twill":
        slant = graph.math("MULTIPLY_ADD", down, 0.8, across)
        lines = bars(graph, slant, 0.42)
        worn = graph.noise(weave, 0.9, 4.0)
        tone = graph.math("MULTIPLY_ADD", lines, 0.10, graph.remap(worn, 0.3, 0.7, 0.86, 1.08))
        return graph.math("MULTIPLY", lines, 0.07), tone
    grain = graph.noise(weave, 4.0 if kind == "jersey" else 7.0)
    return graph.math("MULTIPLY", grain, 0.12), graph.remap(grain, 0.3, 0.7, 0.96, 1.04)
