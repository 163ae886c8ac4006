"""Spectacle frames as numbers, and the outlines of their lenses (centimetres)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SIDES = 72  # points of an outline


@dataclass(frozen=True)
class Frame:
    """The front of a pair of glasses, drawn for eyes 6.1 cm apart."""

    half_width: float  # cm, of a lens
    half_height: float  # cm
    corners: float  # 2 an ellipse, more is squarer
    rim: float  # cm, width of the rim
    depth: float  # cm, front to back
    metal: bool  # wire and nose pads on arms, rather than acetate
    lift: float = 0.0  # cm that the outer side is drawn up
    taper: float = 0.0  # how much wider the top is than the bottom, as a share
    droop: float = 0.0  # cm that the bottom is drawn outwards
    drop: float = 0.15  # cm, middle of the lens below the pupil
    temple: float = 0.40  # cm, height of the temples
    hinge: float = 0.40  # height of the temples' roots as a share of the half height
    bars: int = 1  # bridges
    brow: bool = False  # a thick bar over a thin rim
    rimless: bool = False


_ACETATE = Frame(2.5, 1.95, 3.3, 0.36, 0.34, False, taper=0.05, lift=0.08, hinge=0.55)
_METAL = Frame(2.35, 2.3, 2.0, 0.12, 0.13, True, temple=0.15)

FRAMES: dict[str, Frame] = {
    "round": _METAL,
    "oval": replace(_METAL, half_width=2.45, half_height=1.6, corners=2.3, hinge=0.3),
    "rectangular": replace(_ACETATE, half_width=2.65, half_height=1.45, corners=5.5, rim=0.26,
                           depth=0.26, temple=0.34),
    "square": _ACETATE,
    "aviator": replace(_METAL, half_width=2.65, half_height=2.25, corners=2.4, taper=0.10,
                       droop=0.34, drop=0.35, bars=2, hinge=0.55),
    "cat-eye": replace(_ACETATE, half_width=2.5, half_height=1.6, corners=2.4, taper=0.13,
                       lift=1.0, droop=-0.12, rim=0.30, hinge=0.60),
    "browline": replace(_METAL, half_width=2.5, half_height=1.85, corners=2.9, taper=0.07,
                        rim=0.10, temple=0.40, hinge=0.72, brow=True),
    "rimless": replace(_METAL, half_width=2.5, half_height=1.5, corners=3.2, rim=0.05, depth=0.05,
                       temple=0.14, hinge=0.35, rimless=True),
    "round acetate": replace(_ACETATE, half_width=2.35, half_height=2.2, corners=2.1, taper=0.0,
                             lift=0.0, rim=0.32),
    "wayfarer": replace(_ACETATE, half_width=2.7, half_height=2.0, corners=3.6, taper=0.13,
                        lift=0.40, rim=0.42, temple=0.6, hinge=0.62),
}  # fmt: skip


def outline(frame: Frame) -> np.ndarray:
    """The lens's edge (SIDES, 2) cm about its middle: outwards, upwards; counter-clockwise."""
    turn = np.arange(SIDES) * (2 * np.pi / SIDES)
    c, s = np.cos(turn), np.sin(turn)
    u = np.sign(c) * np.abs(c) ** (2 / frame.corners)
    v = np.sign(s) * np.abs(s) ** (2 / frame.corners)
    wide = u * (1.0 + frame.taper * v)
    up = v * frame.half_height + frame.lift * np.maximum(u, 0.0) ** 2 * (0.65 + 0.35 * v)
    return np.stack([wide * frame.half_width - frame.droop * v, up], axis=1)
