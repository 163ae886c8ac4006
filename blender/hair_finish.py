"""The last pass over strands: off the face, out of the person, under the hat, inside the box."""

from __future__ import annotations

import numpy as np

from blender.hair_collide import Collider
from blender.hair_guides import HeadFrame, face_shadow, throat_shadow
from blender.hair_mask import smoothstep
from blender.hair_styles import Style
from blender.hat_cover import HatCover

LOWEST = -0.283  # m about the eyes: strands end above, inside the unit box
_KNEE = np.array([0.190, 0.195, 0.165])  # m from the middle, where squeezing into the box starts
_LIMIT = np.array([0.232, 0.243, 0.194])  # m, never reached
_TOUCH = 0.002  # m that a strand may sink into skin or cloth
_FLARE = 0.006  # m of room gained a centimetre outside the headwear
_WISP = 1.2  # cm below a brim that hair must reach to be seen there


def finish(
    strands: np.ndarray,
    style: Style,
    frame: HeadFrame,
    collider: Collider,
    cover: HatCover | None = None,
) -> np.ndarray:
    """Keep strands (M, P, 3) out of the person and inside the box; drop those on the face."""
    points = strands.shape[1]
    rise = np.minimum(np.arange(points) * 0.001, 0.0016)
    out = collider.push_out(strands, rise[None] - 0.0004)
    if style.lengths[-1][1] > 0.02:
        t = frame.to_template(out)
        shadow = face_shadow(t)
        if style.fringe is not None:
            shadow = shadow * (t[..., 1] < style.fringe - 1.0)
        forbidden = (shadow > 0.5) | (throat_shadow(t) > 0.5)
        out = shorten(out, forbidden.argmax(axis=1), forbidden.any(axis=1))
    if cover is not None:
        hangs = style.cut is not None or style.fringe is not None
        out = flatten(out, cover, frame, collider, _WISP if hangs else np.inf)
    # Blends of guides from both sides may run right through the neck: no push mends those.
    out = squeeze(out[(collider.distance(out[:, 2:]) > -_TOUCH).all(axis=1)])
    return out[(out[..., 2] > LOWEST).all(axis=1)]


def flatten(
    strands: np.ndarray,
    cover: HatCover,
    frame: HeadFrame,
    collider: Collider,
    wisp: float = np.inf,
) -> np.ndarray:
    """Press strands (M, P, 3) under headwear.

    Strands that start there and end less than `wisp` cm outside it are dropped.
    """
    level = cover.level(frame.to_template(strands))
    inside = level > 0
    # What starts under the hat and ends just below its rim would only stick out of it.
    drop = inside[:, 0] & (level.min(axis=1) > -wisp)
    strands, level = strands[~drop], level[~drop]
    distance, outward = collider.query(strands)
    room = 0.75 * cover.gap + _FLARE * np.maximum(-level, 0.0)
    near = smoothstep(-3.0, -1.0, level)  # further down hair is free again
    high = np.maximum(distance, 0.0)
    wanted = high * room / (high + room)
    return strands - (near * np.maximum(distance - wanted, 0.0))[..., None] * outward


def shorten(strands: np.ndarray, first: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """End strands (M, P, 3) before their point `first` (M,) where `forbidden` (M,).

    Strands of which too little would be left are dropped.
    """
    points = strands.shape[1]
    out = strands.copy()
    last = first[forbidden] - 1.0
    at = np.linspace(0.0, 1.0, points)[None] * last[:, None]
    low = np.clip(at.astype(int), 0, points - 2)
    part = (at - low)[..., None]
    cut = strands[forbidden]
    rows = np.arange(len(cut))[:, None]
    out[forbidden] = cut[rows, low] * (1 - part) + cut[rows, low + 1] * part
    return out[~forbidden | (first >= 4)]


def squeeze(points: np.ndarray) -> np.ndarray:
    """Press points (..., 3) softly into the box's sides, back and top; the inside stays put."""
    room = _LIMIT - _KNEE
    beyond = (np.abs(points) > _KNEE).any(axis=-1)
    some = points[beyond]
    size = np.abs(some)
    pressed = np.minimum(size, _KNEE) + room * np.tanh(np.maximum(size - _KNEE, 0.0) / room)
    pressed = np.copysign(pressed, some)
    pressed[:, 2] = np.where(some[:, 2] < 0, some[:, 2], pressed[:, 2])
    out = points.copy()
    out[beyond] = pressed
    return out
