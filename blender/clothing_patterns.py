"""Patterns of cloth as shader nodes: every one is a function of centimetres on the cloth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blender.nodes import Graph
from blender.spec_base import Rgb

_SOFT = 0.03  # of a repeat: how far the edge of a stripe fades
# cm, one repeat at scale 1
REPEATS: dict[str, float] = {
    "plain": 4.0, "striped": 3.4, "vertical": 2.6, "pinstriped": 1.7, "checked": 2.8,
    "plaid": 6.4, "dotted": 2.6, "colourblock": 4.0, "herringbone": 2.6, "heathered": 1.0,
    "floral": 4.2,
}  # fmt: skip


def ramp(graph: Graph, value: Any, low: float, high: float) -> Any:
    """0 below low, 1 above high, smooth between."""
    node = graph.call(
        "ShaderNodeMapRange", {0: value, 1: low, 2: high}, interpolation_type="SMOOTHSTEP"
    )
    return node.outputs[0]


def wave(graph: Graph, value: Any, period: float) -> Any:
    """A triangle wave in [0, 1]: 0 at whole periods."""
    return graph.math("DIVIDE", graph.math("PINGPONG", value, period / 2), period / 2)


def bars(graph: Graph, value: Any, period: float, share: float = 0.5) -> Any:
    """1 in bars that take `share` of the period, 0 between."""
    edge = 1.0 - share
    return ramp(graph, wave(graph, value, period), edge - _SOFT, edge + _SOFT)


def _shade(colour: Rgb, factor: float) -> tuple[float, ...]:
    return (*(min(1.0, c * factor) for c in colour), 1.0)


@dataclass(frozen=True)
class Cloth:
    """Sockets of where a point lies on the cloth."""

    across: Any  # cm
    down: Any  # cm
    on_arm: Any  # 1 on the sleeves


def patterned(
    graph: Graph, kind: str, cloth: Cloth, repeat: float, colours: tuple[Rgb, Rgb]
) -> Any:
    """The colour socket (or value) of a pattern: repeat in cm, linear colours."""
    first, second = (*colours[0], 1.0), (*colours[1], 1.0)
    if kind == "plain":
        return first
    if kind in _PICTURES:
        return _PICTURES[kind](graph, cloth, repeat, colours)
    return graph.mix(_WEIGHTS[kind](graph, cloth, repeat), first, second)


def _pinstripes(graph: Graph, cloth: Cloth, repeat: float) -> Any:
    return graph.math("MULTIPLY", bars(graph, cloth.across, repeat, 0.10), 0.7)


def _checks(graph: Graph, cloth: Cloth, repeat: float) -> Any:
    both = graph.math("ADD", bars(graph, cloth.down, repeat), bars(graph, cloth.across, repeat))
    return graph.math("MULTIPLY", both, 0.5)


def _block(graph: Graph, cloth: Cloth, repeat: float) -> Any:
    """What is below the yoke; `down` is 0 at the template's y = -32 and at the arm's top."""
    edge = graph.math("MULTIPLY_ADD", cloth.on_arm, 16.5, -12.0)
    return ramp(graph, graph.math("SUBTRACT", cloth.down, edge), -0.05, 0.05)


def _herringbone(graph: Graph, cloth: Cloth, repeat: float) -> Any:
    zigzag = graph.math("PINGPONG", cloth.across, repeat / 2)
    lines = bars(graph, graph.math("ADD", cloth.down, zigzag), repeat * 0.32)
    return graph.math("MULTIPLY", lines, 0.55)


def _heather(graph: Graph, cloth: Cloth, repeat: float) -> Any:
    vector = graph.call("ShaderNodeCombineXYZ", {0: cloth.across, 1: cloth.down}).outputs[0]
    return graph.remap(graph.noise(vector, 4.0 / repeat, 6.0), 0.36, 0.68, 0.0, 0.6)


def _plaid(graph: Graph, cloth: Cloth, repeat: float, colours: tuple[Rgb, Rgb]) -> Any:
    """Tartan: broad bands both ways, a narrow line in each, thin bright lines between."""
    across, down = cloth.across, cloth.down
    first, second = colours
    broad = graph.math("ADD", bars(graph, down, repeat, 0.42), bars(graph, across, repeat, 0.42))
    colour = graph.mix(graph.math("MULTIPLY", broad, 0.46), (*first, 1.0), (*second, 1.0))
    line = graph.math("MAXIMUM", bars(graph, down, repeat, 0.07), bars(graph, across, repeat, 0.07))
    colour = graph.mix(graph.math("MULTIPLY", line, 0.55), colour, _shade(first, 0.35))
    half = repeat / 2
    thin = [bars(graph, graph.math("ADD", value, half), repeat, 0.05) for value in (across, down)]
    bright = (*(0.5 + 0.5 * c for c in second), 1.0)
    weight = graph.math("MULTIPLY", graph.math("MAXIMUM", *thin), 0.7)
    return graph.mix(weight, colour, bright)


def _dots(graph: Graph, cloth: Cloth, repeat: float) -> Any:
    """1 in dots on two interleaved square lattices."""
    half = repeat / 2
    a, b = (graph.math("PINGPONG", value, half) for value in (cloth.across, cloth.down))
    near = []
    for u, v in ((a, b), (graph.math("SUBTRACT", half, a), graph.math("SUBTRACT", half, b))):
        square = graph.math("ADD", graph.math("MULTIPLY", u, u), graph.math("MULTIPLY", v, v))
        near.append(graph.math("SQRT", square))
    far = graph.math("MINIMUM", *near)
    return ramp(graph, far, 0.185 * repeat, 0.155 * repeat)


def _floral(graph: Graph, cloth: Cloth, repeat: float, colours: tuple[Rgb, Rgb]) -> Any:
    """Scattered five-petalled flowers with a darker eye, and leaves between them."""
    scaled = [graph.math("DIVIDE", value, repeat) for value in (cloth.across, cloth.down)]
    vector = graph.call("ShaderNodeCombineXYZ", {0: scaled[0], 1: scaled[1]}).outputs[0]
    cells = graph.call(
        "ShaderNodeTexVoronoi", {"Vector": vector, "Scale": 1.0, "Randomness": 0.55},
        voronoi_dimensions="2D",
    )  # fmt: skip
    offset = graph.call(
        "ShaderNodeVectorMath", {0: vector, 1: cells.outputs["Position"]}, operation="SUBTRACT"
    ).outputs[0]
    split = graph.call("ShaderNodeSeparateXYZ", {0: offset}).outputs
    turn = graph.math("ARCTAN2", split[1], split[0])
    petals = graph.math("COSINE", graph.math("MULTIPLY", turn, 5.0))
    edge = graph.math("MULTIPLY_ADD", petals, 0.09, 0.28)
    inside = graph.math("SUBTRACT", edge, cells.outputs["Distance"])
    first, second = colours
    leaf = ramp(graph, graph.noise(vector, 5.0, 1.0), 0.60, 0.64)
    green = (0.10, 0.20, 0.08, 1.0)
    ground = graph.mix(graph.math("MULTIPLY", leaf, 0.8), (*first, 1.0), green)
    colour = graph.mix(ramp(graph, inside, 0.0, 0.03), ground, (*second, 1.0))
    eye = ramp(graph, cells.outputs["Distance"], 0.10, 0.08)
    return graph.mix(eye, colour, _shade(second, 0.4))


_WEIGHTS: dict[str, Callable[[Graph, Cloth, float], Any]] = {
    "striped": lambda graph, cloth, repeat: bars(graph, cloth.down, repeat),
    "vertical": lambda graph, cloth, repeat: bars(graph, cloth.across, repeat),
    "pinstriped": _pinstripes,
    "checked": _checks,
    "dotted": _dots,
    "colourblock": _block,
    "herringbone": _herringbone,
    "heathered": _heather,
}
_PICTURES = {"plaid": _plaid, "floral": _floral}
