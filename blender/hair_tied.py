"""What hangs on a tie: the coil of a bun, the tail of a ponytail, a plait."""

from __future__ import annotations

import numpy as np

from blender.hair_collide import Collider
from blender.hair_guides import HeadFrame
from blender.hair_ropes import plait, resample

TAIL = 0.17  # m, length of a tail
PLAIT = 0.20  # m, length of a plait
_BAND = 0.010  # m, radius of the tie itself
_HALF = 0.013  # m, half the width of a plait


def _axes(outward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit directions across `outward` (3,)."""
    across = np.cross(outward, [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    return across, np.cross(outward, across)


def _anchor(
    tie: tuple[float, float, float], frame: HeadFrame, collider: Collider
) -> tuple[np.ndarray, np.ndarray]:
    """The tie's place on the skin (3,) and the way out from there (3,)."""
    place = frame.to_world(np.array(tie))
    distance, outward = collider.query(place[None])
    return place - distance[0] * outward[0], outward[0]


def hang(
    kind: str,
    tie: tuple[float, float, float],
    frame: HeadFrame,
    collider: Collider,
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
    coil: float = 0.026,
) -> tuple[np.ndarray, np.ndarray]:
    """Hair and its tie, both (M, 24 or more, 3) metres: what is tied at template point `tie`.

    `kind` is 'bun' (of radius `coil` m), 'tail' or 'plait'.
    """
    if kind == "bun":
        return _bun(tie, frame, collider, rng, coil * scale), _band(tie, frame, collider, rng)
    if kind == "tail":
        return _tail(tie, frame, collider, rng, scale), _band(tie, frame, collider, rng)
    return _plait(tie, frame, collider, rng, scale)


def _bun(
    tie: tuple[float, float, float],
    frame: HeadFrame,
    collider: Collider,
    rng: np.random.Generator,
    radius: float,
) -> np.ndarray:
    """Strands (M, 24, 3), metres, coiled over a slightly flat ball that sits on the tie."""
    place, outward = _anchor(tie, frame, collider)
    across, along = _axes(outward)
    count = 1100
    height = np.arccos(rng.uniform(-0.75, 1.0, count))[:, None]  # from the outward pole
    start = rng.uniform(0, 2 * np.pi, count)[:, None]
    t = np.linspace(0, 1, 24)[None]
    turn = start + t * rng.uniform(0.7, 1.3, count)[:, None] * np.pi
    # Locks climb over each other as they go round.
    height = height + 0.30 * np.sin(turn * 1.5 + 3.0 * start) * np.sin(np.pi * t)
    layer = radius * rng.uniform(0.86, 1.0, count)[:, None] * (1 + 0.03 * np.sin(9 * height))
    ring = layer * np.sin(height)
    out = place + (0.70 * radius + 0.85 * layer * np.cos(height))[..., None] * outward
    out += (ring * np.cos(turn))[..., None] * across
    return out + (ring * np.sin(turn))[..., None] * along


def _tail(
    tie: tuple[float, float, float],
    frame: HeadFrame,
    collider: Collider,
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """Strands (M, 24, 3), metres, that leave the tie, bend over and hang down."""
    place, outward = _anchor(tie, frame, collider)
    steps, count = 24, 1700
    spine = np.empty((steps, 3))
    spine[0], heading = place, 0.8 * outward + np.array([0.0, 0.0, 0.2])
    stride = TAIL * scale / (steps - 1)
    for k in range(1, steps):
        heading = heading / np.linalg.norm(heading)
        heading = heading + np.array([0.0, 0.0, -0.30])
        move = stride * heading / np.linalg.norm(heading)
        spine[k] = collider.push_out(spine[k - 1] + move, 0.010)
    t = np.linspace(0, 1, steps)
    wide = _BAND * np.interp(t, [0, 0.06, 0.12, 0.45, 0.8, 1], [0.6, 0.8, 1.0, 2.1, 1.7, 0.7])
    tangent = np.gradient(spine, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.array([1.0, 0.0, 0.0])
    across = np.cross(tangent, side)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    disc = np.sqrt(rng.random((count, 1))) * wide
    angle = rng.uniform(0, 2 * np.pi, count)[:, None] + rng.normal(0, 0.2, (count, 1)) * t
    reach = rng.uniform(0.82, 1.0, count)[:, None] * t  # ends at different heights
    at = reach * (steps - 1)
    low = np.minimum(at.astype(int), steps - 2)
    frac = (at - low)[..., None]
    middle = spine[low] * (1 - frac) + spine[low + 1] * frac
    out = middle + (disc * np.cos(angle))[..., None] * side
    out = out + (disc * np.sin(angle))[..., None] * across[low]
    return collider.push_out(out, 0.001)


def _band(
    tie: tuple[float, float, float], frame: HeadFrame, collider: Collider, rng: np.random.Generator
) -> np.ndarray:
    """A lock wound round the tie: strands (M, 24, 3), metres."""
    place, outward = _anchor(tie, frame, collider)
    across, along = _axes(outward)
    count = 90
    turn = np.linspace(0, 2 * np.pi, 24)[None] + rng.uniform(0, 2 * np.pi, (count, 1))
    level = rng.uniform(0.002, 0.011, (count, 1)) + 0 * turn
    ring = _BAND * (0.95 + 0.12 * rng.random((count, 1))) + 0 * turn
    out = place + level[..., None] * outward
    out += (ring * np.cos(turn))[..., None] * across
    return out + (ring * np.sin(turn))[..., None] * along


def _plait(
    tie: tuple[float, float, float],
    frame: HeadFrame,
    collider: Collider,
    rng: np.random.Generator,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """A plait that comes forward over the shoulder, with a tuft below its band."""
    place, outward = _anchor(tie, frame, collider)
    steps = 40
    spine = np.empty((steps, 3))
    spine[0], heading = place, 0.3 * outward + np.array([0.0, 0.0, -1.0])
    stride = PLAIT * scale / (steps - 1)
    # Forward until it lies before the shoulder, then straight down.
    for k in range(1, steps):
        heading = heading / np.linalg.norm(heading)
        ahead = 0.8 if spine[k - 1, 1] > -0.055 else -0.05
        heading = 0.75 * heading + 0.25 * np.array([0.0, -ahead, -0.75])
        move = spine[k - 1] + stride * heading / np.linalg.norm(heading)
        spine[k] = collider.push_out(move[None], 0.011 * min(1.0, k / 5))[0]
        heading = spine[k] - spine[k - 1]
    spine = resample(spine[None], 120)
    hair = plait(spine, _HALF * scale, 80, collider, rng)
    end, before = spine[0, -8], spine[0, -12]
    along = (end - before) / np.linalg.norm(end - before)
    return hair, _wound(end, along, 0.0072, rng)


def _wound(
    place: np.ndarray, along: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """An elastic band (60, 24, 3) round `place`, across the direction `along`."""
    across, third = _axes(along)
    turn = np.linspace(0, 2 * np.pi, 24)[None] + rng.uniform(0, 2 * np.pi, (60, 1))
    ring = radius * (1 + 0.1 * rng.random((60, 1)))
    out = place + (rng.uniform(-0.004, 0.004, (60, 1)) + 0 * turn)[..., None] * along
    out = out + (ring * np.cos(turn))[..., None] * across
    return out + (ring * np.sin(turn))[..., None] * third
