"""Shaders of what hats and scarves are made of: knit, twill, felt, straw, ribbon, printed cotton.

They read the point attributes `turn` (cosine and sine of the angle round the head, cm along the
profile) and `head` (cm in the head frame).
"""

from __future__ import annotations

from typing import Any

import bpy

from blender.nodes import Graph
from blender.spec_types import Rgb, linear

_BLACK, _WHITE = (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)


def _rgba(rgb: Rgb, scale: float = 1.0) -> tuple[float, float, float, float]:
    r, g, b = (scale * c for c in linear(rgb))
    return r, g, b, 1.0


def _turn(g: Graph) -> tuple[Any, Any]:
    """The angle round the head in radians, and cm along the profile."""
    split = g.call("ShaderNodeSeparateXYZ", {0: g.attribute("turn")}).outputs
    return g.math("ARCTAN2", split[1], split[0]), split[2]


def _wave(g: Graph, value: Any, period: float) -> Any:
    """A triangle wave in [0, 1]."""
    return g.math("DIVIDE", g.math("PINGPONG", value, period / 2), period / 2)


def _cloth(
    g: Graph, colour: Any, height: Any, relief: float, roughness: float = 0.85, sheen: float = 0.15
) -> bpy.types.Material:
    """A matt surface with `height` (about 0 to 1) as relief, `relief` m deep."""
    bump = g.call("ShaderNodeBump", {"Strength": 0.8, "Distance": relief, "Height": height})
    inputs = {
        "Base Color": colour, "Roughness": roughness, "Specular IOR Level": 0.2,
        "Sheen Weight": sheen, "Sheen Roughness": 0.5, "Normal": bump.outputs[0],
    }  # fmt: skip
    return g.surface(g.call("ShaderNodeBsdfPrincipled", inputs).outputs[0])


def _shaded(g: Graph, colour: Any, light: Any) -> Any:
    grey = g.call("ShaderNodeCombineColor", {0: light, 1: light, 2: light}).outputs[0]
    return g.mix(1.0, colour, grey, "MULTIPLY")


def knit(rgb: Rgb, ribs: int) -> bpy.types.Material:
    """Ribbed knitting: `ribs` columns of stitches round the head."""
    g = Graph("knit")
    phi, along = _turn(g)
    rib = _wave(g, phi, 6.2831853 / ribs)
    slant = g.math("MULTIPLY_ADD", rib, 0.22, along)
    stitch = _wave(g, slant, 0.34)
    round_rib = g.math("SINE", g.math("MULTIPLY", rib, 1.5707963))
    height = g.math("MULTIPLY_ADD", stitch, 0.28, g.math("MULTIPLY", round_rib, 0.8))
    light = g.remap(height, 0.0, 0.9, 0.48, 1.06)
    fuzz = g.remap(g.noise(g.attribute("head"), 5.0), 0.3, 0.7, 0.92, 1.06)
    colour = _shaded(g, _rgba(rgb), g.math("MULTIPLY", light, fuzz))
    return _cloth(g, colour, height, 0.0028, 0.95, 0.3)


def twill(rgb: Rgb, panels: int = 0, rows: float = 0.0) -> bpy.types.Material:
    """Sewn cotton: seams between `panels` round the head, rows of stitches `rows` cm apart."""
    g = Graph("twill")
    phi, along = _turn(g)
    spot = g.attribute("head")
    split = g.call("ShaderNodeSeparateXYZ", {0: spot}).outputs
    slant = g.math("ADD", g.math("ADD", split[0], split[1]), split[2])
    weave = _wave(g, slant, 0.16)
    blotch = g.remap(g.noise(spot, 0.9, 3.0), 0.3, 0.7, 0.86, 1.08)
    light = g.math("MULTIPLY", blotch, g.remap(weave, 0.0, 1.0, 0.90, 1.04))
    groove: Any = 1.0
    if panels:
        # Distance from the nearest seam in cm: the crown narrows as one goes up.
        turn = _wave(g, phi, 6.2831853 / panels)
        reach = g.math("MINIMUM", g.math("MULTIPLY", along, 1.0), 8.0)
        far = g.math("MULTIPLY", g.math("MULTIPLY", turn, 3.1416 / panels), reach)
        groove = g.remap(far, 0.03, 0.16, 0.0, 1.0)
        stitch = g.remap(g.math("ABSOLUTE", g.math("SUBTRACT", far, 0.38)), 0.03, 0.07, 0.8, 1.0)
        light = g.math("MULTIPLY", light, stitch)
    if rows:
        line = g.remap(_wave(g, along, rows), 0.10, 0.22, 0.0, 1.0)
        groove = g.math("MINIMUM", groove, line)
    light = g.math("MULTIPLY", light, g.remap(groove, 0.0, 1.0, 0.55, 1.0))
    height = g.math("MULTIPLY_ADD", weave, 0.12, groove)
    return _cloth(g, _shaded(g, _rgba(rgb), light), height, 0.0012, 0.8)


