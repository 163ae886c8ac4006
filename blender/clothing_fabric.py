"""Cloth shaders.

They read the point attributes `weave` and `weave_arm` (cm on the cloth) and `trim` (cm from the
neckline, past the sleeve's seam, from the shoulder's seam).
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

PATTERNS = ("plain", "striped", "checked")


@dataclass(frozen=True)
class Fabric:
    """What a garment is made of."""

    colour: tuple[float, float, float]  # linear RGB
    second: tuple[float, float, float]  # linear RGB of stripes and checks
    pattern: str  # one of PATTERNS
    repeat: float  # cm, one stripe and its gap
    collar: float  # cm, height of the ribbed band
    knit: float  # cm between ribs; 0 for a smooth weave


class _Graph:
    """A few words to write shader nodes with."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def node(self, kind: str, **fields: object) -> bpy.types.Node:
        made = self.tree.nodes.new(kind)
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def put(self, value: object, socket: bpy.types.NodeSocket) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def math(self, operation: str, *values: object) -> bpy.types.NodeSocket:
        made = self.node("ShaderNodeMath", operation=operation)
        for k, value in enumerate(values):
            self.put(value, made.inputs[k])
        return made.outputs[0]

    def ramp(self, value: object, low: float, high: float) -> bpy.types.NodeSocket:
        """0 below low, 1 above high, smooth between."""
        made = self.node("ShaderNodeMapRange", interpolation_type="SMOOTHSTEP")
        self.put(value, made.inputs["Value"])
        made.inputs["From Min"].default_value = low
        made.inputs["From Max"].default_value = high
        return made.outputs[0]

    def mix(self, factor: object, a: object, b: object) -> bpy.types.NodeSocket:
        made = self.node("ShaderNodeMix", data_type="RGBA")
        for value, socket in ((factor, made.inputs[0]), (a, made.inputs[6]), (b, made.inputs[7])):
            self.put(value, socket)
        return made.outputs[2]

    def wave(self, value: object, period: float) -> bpy.types.NodeSocket:
        """A triangle wave in [0, 1]."""
        folded = self.math("PINGPONG", value, period / 2)
        return self.math("DIVIDE", folded, period / 2)


def _pattern(graph: _Graph, fabric: Fabric, across: object, down: object) -> object:
    first, second = (*fabric.colour, 1.0), (*fabric.second, 1.0)
    if fabric.pattern == "plain":
        return first
    edge = 0.03
    rows = graph.ramp(graph.wave(down, fabric.repeat), 0.5 - edge, 0.5 + edge)
    if fabric.pattern == "striped":
        return graph.mix(rows, first, second)
    columns = graph.ramp(graph.wave(across, fabric.repeat), 0.5 - edge, 0.5 + edge)
    half = graph.math("MULTIPLY", graph.math("ADD", rows, columns), 0.5)
    return graph.mix(half, second, first)


def fabric_material(fabric: Fabric) -> bpy.types.Material:
    """A cloth material: pattern, ribbed collar, seams, weave and soft folds as bumps."""
    material = bpy.data.materials.new("fabric")
    material.use_nodes = True
    graph = _Graph(material.node_tree)
    surface = material.node_tree.nodes["Principled BSDF"]
    torso = graph.node("ShaderNodeAttribute", attribute_name="weave").outputs["Vector"]
    arm = graph.node("ShaderNodeAttribute", attribute_name="weave_arm").outputs["Vector"]
    trim = graph.node("ShaderNodeAttribute", attribute_name="trim").outputs["Vector"]
    edge = graph.node("ShaderNodeSeparateXYZ")
    graph.put(trim, edge.inputs[0])
    neck, past, ridge = edge.outputs
    on_arm = graph.math("GREATER_THAN", past, 0.0)
    chosen = graph.node("ShaderNodeMix", data_type="VECTOR")
    for value, socket in ((on_arm, 0), (torso, 4), (arm, 5)):
        graph.put(value, chosen.inputs[socket])
    weave = chosen.outputs[1]
    split = graph.node("ShaderNodeSeparateXYZ")
    graph.put(weave, split.inputs[0])
    shoulder = graph.math("ADD", ridge, graph.math("MULTIPLY", on_arm, 9.0))
    seam = graph.math("MINIMUM", graph.math("ABSOLUTE", past), shoulder)

    body = graph.ramp(neck, fabric.collar - 0.06, fabric.collar + 0.06)
    plain = (*(0.92 * c for c in fabric.colour), 1.0)
    colour = graph.mix(body, plain, _pattern(graph, fabric, split.outputs[0], split.outputs[1]))
    collar_line = graph.math("ABSOLUTE", graph.math("SUBTRACT", neck, fabric.collar))
    stitch = graph.math("MINIMUM", seam, collar_line)
    flat = graph.ramp(stitch, 0.02, 0.16)  # 0 in the groove of a seam
    shade = graph.math("MULTIPLY_ADD", flat, 0.22, 0.78)
    # A worn cloth is never one even colour.
    blotch = graph.node("ShaderNodeTexNoise")
    graph.put(weave, blotch.inputs["Vector"])
    blotch.inputs["Scale"].default_value = 0.35
    shade = graph.math("MULTIPLY", shade, graph.math("MULTIPLY_ADD", blotch.outputs[0], 0.12, 0.94))
    toned = graph.node("ShaderNodeMix", data_type="RGBA", blend_type="MULTIPLY")
    toned.inputs[0].default_value = 1.0
    graph.put(colour, toned.inputs[6])
    graph.put(shade, toned.inputs[7])
    graph.put(toned.outputs[2], surface.inputs["Base Color"])
    surface.inputs["Roughness"].default_value = 0.85
    surface.inputs["Specular IOR Level"].default_value = 0.2
    surface.inputs["Sheen Weight"].default_value = 0.12
    surface.inputs["Sheen Roughness"].default_value = 0.5

    height = _height(graph, fabric, weave, split, body, flat)
    bump = graph.node("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.6
    bump.inputs["Distance"].default_value = 0.004
    graph.put(height, bump.inputs["Height"])
    graph.put(bump.outputs[0], surface.inputs["Normal"])
    return material


def _height(
    graph: _Graph,
    fabric: Fabric,
    weave: bpy.types.NodeSocket,
    split: bpy.types.Node,
    body: bpy.types.NodeSocket,
    flat: bpy.types.NodeSocket,
) -> bpy.types.NodeSocket:
    """The cloth's relief, about [0, 1]: folds, weave or ribs, sunken seams."""
    folds = graph.node("ShaderNodeTexNoise")
    graph.put(weave, folds.inputs["Vector"])
    folds.inputs["Scale"].default_value = 0.16
    folds.inputs["Detail"].default_value = 1.0
    folds.inputs["Distortion"].default_value = 0.8
    grain = graph.node("ShaderNodeTexNoise")
    graph.put(weave, grain.inputs["Vector"])
    grain.inputs["Scale"].default_value = 4.0
    height = graph.math("MULTIPLY_ADD", grain.outputs[0], 0.06, graph.math(
        "MULTIPLY", folds.outputs[0], 1.6))  # fmt: skip
    period = fabric.knit or 0.45
    ribs = graph.math("MULTIPLY", graph.wave(split.outputs[2], period), 0.16)
    where = graph.math("SUBTRACT", 1.0, body) if fabric.knit == 0 else 1.0
    height = graph.math("ADD", height, graph.math("MULTIPLY", ribs, where))
    return graph.math("MULTIPLY_ADD", flat, 0.25, height)
