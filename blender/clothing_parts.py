"""Pieces sewn to a garment: sheets that follow its surface, leaves folded over its edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender.body import bust_level
from blender.clothing_mesh import Layer
from blender.clothing_panels import chest_point
from blender.clothing_surface import Rim, Surface, into_box, unit
from blender.mesh_cut import clip, triangulate

_INSIDE = 1e-3  # m from the bust's outline, so that nothing sewn on sticks out of it


@dataclass(frozen=True)
class Part:
    """A piece of cloth, horn or metal."""

    vertices: np.ndarray  # (N, 3) m
    triangles: np.ndarray  # (F, 3)
    weave: np.ndarray  # (N, 3) cm: across, along, along
    stuff: str = "cloth"  # whose material: the layer's "cloth", or a name of clothing_stuffs
    thickness: float = 0.0  # m, inwards


def grid_part(
    grid: np.ndarray, weave: np.ndarray, stuff: str = "cloth", thickness: float = 0.0
) -> Part:
    """A part from a grid of points (R, K, 3) m with cloth coordinates (R, K, 2) cm.

    Rows go along, columns across; with rows running from -x to +x at the front and columns down
    it faces outwards. What the bust's outline cuts off is gone.
    """
    rows, columns, _ = grid.shape
    grid = into_box(grid)
    index = np.arange(rows * columns).reshape(rows, columns)
    corners = (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    quads = np.stack(corners, axis=-1).reshape(-1, 4)
    flat = weave.reshape(-1, 2)
    data = np.concatenate([grid.reshape(-1, 3), flat, flat[:, 1:]], axis=1)
    level = bust_level(data[:, :3]) - _INSIDE
    data, triangles, _ = clip(level, triangulate(quads), data)
    return Part(data[:, :3], triangles, data[:, 3:], stuff, thickness)


def facing_out(grid: np.ndarray, surface: Surface) -> np.ndarray:
    """The grid (R, K, 3), its rows turned round if it would face the body."""
    middle = grid[len(grid) // 2 - 1 : len(grid) // 2 + 1]
    normal = np.cross(middle[1] - middle[0], np.gradient(middle[0], axis=0))
    out = (normal * surface.facing(middle[0])).sum()
    return grid if out < 0 else grid[::-1]


def sheet(
    surface: Surface,
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray | float,
    stuff: str = "cloth",
    thickness: float = 0.0015,
) -> Part:
    """A piece on the chest: template x and y (R, K) cm, `height` m over the surface."""
    grid = surface.lay(surface.at(chest_point(x, y)), height)
    weave = np.stack([x, -y - 32.0], axis=-1)
    turned = facing_out(grid, surface)
    return grid_part(turned, weave if turned is grid else weave[::-1], stuff, thickness)


def relax(grid: np.ndarray, rounds: int, wrap: bool = False) -> np.ndarray:
    """Smooth a grid (R, K, 3) along and across; its border stays, or wraps along."""
    for _ in range(rounds):
        across = grid.copy()
        across[:, 1:-1] = 0.5 * grid[:, 1:-1] + 0.25 * (grid[:, :-2] + grid[:, 2:])
        grid = across.copy()
        grid[1:-1] = 0.5 * across[1:-1] + 0.25 * (across[:-2] + across[2:])
        if wrap:
            ends = 0.5 * across[0] + 0.25 * (across[1] + across[-2])
            grid[0] = grid[-1] = ends
    return grid


@dataclass(frozen=True)
class Leaf:
    """A strip folded outwards over a rim. Lengths in cm along the rim, from its first point."""

    starts: np.ndarray  # (R,) cm along the rim, where each row leaves it
    width: np.ndarray  # (R,) cm
    lean: np.ndarray | float = 0.0  # (R,) cm that the outer edge runs ahead along the rim
    heights: tuple[float, ...] = (0.0015, 0.004, 0.0045, 0.004, 0.004, 0.004)  # m, fold to edge
    wave: np.ndarray | float = 0.0  # (R,) m added to the height at the outer edge
    edgewise: bool = False  # patterns' columns run along the rim, not away from it
    over: float = 0.15  # cm that the fold stands above the rim
    stuff: str = "cloth"
    thickness: float = 0.0022  # m


def along_rim(rim: Rim, length: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` (P, 3) of the rim at lengths (R,) cm; a closed rim goes on after its end."""
    if rim.closed:
        length = length % rim.length[-1]
    return np.stack([np.interp(length, rim.length, values[:, k]) for k in range(3)], axis=1)


def reaches(rim: Rim, y: float) -> tuple[float, float]:
    """Lengths (cm) at which the rim first rises above template height y, and last comes back."""
    above = np.flatnonzero(rim.npos[:, 1] > y)
    return float(rim.length[above[0]]), float(rim.length[above[-1]])


