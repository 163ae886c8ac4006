"""Lids lie on their eyes: expressions and odd faces push them in, this puts them back."""

from __future__ import annotations

import numpy as np

_OUTSIDE = (1.03, 1.80)  # of the eye's radius: which of the template's points are lids and cheek
_CLEAR = 1.045  # of the radius: how near those may come


def clear_eyes(
    vertices: np.ndarray, npos: np.ndarray, eyes: list[np.ndarray], skin: np.ndarray
) -> np.ndarray:
    """Vertices (N, 3), m, with the outsides of the lids moved out of the eyeballs.

    npos (N, 3) is the template; eyes holds the vertex indices of the left and right ball, skin the
    indices that may move.
    """
    out = vertices.copy()
    for ball in eyes:
        rest = npos[skin] - npos[ball].mean(axis=0)
        size = np.linalg.norm(npos[ball] - npos[ball].mean(axis=0), axis=1).mean()
        reach = np.linalg.norm(rest, axis=1) / size
        lid = skin[(reach > _OUTSIDE[0]) & (reach < _OUTSIDE[1]) & (rest[:, 2] > 0.35 * size)]
        centre = vertices[ball].mean(axis=0)
        radius = np.linalg.norm(vertices[ball] - centre, axis=1).mean()
        gap = vertices[lid] - centre
        length = np.linalg.norm(gap, axis=1, keepdims=True)
        out[lid] = centre + gap * np.maximum(1.0, _CLEAR * radius / length)
    return out
