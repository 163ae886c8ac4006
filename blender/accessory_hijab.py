"""A headscarf that covers hair, ears and neck: a hood drawn over head and neck, and the ends laid
over the shoulders.

Both are worked out in rays, in world metres, against the collider of skin and clothes; the face
and the hem are then cut out.
"""

from __future__ import annotations

import bpy
import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from blender.accessory_cloth import cotton
from blender.accessory_head import Head
from blender.accessory_shapes import Shape, grid_quads, shape_object
from blender.hair_collide import Collider
from blender.hair_mask import smoothstep
from blender.labels import LABELS
from blender.mesh_cut import clip, triangulate
from blender.spec_accessories import Accessories

_ROWS, _TURNS = 34, 64  # rays of the hood; the cape has half the rows
_FINE = 2  # times finer mesh
_GAP = 0.0045  # m off skin and clothes
_MIDDLE = (0.0, 2.5, 4.0)  # cm, template point in the head that the hood's rays end at
_LEVEL = 0.50  # share of the hood's rows above the level ones
_DOWN = 0.185  # m from the middle to the hood's end in the collar
_START = (0.25, 0.125)  # m, how far out rays start: at the head, at the neck
_TIGHT = 20  # rounds of evening out
_FACE = (-2.6, 6.35, 9.3)  # cm: middle height, half width and half height of the opening
_BIB = (0.176, -0.11, 0.142)  # m: half width of the hem, height where it begins, its depth
_BACK = 0.238  # m, how far back the scarf may reach
_CAPE = (0.045, 0.200)  # m from the neck's middle


def opening(t: np.ndarray) -> np.ndarray:
    """Signed distance (...,) of template points (..., 3) from the face's opening, about cm."""
    y, half, tall = _FACE
    round_face = np.hypot(t[..., 0] / half, (t[..., 1] - y) / tall)
    # Under the jaw the cloth comes forward to the chin.
    least = 6.0 + 6.2 * smoothstep(-7.5, -11.5, t[..., 1])
    return np.maximum((round_face - 1.0) * half, least - t[..., 2])


def _hem(world: np.ndarray) -> np.ndarray:
    """Distance (...,) above the lower edge of the scarf, about metres."""
    wide, top, deep = _BIB
    low = np.maximum(top - world[..., 2], 0.0) / deep
    bib = (1.0 - ((world[..., 0] / wide) ** 4 + low**4) ** 0.25) * deep
    return np.minimum(bib, _BACK - world[..., 1])


def _taut(inverse: np.ndarray, most: np.ndarray, rounds: int) -> np.ndarray:
    """Values (P, T) evened out, never above `most`."""
    for _ in range(rounds):
        smooth = gaussian_filter(inverse, (1.1, 0.9), mode=("nearest", "wrap"))
        inverse = np.minimum(most, smooth)
    return gaussian_filter(inverse, (0.6, 0.6), mode=("nearest", "wrap"))


def _finer(values: np.ndarray) -> np.ndarray:
    """Values (P, T), periodic in T, on a mesh `_FINE` times finer along both."""
    rows, turns = values.shape
    wide = np.concatenate([values[:, -4:], values, values[:, :5]], axis=1)
    size = (rows * _FINE - 2, (turns + 8) * _FINE + 1)
    fine = zoom(wide, (size[0] / rows, size[1] / (turns + 9)), order=3)
    return fine[:, 4 * _FINE : (4 + turns) * _FINE]