def leaf_grid(surface: Surface, rim: Rim, leaf: Leaf) -> np.ndarray:
    """The leaf's outer face (R, K, 3): it creeps over the surface, away from the rim."""
    heights = np.array(leaf.heights)
    here = along_rim(rim, leaf.starts, rim.points)
    into = unit(along_rim(rim, leaf.starts, rim.into))
    along = unit(along_rim(rim, leaf.starts, rim.along))
    lean = np.broadcast_to(leaf.lean, leaf.starts.shape)[:, None]
    step = ((leaf.width[:, None] + leaf.over) * into + lean * along) / (100.0 * (len(heights) - 1))
    size = np.linalg.norm(step, axis=1, keepdims=True)
    rows = [surface.lay(here - 0.01 * leaf.over * into, heights[0])]
    far = np.linspace(0.0, 1.0, len(heights))
    for k in range(1, len(heights)):
        normal = surface.facing(rows[-1])
        step = step - (step * normal).sum(axis=1, keepdims=True) * normal
        step = unit(step) * size
        height = heights[k] + np.broadcast_to(leaf.wave, leaf.starts.shape) * far[k]
        rows.append(surface.lay(rows[-1] + step, height))
    return np.stack(rows, axis=1)


def leaf_part(layer: Layer, leaf: Leaf, smooth: int = 2) -> Part:
    """A leaf as a part; patterns run along it."""
    grid = leaf_grid(layer.surface, layer.rim, leaf)
    whole = layer.rim.closed and np.isclose(np.ptp(leaf.starts), layer.rim.length[-1])
    grid = relax(grid, smooth, wrap=bool(whole))
    least = np.minimum(np.array(leaf.heights), leaf.thickness + 0.0006)
    grid = layer.surface.lift(grid, np.broadcast_to(least, grid.shape[:2]))
    across = np.linspace(0.0, 1.0, grid.shape[1])[None] * leaf.width[:, None]
    weave = np.stack([np.broadcast_to(leaf.starts[:, None], across.shape), across], axis=-1)
    weave = weave[..., ::-1] if leaf.edgewise else weave
    turned = facing_out(grid, layer.surface)
    if turned is not grid:
        weave = weave[::-1]
    return grid_part(turned, weave, leaf.stuff, leaf.thickness)


def ribbon(
    surface: Surface,
    path: np.ndarray,
    width: float,
    height: float,
    stuff: str = "cloth",
    thickness: float = 0.0012,
) -> Part:
    """A strip `width` cm wide along template points (R, 3) cm, `height` m over the surface."""
    line = relax(surface.at(path)[:, None], 12)[:, 0]  # pulled taut
    along = unit(np.gradient(line, axis=0))
    side = unit(np.cross(along, surface.facing(line)))
    side = unit(relax(side[:, None], 8)[:, 0])
    offset = np.linspace(-0.5, 0.5, 4) * width
    grid = line[:, None] + 0.01 * offset[None, :, None] * side[:, None]
    grid = surface.lay(grid, height)
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()]) * 100
    weave = np.stack(np.broadcast_arrays(offset[None], -length[:, None]), axis=-1)
    turned = facing_out(grid, surface)
    return grid_part(turned, weave if turned is grid else weave[::-1], stuff, thickness)


def tube(line: np.ndarray, radius: np.ndarray, stuff: str, sides: int = 8) -> Part:
    """A round cord along world points (R, 3) m of radius (R,) m."""
    along = unit(np.gradient(line, axis=0))
    first = unit(np.cross(along, np.array([0.3, 0.5, 1.0]) + np.zeros_like(along)))
    second = np.cross(along, first)
    turn = np.linspace(0.0, 2 * np.pi, sides + 1)
    ring = (
        np.cos(turn)[None, :, None] * first[:, None] + np.sin(turn)[None, :, None] * second[:, None]
    )
    grid = line[:, None] + radius[:, None, None] * ring
    weave = np.stack(np.broadcast_arrays(turn[None], np.arange(len(line))[:, None]), axis=-1)
    return grid_part(grid[:, ::-1], weave, stuff)


def button(surface: Surface, npos: np.ndarray, radius: float, height: float, stuff: str) -> Part:
    """A round button of `radius` m whose back is `height` m over the surface at npos (3,) cm."""
    centre = surface.lay(surface.at(npos[None]), height)[0]
    normal = surface.facing(centre[None])[0]
    side = unit(np.cross(np.array([0.0, 0.0, 1.0]), normal))
    up = np.cross(normal, side)
    turn = np.linspace(0.0, 2 * np.pi, 13)
    ring = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * up
    # A raised rim round a dished middle.
    profile = ((1.0, 0.0), (1.0, 0.35), (0.82, 0.42), (0.55, 0.26), (0.0, 0.26))
    grid = np.stack(
        [centre + radius * (out * ring + rise * normal) for out, rise in profile], axis=1
    )
    return grid_part(grid[::-1], np.zeros((*grid.shape[:2], 2)), stuff)
