"""A headscarf that covers hair, ears and neck: a membrane drawn over head and shoulders.

It is worked out in spherical rays from the middle of the head, in world metres, against the
collider of skin and clothes; the face and the hem are then cut out of it.
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

_ROWS, _TURNS = 34, 64  # rays
_FINE = 3  # times finer mesh
_LAST = np.radians(158.0)  # the lowest ray, from straight up
_GAP = 0.0042  # m off skin and clothes
_START = 0.25  # m, where rays come in from
_MIDDLE = (0.0, 2.5, 4.0)  # cm, template point the rays end at
_FACE = (-2.4, 6.3, 8.8)  # cm: middle height, half width and half height of the opening
_BIB = (0.158, -0.11, 0.128)  # m: half width of the hem, height where it begins, its depth


def opening(t: np.ndarray) -> np.ndarray:
    """Signed distance (...,) of template points (..., 3) from the face's opening, about cm."""
    y, half, tall = _FACE
    round_face = np.hypot(t[..., 0] / half, (t[..., 1] - y) / tall)
    out = (round_face - 1.0) * half
    return np.maximum(out, (6.0 - t[..., 2]))


def _hem(world: np.ndarray) -> np.ndarray:
    """Distance (...,) above the lower edge of the scarf, about metres."""
    wide, top, deep = _BIB
    low = np.maximum(top - world[..., 2], 0.0) / deep
    return (1.0 - np.hypot(world[..., 0] / wide, low)) * deep


def _membrane(radius: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Radii (P, T) of a cloth drawn tight over `radius` where `held`, free elsewhere."""
    floor = np.where(held, radius, 0.0)
    out = gaussian_filter(radius, (1.0, 1.0), mode=("nearest", "wrap"))
    for _ in range(26):
        soft = gaussian_filter(out, (1.6, 1.2), mode=("nearest", "wrap"))
        out = np.maximum(floor, soft)
    return gaussian_filter(out, (0.7, 0.6), mode=("nearest", "wrap"))


def _folds(t: np.ndarray, side: float) -> np.ndarray:
    """Relief (...,) in metres of folds at template points (..., 3)."""
    x, y, z = t[..., 0] * side, t[..., 1], t[..., 2]
    hang = smoothstep(-8.0, -13.0, y)
    # Under the chin the cloth hangs in bows, round the face it lies in long pleats.
    bows = np.sin(1.55 * (y - 0.045 * x**2 + 0.25 * x) + 0.8 * np.sin(0.5 * x))
    front = smoothstep(2.0, 8.0, z)
    pleats = np.sin(2.1 * opening(t) + 0.35 * y)
    behind = np.sin(1.2 * x + 0.25 * y) * (1 - front)
    lap = smoothstep(-0.35, 0.35, x + 0.55 * (y + 12.0)) * front * hang  # one end over the other
    return (
        0.0024 * bows * hang * front
        + 0.0008 * pleats * (1 - hang) * smoothstep(0.3, 1.2, opening(t))
        + 0.0016 * behind * smoothstep(-3.0, -10.0, y)
        + 0.0030 * lap
    )


def build_hijab(
    worn: Accessories, head: Head, person: Collider, side: float
) -> list[bpy.types.Object]:
    """The scarf as one object; its end is laid over to `side` (-1 or 1)."""
    frame = head.frame
    middle = frame.to_world(np.array(_MIDDLE))
    polar = np.linspace(0, _LAST, _ROWS)[:, None]
    phi = np.arange(_TURNS)[None] * (2 * np.pi / _TURNS)
    ray = _rays(polar, phi)
    radius = np.full(ray.shape[:2], _START)
    for _ in range(9):
        distance, _ = person.query(middle + radius[..., None] * ray)
        radius = np.clip(radius - 0.9 * (distance - _GAP), 0.02, 0.32)
    place = frame.to_template(middle + radius[..., None] * ray)
    outside = opening(place)
    held = outside > -0.6
    radius = radius - 0.0026 * smoothstep(1.6, 0.0, outside)
    radius = _membrane(radius, held)

    wide = np.concatenate([radius[:, -4:], radius, radius[:, :5]], axis=1)
    fine = zoom(wide, ((_ROWS * _FINE - 2) / _ROWS, ((_TURNS + 8) * _FINE + 1) / (_TURNS + 9)))
    fine = fine[:, 4 * _FINE : (4 + _TURNS) * _FINE]
    polar = np.linspace(0, _LAST, len(fine))[:, None]
    ray = _rays(polar, np.arange(_TURNS * _FINE)[None] * (2 * np.pi / (_TURNS * _FINE)))
    points = middle + fine[..., None] * ray
    points = points + _folds(frame.to_template(points), side)[..., None] * ray
    points = points.reshape(-1, 3)
    triangles = triangulate(grid_quads(*fine.shape, wrap=True))
    points, triangles, _ = clip(opening(frame.to_template(points)), triangles, points)
    points, triangles, _ = clip(_hem(points), triangles, points)
    shape = Shape(frame.to_template(points), triangles)
    made = shape_object("headwear", shape, frame, cotton(worn.headwear_rgb), LABELS["headwear"])
    return [made]


def _rays(polar: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Unit directions (P, T, 3) in the world: phi 0 in front (-y), growing to +x."""
    out = np.stack(
        [np.sin(polar) * np.sin(phi), -np.sin(polar) * np.cos(phi), np.cos(polar) + 0 * phi],
        axis=-1,
    )
    return out
