"""Seams, and coordinates on the cloth for patterns (numpy only).

`npos` (N, 3) is the neutral template position in centimetres, as in `clothing_cuts`.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from blender.clothing_cuts import RIDGE

# Radius of the template's torso (cm) about the line y = _LOW, z = RIDGE: a row for every 3 cm of
# |x| from 0, a column for every 15 degrees from 30 below the front over the shoulder to the back.
_LOW = -32.0
_RADIUS = np.array(
    [
        (18.8, 16.9, 15.5, 13.9, 13.3, 14.3, 16.0, 19.4, 19.6, 16.7, 11.7, 7.9, 6.1, 5.3, 4.9, 4.9),
        (18.6, 16.8, 15.4, 13.9, 13.5, 14.4, 16.1, 18.9, 19.2, 17.3, 11.9, 8.2, 6.2, 5.3, 4.9, 4.9),
        (17.8, 16.4, 15.1, 13.8, 13.7, 14.6, 16.0, 17.2, 18.2, 17.0, 12.3, 8.7, 6.6, 5.4, 4.8, 4.6),
        (16.2, 15.7, 14.5, 13.5, 13.6, 14.5, 16.0, 16.6, 16.9, 16.1, 12.6, 9.0, 6.7, 5.2, 4.5, 4.1),
        (14.5, 14.0, 13.2, 12.6, 12.9, 14.2, 16.0, 16.5, 16.6, 15.5, 12.0, 8.4, 6.3, 5.0, 4.4, 4.0),
        (13.5, 13.1, 12.6, 12.2, 12.6, 14.0, 15.8, 16.4, 16.3, 15.2, 11.8, 8.2, 6.2, 4.9, 4.3, 3.9),
    ]
)  # fmt: skip
_ANGLES = np.radians(np.arange(-30.0, 196.0, 15.0))


def _lengths() -> np.ndarray:
    """Length along the torso's section (rows as in _RADIUS), cm, 0 at the front at y = _LOW."""
    steps = np.hypot(np.diff(_RADIUS), 0.5 * (_RADIUS[:, 1:] + _RADIUS[:, :-1]) * np.radians(15.0))
    total = np.concatenate([np.zeros((len(_RADIUS), 1)), steps.cumsum(axis=1)], axis=1)
    return total - total[:, 2:3]


_LENGTH = _lengths()
_WHOLE = _LENGTH[:, 14:15]  # to the back at y = _LOW


def seams(npos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (N,) past the sleeve's seam, and in front of the shoulder's, cm."""
    x, y, z = np.abs(npos[:, 0]), npos[:, 1], npos[:, 2]
    return x - (16.4 - 0.012 * (y + 25.0) ** 2), z - RIDGE


def weave(npos: np.ndarray) -> dict[str, np.ndarray]:
    """Coordinates on the cloth, cm: (across, down, round the neck) (N, 3) by panel.

    'weave' is the front, 'weave_back' the back and 'weave_arm' the sleeves; each is smooth past
    its panel, and the shader changes at the seams as a tailor does. On the body `down` is the
    length along the section, so that rows keep their width over the shoulder.
    """
    x, y, z = npos.T
    side = np.abs(x)
    angle = np.arctan2(y - _LOW, z - RIDGE)
    angle = np.where(angle < -0.75 * np.pi, angle + 2 * np.pi, angle)
    column = (angle - _ANGLES[0]) / np.radians(15.0)
    at = np.stack([side / 3.0, column])
    front = map_coordinates(_LENGTH, at, order=1, mode="nearest")
    back = map_coordinates(_WHOLE - _LENGTH, at, order=1, mode="nearest")
    ribs = 6.0 * np.arctan2(side, z - 2.0)
    along = ((side - 16.0) - (y + 16.0)) * np.sqrt(0.5)
    over = ((side - 17.0) + (y + 17.0)) * np.sqrt(0.5)  # up across the arm
    round_arm = 5.5 * np.arctan2(np.abs(z - 0.5), over + 5.0)
    return {
        "weave": np.stack([x, -front, ribs], axis=1),
        "weave_back": np.stack([x, -back, ribs], axis=1),
        "weave_arm": np.stack([round_arm, along, ribs], axis=1),
    }


def _depths() -> np.ndarray:
    """Template z (rows as in _RADIUS) of the chest at every half cm of height above _LOW."""
    angle = np.radians(np.linspace(-10.0, 75.0, 86))
    radius = [np.interp(angle, _ANGLES, row) for row in _RADIUS]
    height = np.arange(0.0, 18.1, 0.5)
    return np.stack(
        [RIDGE + np.interp(height, r * np.sin(angle), r * np.cos(angle)) for r in radius]
    )


_DEPTH = _depths()


def chest_point(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Template points (..., 3) cm on the chest at x and y (...,) cm, y from -32 to the neck."""
    at = np.stack([np.abs(x) / 3.0, (y - _LOW) / 0.5])
    flat = map_coordinates(_DEPTH, at.reshape(2, -1), order=1, mode="nearest")
    return np.stack([x, y, flat.reshape(np.shape(x))], axis=-1)


def over_shoulder(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Template points (..., 3) cm of the torso at x cm and `angle` degrees: 0 in front, 90 up."""
    column = (np.radians(angle) - _ANGLES[0]) / np.radians(15.0)
    radius = map_coordinates(_RADIUS, np.stack([np.abs(x) / 3.0, column]), order=1, mode="nearest")
    turn = np.radians(angle)
    return np.stack([x, _LOW + radius * np.sin(turn), RIDGE + radius * np.cos(turn)], axis=-1)
