"""Folds, seams and pads of worn cloth: how far it stands off from where it would lie flat."""

from __future__ import annotations

import numpy as np

from blender.clothing_panels import seams
from blender.hair_mask import smoothstep

_ARMPIT = {"front": (15.0, -24.5), "back": (14.6, -24.0)}  # cm, x and y of the fold's root
_REACH = 15.0  # cm that folds run from the armpit


def _sway(npos: np.ndarray, scale: float, phase: np.ndarray) -> np.ndarray:
    """A smooth wobble (N,) in about [-1, 1] with waves about `scale` cm long."""
    x, y, z = (npos * (2 * np.pi / scale)).T
    a = np.sin(x + 0.6 * y + phase[0] + 1.2 * np.sin(0.5 * y + phase[1]))
    return 0.5 * (a + np.sin(0.8 * y - 0.5 * x + 0.6 * z + phase[2]))


def _crease(wave: np.ndarray) -> np.ndarray:
    """A fold's section from a phase in turns: a rounded crest, a narrow valley, [0, 1]."""
    return 1.0 - np.abs(np.sin(np.pi * wave)) ** 0.8


def folds(npos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Height (N,) of folds in [0, about 1] at template points (N, 3) cm; rng shifts them."""
    x, y, z = npos.T
    phase = rng.uniform(0.0, 2 * np.pi, 14)
    turns = phase / (2 * np.pi)
    # The two sides fold differently.
    bent = npos + 1.1 * _sway(npos, 12.0, phase[3:6])[:, None]
    total = np.zeros(len(npos))
    # Rays from the armpits up to the shoulder and in over the chest.
    for name, (px, py) in _ARMPIT.items():
        half = smoothstep(-1.0, 2.5, z - 0.4) if name == "front" else smoothstep(1.0, -2.0, z - 0.4)
        dx, dy = np.abs(bent[:, 0]) - px, bent[:, 1] - py
        far = np.hypot(dx, dy)
        turn = np.arctan2(dy, -dx)
        rays = _crease(turn * 1.35 + np.where(x > 0, turns[0], turns[1]) + 0.03 * far)
        reach = smoothstep(0.3, 3.0, far) * smoothstep(_REACH, 4.0, far)
        total += 1.0 * half * reach * rays * smoothstep(-1.5, 0.0, turn)
    # Rings and slanting drags on the sleeves.
    along = ((np.abs(x) - 16.0) - (y + 16.0)) * np.sqrt(0.5)
    slant = along + 0.6 * z + 1.4 * _sway(npos, 10.0, phase[6:9])
    ring = _crease(slant / 3.4 + np.where(x > 0, turns[9], turns[10]))
    inner = smoothstep(5.0, -5.0, ((np.abs(x) - 17.0) + (y + 17.0)) * np.sqrt(0.5))
    total += 0.9 * smoothstep(0.5, 3.0, along - 0.5) * ring * (0.35 + 0.65 * inner)
    # The cloth sags between the shoulders in a few shallow bows.
    chest = smoothstep(15.5, 11.0, np.abs(x))
    bow = bent[:, 1] - 0.035 * bent[:, 0] ** 2 + 0.3 * bent[:, 0] * np.sin(phase[12])
    total += 0.45 * chest * _crease(bow / 5.4 + turns[13]) * smoothstep(-16.0, -19.0, y)
    wide = 0.5 + 0.5 * _sway(npos, 17.0, phase[:3])
    return total * (0.45 + 0.55 * wide)


def tailoring(npos: np.ndarray, groove: float, pad: float) -> np.ndarray:
    """Height (N,) in m that sewing adds: a groove at the sleeve's seam, a step, a shoulder pad.

    groove and pad are metres.
    """
    past, ridge = seams(npos)
    line = np.exp(-((past / 0.55) ** 2))
    over = np.exp(-((ridge / 0.5) ** 2)) * (past < 0.0)
    crown = smoothstep(-5.5, -0.6, past) * smoothstep(0.9, -0.2, past)
    crown = crown * smoothstep(5.5, 1.0, np.abs(ridge - 0.6))
    roll = np.exp(-(((past - 1.3) / 0.8) ** 2))
    return groove * (0.7 * roll - line - 0.25 * over) + pad * crown
