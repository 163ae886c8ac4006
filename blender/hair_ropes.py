"""Strands gathered into ropes: plaits of three strands, twisted locs, cornrows on the scalp."""

from __future__ import annotations

import numpy as np

from blender.hair_collide import Collider
from blender.hair_guides import HeadFrame
from blender.hair_mask import hairline_height

ROWS = 15  # cornrows
ROW_WIDTH = 0.0058  # m, half the width of a cornrow
LOC_WIDTH = 0.0043  # m, radius of a loc
_FRONT, _NAPE = np.array([0.0, 2.5, 15.5]), np.array([0.0, -7.0, -2.6])  # cm, where rows meet
_FAN = 74.0  # degrees from the middle row to the last above an ear


def resample(spines: np.ndarray, points: int) -> np.ndarray:
    """Spines (R, S, 3) with `points` at equal distances along each."""
    gaps = np.linalg.norm(np.diff(spines, axis=1), axis=2)
    arc = np.concatenate([np.zeros((len(spines), 1)), np.cumsum(gaps, axis=1)], axis=1)
    out = np.empty((len(spines), points, 3))
    for r, (path, s) in enumerate(zip(spines, arc, strict=True)):
        at = np.linspace(0, s[-1], points)
        out[r] = np.stack([np.interp(at, s, path[:, k]) for k in range(3)], axis=1)
    return out


def _axes(spines: np.ndarray, collider: Collider) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arc lengths (R, S) in metres, directions across and away from the person, (R, S, 3)."""
    tangent = np.gradient(spines, axis=1)
    step = np.linalg.norm(tangent, axis=2)
    tangent = tangent / np.maximum(step, 1e-9)[..., None]
    _, outward = collider.query(spines)
    outward = outward - (outward * tangent).sum(axis=2, keepdims=True) * tangent
    outward /= np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 1e-6)
    return np.cumsum(step, axis=1) - step, np.cross(tangent, outward), outward


def plait(
    spines: np.ndarray, width: float, strands: int, collider: Collider, rng: np.random.Generator
) -> np.ndarray:
    """Three-strand plaits along spines (R, S, 3): (R * 3 * strands, S, 3), metres.

    `width` is half a plait's width. Each of the three parts goes from side to side and over and
    under the others: twice as fast in depth as across.
    """
    arc, across, outward = _axes(spines, collider)
    taper = np.interp(np.linspace(0, 1, spines.shape[1]), [0, 0.04, 0.88, 1], [0.7, 1, 0.85, 0.35])
    out = []
    for part in range(3):
        phase = 2 * np.pi * (arc / (3.9 * width) + part / 3)
        side, deep = 0.60 * np.sin(phase), 0.36 * np.sin(2 * phase)
        disc = 0.46 * np.sqrt(rng.uniform(0.15, 1.0, (len(spines), strands, 1)))
        angle = rng.uniform(0, 2 * np.pi, (len(spines), strands, 1))
        u = (side[:, None] + disc * np.cos(angle)) * width * taper
        v = (deep[:, None] + 0.85 * disc * np.sin(angle) + 0.25) * width * taper
        path = spines[:, None] + u[..., None] * across[:, None] + v[..., None] * outward[:, None]
        out.append(path.reshape(-1, spines.shape[1], 3))
    return np.concatenate(out)


def twist(
    spines: np.ndarray, width: float, strands: int, collider: Collider, rng: np.random.Generator
) -> np.ndarray:
    """Locs along spines (R, S, 3): strands wound round each, (R * strands, S, 3), metres."""
    arc, across, outward = _axes(spines, collider)
    taper = np.interp(np.linspace(0, 1, spines.shape[1]), [0, 0.05, 0.93, 1], [0.9, 1, 0.95, 0.5])
    thick = width * rng.uniform(0.75, 1.15, (len(spines), 1, 1)) * taper
    angle = rng.uniform(0, 2 * np.pi, (len(spines), strands, 1)) + arc[:, None] * (2 * np.pi / 0.03)
    lumps = 1 + 0.16 * np.sin(arc / 0.0035 + rng.uniform(0, 6, (len(spines), 1)))[:, None]
    disc = thick * np.sqrt(rng.uniform(0.3, 1.0, (len(spines), strands, 1))) * lumps
    path = spines[:, None] + (disc * np.cos(angle))[..., None] * across[:, None]
    path = path + (disc * np.sin(angle))[..., None] * outward[:, None]
    return path.reshape(-1, spines.shape[1], 3)


def row_spines(frame: HeadFrame, collider: Collider, recede: float, length: float) -> np.ndarray:
    """Spines (ROWS, S, 3), metres: from the hairline back over the head, then hanging `length` m.

    Rows are half ellipses about the line from the forehead to the nape, laid on the head.
    """
    turn = np.radians(np.linspace(-_FAN, _FAN, ROWS))[:, None, None]  # from ear to ear
    sweep = np.radians(np.linspace(4, 176, 80))[None, :, None]
    middle, ahead = (_FRONT + _NAPE) / 2, (_FRONT - _NAPE) / 2
    up = np.array([0.0, ahead[2], -ahead[1]]) / np.linalg.norm(ahead)
    out_of = np.cos(turn) * 12.5 * up + np.sin(turn) * np.array([8.5, 0.0, 0.0])
    path = frame.to_world(middle + np.cos(sweep) * ahead + np.sin(sweep) * out_of)
    for _ in range(3):
        distance, outward = collider.query(path)
        path = path - distance[..., None] * outward
    t = frame.to_template(path)
    grown = t[..., 1] > hairline_height(t.reshape(-1, 3), recede).reshape(t.shape[:2]) + 0.1
    out = []
    for row, keep in zip(path, grown, strict=True):
        first = int(keep.argmax())
        last = len(keep) - int(keep[::-1].argmax())
        hang = _hang(row[last - 2], row[last - 1], length, collider)
        out.append(resample(np.concatenate([row[first:last], hang])[None], 150)[0])
    return np.stack(out)


def _hang(before: np.ndarray, end: np.ndarray, length: float, collider: Collider) -> np.ndarray:
    """A path (24, 3) that goes on from `end` (3,) and falls, kept out of the person."""
    path = np.empty((24, 3))
    heading, here = (end - before) / max(float(np.linalg.norm(end - before)), 1e-9), end
    for k in range(24):
        heading = heading + np.array([0.0, 0.0, -0.5])
        heading /= np.linalg.norm(heading)
        here = collider.push_out((here + heading * length / 24)[None], ROW_WIDTH)[0]
        path[k] = here
    return path
