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
        out = np.minimum(out, v + 5.0 * np.maximum(_RIDGE + 1.5 - z, 0.0))  # the front only
    return out


def seams(npos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance past the sleeve's seam (N,), and distance from the shoulder's (N,)."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    sleeve = x - (16.4 - 0.012 * (y + 25.0) ** 2)
    return sleeve, np.abs(z - _RIDGE) + 3.0 * np.maximum(-20.0 - y, 0.0)


def weave(npos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates on the cloth, cm: (across, down, round the neck) (N, 3) for body and sleeves.

    Both are continuous; the shader changes from one to the other at the sleeve's seam. Patterns
    made of the first two keep their size on the flat of the shoulders, where height alone hardly
    changes, and turn with the arm on the sleeves.
    """
    x, y, z = npos.T
    side = np.abs(x)
    ramp = np.clip((y + 21.0) / 5.0, 0.0, 1.0)
    ramp = ramp * ramp * (3 - 2 * ramp)
    down = -y - 0.35 * ramp * np.maximum(6.6 - np.abs(z - _RIDGE), 0.0)
    along = ((side - 16.0) - (y + 16.0)) * np.sqrt(0.5)
    over = ((side - 17.0) + (y + 17.0)) * np.sqrt(0.5)  # up across the arm
    round_arm = 5.5 * np.arctan2(np.abs(z - 0.5), over + 5.0)
    ribs = 6.0 * np.arctan2(side, z - 2.0)
    return np.stack([x, down, ribs], axis=1), np.stack([round_arm, along, ribs], axis=1)