def felt(rgb: Rgb) -> bpy.types.Material:
    """Felt or boiled wool: no threads, a soft nap."""
    g = Graph("felt")
    spot = g.attribute("head")
    nap = g.noise(spot, 9.0, 3.0)
    broad = g.remap(g.noise(spot, 0.7, 2.0), 0.3, 0.7, 0.88, 1.06)
    light = g.math("MULTIPLY", broad, g.remap(nap, 0.3, 0.7, 0.86, 1.08))
    return _cloth(g, _shaded(g, _rgba(rgb), light), nap, 0.0008, 0.95, 0.35)


def tweed(rgb: Rgb, second: Rgb) -> bpy.types.Material:
    """Thick woollen cloth: herringbone of two colours."""
    g = Graph("tweed")
    spot = g.attribute("head")
    split = g.call("ShaderNodeSeparateXYZ", {0: spot}).outputs
    zigzag = g.math("MULTIPLY_ADD", _wave(g, split[0], 1.6), 0.9, split[2])
    line = g.remap(_wave(g, zigzag, 0.85), 0.3, 0.7, 0.0, 1.0)
    fleck = g.remap(g.noise(spot, 5.0, 2.0), 0.35, 0.65, 0.62, 1.2)
    colour = g.mix(line, _rgba(rgb), g.mix(0.10, _rgba(rgb), _rgba(second)))
    return _cloth(g, _shaded(g, colour, fleck), line, 0.0008, 0.95, 0.2)


def straw(rgb: Rgb) -> bpy.types.Material:
    """Plaited straw sewn in rounds."""
    g = Graph("straw")
    phi, along = _turn(g)
    rows = _wave(g, along, 0.8)
    cross = g.math("MULTIPLY_ADD", rows, 0.035, phi)
    blades = _wave(g, cross, 6.2831853 / 120)
    tone = g.noise(g.attribute("head"), 2.4, 3.0)
    height = g.math("MULTIPLY_ADD", blades, 0.4, g.remap(rows, 0.0, 0.5, 0.0, 0.8))
    light = g.math("MULTIPLY", g.remap(height, 0.0, 1.1, 0.42, 1.08),
                   g.remap(tone, 0.3, 0.7, 0.75, 1.15))  # fmt: skip
    return _cloth(g, _shaded(g, _rgba(rgb), light), height, 0.002, 0.6, 0.0)


def ribbon(rgb: Rgb) -> bpy.types.Material:
    """Ribbed ribbon with a dull shine."""
    g = Graph("ribbon")
    phi, _ = _turn(g)
    rib = _wave(g, phi, 6.2831853 / 260)
    return _cloth(g, _rgba(rgb), rib, 0.0004, 0.5, 0.0)


def cotton(rgb: Rgb, second: Rgb | None = None) -> bpy.types.Material:
    """Thin cloth with soft wrinkles; with a second colour, printed with dots."""
    g = Graph("cotton")
    spot = g.attribute("head")
    wrinkle = g.noise(spot, 0.55, 2.0)
    light = g.remap(g.noise(spot, 1.3, 3.0), 0.3, 0.7, 0.92, 1.05)
    colour: Any = _rgba(rgb)
    if second is not None:
        inputs = {"Vector": spot, "Scale": 0.72, "Randomness": 0.55}
        far = g.call("ShaderNodeTexVoronoi", inputs).outputs["Distance"]
        dot = g.remap(far, 0.24, 0.29, 1.0, 0.0)
        ring = g.remap(g.math("ABSOLUTE", g.math("SUBTRACT", far, 0.42)), 0.035, 0.06, 1.0, 0.0)
        colour = g.mix(g.math("MAXIMUM", dot, ring), colour, _rgba(second))
    grain = g.noise(spot, 14.0, 1.0)
    height = g.math("MULTIPLY_ADD", grain, 0.05, wrinkle)
    return _cloth(g, _shaded(g, colour, light), height, 0.005, 0.75, 0.1)
