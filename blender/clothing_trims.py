"""Ties, straps, buttons, zips and cords."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blender.clothing_mesh import Layer
from blender.clothing_panels import chest_point, over_shoulder
from blender.clothing_parts import Part, button, grid_part, ribbon, sheet, tube
from blender.clothing_surface import unit
from blender.hair_mask import smoothstep

_STRAP = 0.0034  # m from the skin to a strap's outer face


def _down(x: float, top: float, bottom: float = -32.0, count: int = 33) -> np.ndarray:
    """A template line (count, 3) cm down the chest."""
    y = np.linspace(top, bottom, count)
    return chest_point(np.full(count, x), y)


def placket(layer: Layer, top: float, buttons: tuple[float, ...], stuff: str) -> list[Part]:
    """A strip down the middle of the chest from `top` cm with buttons at template heights."""
    surface = layer.surface
    out = [ribbon(surface, _down(0.0, top), 3.0, 0.0022, "cloth", 0.0018)]
    for y in buttons:
        place = chest_point(np.array(0.0), np.array(y))
        out.append(button(surface, place, 0.0056, 0.0022, stuff))
    return out


def short_placket(layer: Layer, top: float, bottom: float, stuff: str) -> list[Part]:
    """A polo's placket from `top` to `bottom` cm, two buttons."""
    surface = layer.surface
    out = [ribbon(surface, _down(0.0, top, bottom, 17), 3.0, 0.0022, "cloth", 0.0018)]
    for y in (top - 1.0, 0.5 * (top + bottom) - 0.8):
        out.append(button(surface, chest_point(np.array(0.0), np.array(y)), 0.0055, 0.0022, stuff))
    return out


def strap(layer: Layer, x: float, front: float, width: float) -> list[Part]:
    """Two straps `width` cm wide over the shoulders at |x| cm, from template height `front`."""
    foot = chest_point(np.array(x), np.array(front))
    start = np.degrees(np.arctan2(foot[1] + 32.0, foot[2] - 0.4))
    angle = np.linspace(start - 4.0, 150.0, 57)
    out = []
    for side in (-x, x):
        part = ribbon(layer.surface, over_shoulder(np.full(57, side), angle), width, 0.0)
        # The shell stands off where the neck meets the shoulder; a strap lies on the skin.
        points = part.vertices
        loose = smoothstep(0.5, 3.0, -part.weave[:, 1])  # its foot is sewn on the cloth
        for _ in range(3):
            height, outward = layer.body.query(points)
            points = points + (loose * (_STRAP - height))[:, None] * outward
        out.append(replace(part, vertices=points))
    return out


def tie(layer: Layer) -> list[Part]:
    """A knot under the collar and the blade below it."""
    surface, rim = layer.surface, layer.rim
    top = rim.points[0]
    normal = surface.facing(top[None])[0]
    down = unit(rim.into[0] - 0.25 * normal)
    side = unit(np.cross(down, normal))
    if side[0] < 0:
        side = -side
    out = unit(np.cross(side, down))
    out = out if (out * normal).sum() > 0 else -out
    # The knot: sections from its top to where the blade leaves it, (down, half width, depth) cm.
    sections = ((-0.7, 1.3, 0.3), (-0.4, 1.7, 0.8), (0.7, 1.85, 1.15), (1.9, 1.55, 1.15),
                (2.9, 1.2, 1.0), (3.2, 0.9, 0.6))  # fmt: skip
    turn = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 15) * 1.15
    rows = []
    for along, half, depth in sections:
        c, s = np.cos(turn), np.sin(turn)
        x = half * np.sign(s) * np.abs(s) ** 0.75
        z = depth * np.sign(c) * np.abs(c) ** 0.75
        rows.append(top + 0.01 * (along * down + x[:, None] * side + (z[:, None] + 0.45) * out))
    knot = np.stack(rows, axis=1)
    weave = np.stack(
        np.broadcast_arrays(turn[:, None] * 1.2, np.array([[row[0] for row in sections]])), axis=-1
    )
    blade_top = float(rim.npos[0, 1]) - 2.2
    y = np.linspace(blade_top, -32.0, 25)
    u = np.linspace(-1.0, 1.0, 9)
    wide = 1.15 + 2.1 * np.linspace(0.0, 1.0, 25) ** 0.8
    across, down_to = u[None] * wide[:, None], np.repeat(y[:, None], 9, axis=1)
    bulge = np.exp(-((np.linspace(0.0, 1.0, 25) / 0.12) ** 2))[:, None]
    height = 0.0035 + (0.0030 + 0.0050 * bulge) * (1.0 - u[None] ** 2)
    pieces = [
        grid_part(knot, weave, "tie"),
        sheet(surface, across, down_to, height, "tie", 0.0020),
    ]
    # Cut on the bias: stripes slant.
    slant = np.sqrt(0.5) * np.array([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return [replace(piece, weave=piece.weave @ slant) for piece in pieces]


def zip_fastener(layer: Layer, top: float) -> list[Part]:
    """A closed zip below `top` cm: tape, teeth and the puller."""
    surface = layer.surface
    tape = ribbon(surface, _down(0.0, top), 2.4, 0.0012, "dark", 0.0010)
    teeth = ribbon(surface, _down(0.0, top, count=49), 0.7, 0.0030, "metal", 0.0014)
    start = surface.lay(surface.at(_down(0.0, top + 0.4, top - 2.4, 5)), 0.0050)
    puller = tube(start, np.array([0.0012, 0.0030, 0.0026, 0.0026, 0.0014]), "metal")
    return [tape, teeth, puller]


def drawstrings(layer: Layer, rng: np.random.Generator) -> list[Part]:
    """Two cords that hang from a hood's front, knotted at the end."""
    out = []
    for side in (-1.0, 1.0):
        end = float(rng.uniform(-26.4, -23.6))
        y = np.linspace(-18.4, end, 29)
        t = np.linspace(0.0, 1.0, 29)
        sway = 0.35 * np.sin(4.0 * t + rng.uniform(0.0, 6.0)) * t
        x = side * (2.6 + 0.9 * t) + sway
        line = layer.surface.lay(layer.surface.at(chest_point(x, y)), 0.0042)
        radius = np.where(t > 0.93, 0.0046, 0.0027)
        radius[-1] = 0.0030
        out.append(tube(line, radius, "cord"))
    return out


def flap(layer: Layer, x: float, top: float, size: tuple[float, float]) -> list[Part]:
    """A pocket's pointed flap with its button; its upper edge is at (x, top) cm."""
    across, down = np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(0.0, 1.0, 7), indexing="ij")
    y = top - size[1] * down * (1.0 + 0.22 * (1.0 - 2.0 * np.abs(across)))
    place = chest_point(np.array(x), np.array(top - 0.72 * size[1]))
    return [
        sheet(layer.surface, x + size[0] * across, y, 0.0024, "cloth", 0.0018),
        button(layer.surface, place, 0.0062, 0.0026, "metal"),
    ]


def row_of_buttons(layer: Layer, x: float, heights: tuple[float, ...], stuff: str) -> list[Part]:
    """Buttons along an open front's edge, at |x| cm more than the rim's own."""
    out = []
    half = layer.rim.npos[: len(layer.rim.npos) // 2]
    order = np.argsort(half[:, 1])
    for y in heights:
        edge = float(np.interp(y, half[order, 1], half[order, 0]))
        place = chest_point(np.array(edge + x), np.array(y))
        out.append(button(layer.surface, place, 0.0068, 0.0034, stuff))
    return out
