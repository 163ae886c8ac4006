"""Collars, lapels, hoods and ruffles: what is folded over a neckline."""

from __future__ import annotations

import numpy as np

from blender.clothing_mesh import Layer
from blender.clothing_parts import (
    Leaf,
    Part,
    along_rim,
    facing_out,
    grid_part,
    leaf_part,
    reaches,
    relax,
)
from blender.clothing_surface import unit
from blender.hair_mask import smoothstep


def _ends(starts: np.ndarray) -> np.ndarray:
    """-1 at the first row, 0 in the middle (the nape), 1 at the last."""
    return np.linspace(-1.0, 1.0, len(starts))


def folded_collar(
    layer: Layer,
    *,
    from_y: float,
    back: float,
    front: float,
    spread: float,
    stand: float = 0.005,
    stuff: str = "cloth",
) -> Part:
    """A turned-down collar that starts where the rim passes template height `from_y` cm.

    back and front: its width in cm at the nape and at the points; spread: cm that the points
    lean outwards; stand: m that its edge stands off.
    """
    low, high = reaches(layer.rim, from_y)
    starts = np.linspace(low + 0.1, high - 0.1, 81)
    u = _ends(starts)
    leaf = Leaf(
        starts=starts,
        width=back + (front - back) * np.abs(u) ** 5,
        lean=-spread * np.sign(u) * np.abs(u) ** 6,
        heights=(0.0012, 0.0045, 0.0055, 0.5 * (stand + 0.0055), stand, stand, stand),
        over=0.5,
        stuff=stuff,
    )
    return leaf_part(layer, leaf)


def lapels(layer: Layer, *, gorge: float, width: float, foot: float) -> list[Part]:
    """Notch lapels and the collar that joins them; gorge: template cm, the height of the notch.

    width: cm of a lapel at its point; foot: cm of its width at the bottom.
    """
    rim = layer.rim
    low, high = reaches(rim, gorge)
    total = rim.length[-1]
    flat = (0.0016, 0.0052, 0.0050, 0.0044, 0.0042, 0.0042, 0.0042)
    out = []
    for first, last in ((0.3, low), (total - 0.3, high)):
        u = np.linspace(0.0, 1.0, 37)
        starts = first + (last - first) * u
        growth = foot + (width - foot) * u**0.8
        # The upper edge of a lapel slants up and out to its point.
        lean = np.sign(last - first) * 2.1 * smoothstep(0.72, 1.0, u)
        leaf = Leaf(starts, growth, lean, flat, edgewise=True, thickness=0.0028)
        if first > last:
            leaf = Leaf(starts[::-1], growth[::-1], lean[::-1], flat, edgewise=True,
                        thickness=0.0028)  # fmt: skip
        out.append(leaf_part(layer, leaf))
    starts = np.linspace(low + 0.15, high - 0.15, 61)
    u = _ends(starts)
    collar = Leaf(
        starts=starts,
        width=3.6 + (0.62 * width - 3.6) * np.abs(u) ** 4,
        lean=1.1 * np.sign(u) * smoothstep(0.75, 1.0, np.abs(u)),
        heights=(0.0020, 0.0058, 0.0062, 0.0056, 0.0050, 0.0050),
        thickness=0.0028,
    )
    out.append(leaf_part(layer, collar))
    return out


def rolled_neck(layer: Layer, width: float) -> Part:
    """A high collar turned down over itself, `width` cm wide, soft and thick."""
    total = layer.rim.length[-1]
    starts = np.linspace(0.5 * total, 1.5 * total, 97)  # the join is at the nape
    heights = (0.0015, 0.0062, 0.0082, 0.0086, 0.0080, 0.0070, 0.0056)
    wobble = 0.0010 * np.sin(starts / total * 10 * np.pi)
    leaf = Leaf(
        starts, np.full(97, width), 0.0, heights, wobble, over=1.2, stuff="rib", thickness=0.0040
    )
    return leaf_part(layer, leaf, smooth=3)


def edge_band(layer: Layer, width: float, height: float, stuff: str) -> Part:
    """A flat band `width` cm wide along the whole edge, `height` m thick."""
    count = 145 if layer.rim.closed else 161
    starts = np.linspace(0.0, layer.rim.length[-1], count)
    heights = (0.25 * height, height, height, 0.7 * height)
    return leaf_part(
        layer,
        Leaf(starts, np.full(count, width), heights=heights, stuff=stuff, thickness=0.6 * height),
        1,
    )


