"""Necklines, bands and seams as level sets of the neutral template position (numpy only).

`npos` (N, 3) is in centimetres: x right, y up, z out of the face, origin at eye height. Distances
are centimetres too, positive on the fabric.
"""

from __future__ import annotations

import numpy as np

# Height of the neckline's tilted plane at the nape (z = -3) and at the throat (z = 7.5), cm.
_PLANES = {
    "tshirt": (-12.9, -17.4),
    "vneck": (-12.9, -14.6),
    "sweater": (-12.4, -16.0),
    "turtleneck": (-9.8, -12.6),
    "hoodie": (-12.6, -17.6),
}
_V_POINT = -25.0  # cm, how deep a V reaches
_V_SLOPE = 1.65
_RIDGE = 0.4  # cm, z of the shoulder seam
_WIDTH = 8.4  # cm, half the widest opening
_ROUND = 6.0  # cm, radius of the neckline's corners


def neckline(npos: np.ndarray, garment: str) -> np.ndarray:
    """Distance (N,) below the neckline: a tilted plane, rounded towards the sides of the neck."""
    back, front = _PLANES[garment]
    x, y, z = npos.T
    t = np.clip((z + 3.0) / 10.5, -0.3, 1.3)
    plane = (back + (front - back) * t - y) * 10.5 / np.hypot(10.5, front - back)
    down = np.maximum(plane + _ROUND, 0.0)
    aside = np.maximum(np.abs(x) - (_WIDTH - _ROUND), 0.0)
    out = np.hypot(down, aside) - _ROUND
    if garment == "vneck":
        v = (_V_POINT + _V_SLOPE * np.abs(x) - y) / np.hypot(1.0, _V_SLOPE)
        out = np.where(z > _RIDGE, np.minimum(out, v), out)
    return out


def seams(npos: np.ndarray) -> np.ndarray:
    """Distance (N,) from the nearest seam: sleeve set-ins, then the shoulders' ridge."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    sleeve = x - _seam_x(y)
    ridge = np.where((sleeve < 0) & (y > -20.0), np.abs(z - _RIDGE), 9.0)
    return np.minimum(np.abs(sleeve), ridge)


def _seam_x(y: np.ndarray) -> np.ndarray:
    """Where the sleeve is set in, cm from the middle, at height y."""
    return 16.4 - 0.012 * (y + 25.0) ** 2


def weave(npos: np.ndarray) -> np.ndarray:
    """Coordinates on the cloth (N, 3), cm: across, down, and round the neck (for ribs).

    Patterns made of the first two keep their size on the flat of the shoulders, where height alone
    hardly changes, and turn with the arm on the sleeves; they break at the seams, as sewn cloth does.
    """
    x, y, z = npos.T
    side = np.abs(x)
    ramp = np.clip((y + 21.0) / 5.0, 0.0, 1.0)
    ramp = ramp * ramp * (3 - 2 * ramp)
    depth = np.where(z > _RIDGE, 7.0 - z, z + 5.0)
    down = -y - 0.8 * ramp * np.maximum(depth, 0.0)
    along = ((side - 16.0) - (y + 16.0)) * np.sqrt(0.5)
    round_arm = 5.0 * np.arctan2(z - 0.5, (y + 17.0) + (side - 17.0))
    sleeve = side > _seam_x(y)
    across = np.where(sleeve, round_arm, x)
    ribs = np.arctan2(x, z - 2.0) * 6.0
    return np.stack([across, np.where(sleeve, along, down), ribs], axis=1)