def _rays(rows: int, turns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hood's rays: starts (P, T, 3) about the middle, directions, shares (P, 1) of the neck.

    Columns go round from the front (-y) over +x; from the level ones on, rays slide down the neck.
    """
    phi = np.arange(turns)[None] * (2 * np.pi / turns)
    t = np.linspace(0, 1, rows)[:, None]
    low = np.maximum(t - _LEVEL, 0.0) / (1 - _LEVEL)
    polar = np.radians(90.0 * np.minimum(t / _LEVEL, 1.0) + 14.0 * low) + 0 * phi
    start = np.stack([0 * polar, 0.020 * low + 0 * polar, -_DOWN * low + 0 * polar], axis=-1)
    ray = np.stack(
        [np.sin(polar) * np.sin(phi), -np.sin(polar) * np.cos(phi), np.cos(polar)], axis=-1
    )
    return start, ray, low


def _folds(t: np.ndarray, side: float) -> np.ndarray:
    """Relief (...,) in metres of folds at template points (..., 3)."""
    x, y, z = t[..., 0] * side, t[..., 1], t[..., 2]
    front = smoothstep(1.0, 7.0, z)
    hang = smoothstep(-9.5, -13.0, y)
    # Under the chin the cloth hangs in bows, round the face it lies in long pleats.
    bows = np.sin(1.9 * (y - 0.05 * x**2 + 0.30 * x) + 0.7 * np.sin(0.5 * x))
    edge = opening(t)
    pleats = np.sin(1.9 * edge + 0.30 * y) * smoothstep(0.4, 1.4, edge)
    behind = np.sin(1.3 * x + 0.5 * y) * (1 - front) * smoothstep(-3.0, -10.0, y)
    lap = smoothstep(-0.3, 0.3, x + 0.6 * (y + 15.0)) * front * hang  # one end over the other
    return 0.0042 * bows * hang * front + 0.0016 * pleats + 0.0032 * behind + 0.0045 * lap


def _past_ears(head: Head, points: np.ndarray, ray: np.ndarray, gap: float) -> np.ndarray:
    """How far (P, T) in metres to move points (P, T, 3) along rays, to lie `gap` cm off the ears.

    Ears are thinner than the collider's cells.
    """
    t = head.frame.to_template(points)
    near = (np.abs(t[..., 0]) > 5.5) & (np.abs(t[..., 1] + 2.0) < 5.0)
    near &= np.abs(t[..., 2] - 4.5) < 4.5
    spot, way = t[near], (ray @ head.frame.axes)[near]
    moved = np.zeros(len(spot))
    for _ in range(4):
        short = gap - head.clearance(spot + moved[:, None] * way)
        moved += np.maximum(short, 0.0)
    out = np.zeros(near.shape)
    out[near] = np.minimum(moved, 2.5) * head.frame.scale
    return out


def _hood(head: Head, person: Collider, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) m and triangles of the part on head and neck, with its opening."""
    frame = head.frame
    middle = frame.to_world(np.array(_MIDDLE))
    start, ray, low = _rays(_ROWS, _TURNS)
    first = _START[0] + (_START[1] - _START[0]) * np.minimum(2.0 * low, 1.0) + 0 * ray[..., 0]
    radius = first.copy()
    for step in range(9):
        distance, _ = person.query(start + middle + radius[..., None] * ray)
        if step == 0:
            free = distance > _GAP  # else the ray starts inside a shoulder
        radius = np.clip(radius - 0.9 * (distance - _GAP), 0.02, first)
    t = frame.to_template(start + middle + radius[..., None] * ray)
    outside = opening(t)
    knot = np.exp(-(((t[..., 1] - 1.0) / 5.0) ** 2) - (t[..., 0] / 6.5) ** 2)
    radius = radius + 0.014 * knot * smoothstep(0.0, -5.0, t[..., 2])  # hair is tied up below
    held = free & (outside > -0.6)
    radius = radius - 0.0028 * smoothstep(1.6, 0.0, outside)
    radius = radius + _past_ears(head, start + middle + radius[..., None] * ray, ray, 0.75)
    # The inverse radius is evened out: between two supports that gives nearly straight lines.
    radius = 1.0 / _taut(1.0 / radius, np.where(held, 1.0 / radius, np.inf), _TIGHT)
    fine = _finer(radius)
    start, ray, _ = _rays(len(fine), _TURNS * _FINE)
    fine = fine + _past_ears(head, start + middle + fine[..., None] * ray, ray, 0.12)
    points = start + middle + fine[..., None] * ray
    points = points + _folds(frame.to_template(points), side)[..., None] * ray
    triangles = triangulate(grid_quads(*fine.shape, wrap=True))
    flat = points.reshape(-1, 3)
    flat, triangles, _ = clip(opening(frame.to_template(flat)), triangles, flat)
    return flat, triangles


def _cape(head: Head, person: Collider, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) m and triangles of the ends on shoulders and chest."""
    middle = head.frame.to_world(np.array(_MIDDLE))
    rows = _ROWS // 2

    def place(count: int, turns: int) -> tuple[np.ndarray, np.ndarray]:
        phi = np.arange(turns)[None] * (2 * np.pi / turns)
        reach = np.linspace(*_CAPE, count)[:, None]
        return reach * np.sin(phi), middle[1] + 0.012 - reach * np.cos(phi)

    x, y = place(rows, _TURNS)
    z = np.full(x.shape, -0.095)
    for step in range(9):
        distance, _ = person.query(np.stack([x, y, z], axis=-1))
        if step == 0:
            free = distance > _GAP  # else the ray starts inside the neck
        z = np.clip(z - 0.9 * (distance - _GAP - 0.001), -0.30, -0.095)
    z = -_taut(-z, np.where(free, -z, np.inf), 6)
    fine = _finer(z)
    x, y = place(len(fine), _TURNS * _FINE)
    points = np.stack([x, y, fine], axis=-1)
    lift = _folds(head.frame.to_template(points), side)
    points = points + lift[..., None] * np.array([0.0, -0.5, 0.85])
    triangles = triangulate(grid_quads(*fine.shape, wrap=True))
    flat = points.reshape(-1, 3)
    flat, triangles, _ = clip(_hem(flat), triangles, flat)
    flat, triangles, _ = clip(opening(head.frame.to_template(flat)) + 0.6, triangles, flat)
    return flat, triangles


def build_hijab(
    worn: Accessories, head: Head, person: Collider, side: float
) -> list[bpy.types.Object]:
    """The scarf as one object; its end is laid over to `side` (-1 or 1)."""
    hood, faces = _hood(head, person, side)
    cape, more = _cape(head, person, side)
    points = head.frame.to_template(np.concatenate([hood, cape]))
    shape = Shape(points, np.concatenate([faces, more + len(hood)]))
    cloth = cotton(worn.headwear_rgb)
    return [shape_object("headwear", shape, head.frame, cloth, LABELS["headwear"])]