def stand_collar(layer: Layer, *, from_y: float, width: float) -> Part:
    """A ribbed collar that stands round the neck where the rim is above `from_y` cm."""
    low, high = reaches(layer.rim, from_y)
    starts = np.linspace(low, high, 89)
    end = 1.0 - 0.35 * np.abs(_ends(starts)) ** 8
    heights = (0.0012, 0.0036, 0.0040, 0.0038, 0.0030)
    return leaf_part(layer, Leaf(starts, width * end, heights=heights, over=0.6, stuff="rib"))


def ruffle(layer: Layer, width: float) -> Part:
    """A gathered flounce along the edge, `width` cm deep."""
    total = layer.rim.length[-1]
    starts = np.linspace(0.5 * total, 1.5 * total, 289)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * round(total / 4.2) * starts / total)
    heights = (0.0008, 0.0022, 0.0026, 0.0030, 0.0032, 0.0034)
    leaf = Leaf(starts, np.full(289, width), 0.0, heights, 0.0150 * wave, thickness=0.0012)
    return leaf_part(layer, leaf, smooth=1)


# A hood's section from inside the neck over its roll to under the bag: cm out and up from the
# rim in front, at the sides, at the back.
_HOOD = np.array(
    [
        [(-0.1, -1.2), (0.0, -1.8), (0.2, -2.4)],
        [(-0.1, -0.4), (0.0, 0.2), (0.5, 0.0)],
        [(0.0, 0.2), (0.1, 1.8), (0.5, 1.5)],
        [(0.3, 0.6), (0.7, 2.7), (1.2, 2.4)],
        [(0.8, 0.5), (1.6, 2.9), (2.4, 2.5)],
        [(1.2, -0.1), (2.6, 2.2), (3.8, 1.4)],
        [(1.4, -0.9), (3.4, 1.0), (4.9, -0.8)],
        [(1.5, -1.7), (4.0, -0.6), (5.2, -4.2)],
        [(1.5, -2.3), (4.3, -2.2), (4.6, -8.0)],
        [(1.4, -2.7), (4.1, -3.4), (3.0, -10.6)],
        [(1.0, -2.8), (3.4, -4.0), (0.8, -11.4)],
    ]
)


def hood(layer: Layer, rng: np.random.Generator) -> Part:
    """A hood that lies behind the neck; rng moves its wrinkles."""
    rim = layer.rim
    starts = np.linspace(0.0, rim.length[-1], 121)
    here = along_rim(rim, starts, rim.points)
    middle = 0.5 * (here.max(axis=0) + here.min(axis=0))
    out = here - middle
    out[:, 2] = 0.0
    out = unit(out)
    u = 1.0 - np.abs(_ends(starts))  # 0 in front, 1 at the nape
    share = np.stack([smoothstep(0.62, 0.0, u), np.zeros_like(u), smoothstep(0.55, 1.0, u)])
    share[1] = 1.0 - share[0] - share[2]
    shape = np.einsum("sr,qsd->rqd", share, _HOOD)
    # Wrinkles run down the bag and along the roll.
    phase = rng.uniform(0.0, 2 * np.pi, 3)
    q = np.linspace(0.0, 1.0, shape.shape[1])
    lines = np.sin(17.0 * u[:, None] + 5.0 * q + phase[0]) * np.sin(np.pi * q)
    roll = np.sin(9.0 * q + 6.0 * u[:, None] + phase[1]) * np.sin(np.pi * q)
    shape[..., 0] += 0.22 * lines + 0.30 * roll
    shape[..., 1] += 0.24 * roll
    grid = here[:, None] + 0.01 * shape[..., :1] * out[:, None]
    grid[..., 2] += 0.01 * shape[..., 1]
    grid = relax(grid, 1)
    least = np.full(grid.shape[:2], 0.0050)
    least[:, :2], least[:, -1] = -0.004, 0.0
    grid = layer.surface.lift(grid, least)
    length = np.linalg.norm(np.diff(grid, axis=1), axis=2).cumsum(axis=1) * 100.0
    down = np.concatenate([np.zeros((len(grid), 1)), length], axis=1)
    weave = np.stack([np.broadcast_to(starts[:, None], down.shape), down], axis=-1)
    turned = facing_out(grid[:, 5:], layer.surface)
    if turned[0, 0, 0] != grid[0, 5, 0]:
        grid, weave = grid[::-1], weave[::-1]
    return grid_part(grid, weave, "cloth", 0.0035)
