"""Brows, lashes and beards: strands drawn from the densities in `hair_mask`."""

from __future__ import annotations

import numpy as np

from blender.figure import Figure, face_normals
from blender.hair_mask import BROW, beard_density, brow_density, smoothstep
from blender.hair_scalp import subdivide

# Roots and tips of the lash strips on the template, cm, +x side, from the outer corner inwards.
_UPPER = np.array([
    [(4.39, 0.04, 13.63), (5.05, 0.12, 13.97)], [(4.37, 0.10, 13.67), (4.88, 0.35, 14.04)],
    [(4.31, 0.16, 13.72), (4.63, 0.53, 14.13)], [(4.22, 0.23, 13.79), (4.38, 0.65, 14.21)],
    [(4.05, 0.30, 13.87), (4.11, 0.73, 14.29)], [(3.79, 0.37, 13.97), (3.81, 0.78, 14.36)],
    [(3.47, 0.43, 14.05), (3.46, 0.78, 14.41)], [(3.11, 0.45, 14.08), (3.07, 0.74, 14.41)],
    [(2.72, 0.37, 14.05), (2.66, 0.61, 14.35)], [(2.37, 0.25, 13.97), (2.32, 0.38, 14.18)],
])  # fmt: skip
_LOWER = np.array([
    [(4.32, -0.09, 13.62), (4.74, -0.27, 13.80)], [(4.27, -0.12, 13.67), (4.55, -0.48, 13.84)],
    [(4.19, -0.19, 13.73), (4.33, -0.64, 13.91)], [(4.05, -0.27, 13.84), (4.06, -0.73, 14.01)],
    [(3.82, -0.38, 13.96), (3.81, -0.79, 14.12)], [(3.48, -0.44, 14.08), (3.49, -0.81, 14.21)],
    [(3.10, -0.46, 14.11), (3.11, -0.80, 14.25)], [(2.75, -0.41, 14.07), (2.74, -0.77, 14.22)],
    [(2.45, -0.37, 13.99), (2.44, -0.69, 14.15)],
])  # fmt: skip


def scatter(
    figure: Figure, density: np.ndarray, per_area: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidate roots where density (N,) is positive: positions, normals, npos, each (M, 3).

    `per_area` candidates a square metre; the caller thins them with the exact density.
    """
    patch = figure.skin[(density[figure.skin] > 0).any(axis=1)]
    patch = figure.skin[np.isin(figure.skin, np.unique(patch)).any(axis=1)]
    points, quads, npos, _ = subdivide(figure.vertices, patch, figure.npos, 1)
    a, b, c, d = (points[quads[:, k]] for k in range(4))
    area = np.linalg.norm(np.cross(c - a, d - b), axis=1) / 2
    count = int(per_area * area.sum())
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum())
    face = np.minimum(face, len(quads) - 1)
    u, v = rng.random((2, count, 1))
    weights = (((1 - u) * (1 - v)), u * (1 - v), u * v, (1 - u) * v)
    place = sum(w * points[quads[face, k]] for k, w in enumerate(weights))
    template = sum(w * npos[quads[face, k]] for k, w in enumerate(weights))
    return np.asarray(place), face_normals(points, quads)[face], np.asarray(template)


def _strands(
    roots: np.ndarray, start: np.ndarray, end: np.ndarray, lengths: np.ndarray, points: int
) -> np.ndarray:
    """Bent strands (M, points, 3) that leave along `start` and turn towards `end`."""
    t = np.linspace(0, 1, points)[None, :, None]
    path = start[:, None] * (t - t * t / 2) + end[:, None] * (t * t / 2)
    return roots[:, None] + path * lengths[:, None, None]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def brow_strands(figure: Figure, rng: np.random.Generator, thickness: float = 1.0) -> np.ndarray:
    """Both brows (M, 5, 3), metres: short hairs that lie along the band and turn outwards."""
    rough = smoothstep(1.2, 0.8, np.abs(figure.npos[:, 1] - 2.1) / 1.6) * (figure.npos[:, 2] > 9)
    rough = rough * (np.abs(figure.npos[:, 0]) < 6.6)
    roots, normals, npos = scatter(figure, rough, 1_600_000, rng)
    keep = brow_density(npos, thickness) > rng.random(len(npos))
    roots, normals, npos = roots[keep], normals[keep], npos[keep]
    side = np.where(npos[:, 0] > 0, 1.0, -1.0)
    angle = np.radians(
        np.interp(np.abs(npos[:, 0]), BROW[:, 0], BROW[:, 3]) + rng.normal(0, 9, len(npos))
    )
    flat = np.stack([side * np.cos(angle), np.sin(angle), np.zeros(len(npos))], axis=1)
    comb = flat @ figure.frame.axes.T
    comb = _unit(comb - (comb * normals).sum(axis=1, keepdims=True) * normals)
    lengths = rng.uniform(0.0045, 0.0075, len(npos))
    start = _unit(comb + 0.45 * normals)
    return _strands(roots, start, _unit(comb - 0.10 * normals), lengths, 5)


def lash_strands(figure: Figure, rng: np.random.Generator, length: float = 1.0) -> np.ndarray:
    """All lashes (M, 5, 3), metres, from the lash strips; they move with the lids."""
    used = figure.lashes
    out = []
    for table, count, size in ((_UPPER, 70, 1.0), (_LOWER, 42, 0.45)):
        for side in (1.0, -1.0):
            target = table * np.array([side, 1.0, 1.0])
            gap = np.linalg.norm(figure.npos[used][None] - target.reshape(-1, 3)[:, None], axis=-1)
            found = figure.vertices[used[gap.argmin(axis=1)]].reshape(-1, 2, 3)
            at = np.sort(rng.random(count)) * (len(found) - 1)
            low = np.minimum(at.astype(int), len(found) - 2)
            frac = (at - low)[:, None, None]
            pair = found[low] * (1 - frac) + found[low + 1] * frac
            reach = (pair[:, 1] - pair[:, 0]) * length * size
            reach = reach * rng.uniform(0.75, 1.1, count)[:, None]
            bend = np.array([0.0, 0.0, -1.0 if table is _UPPER else 0.6])
            t = np.linspace(0, 1, 5)[None, :, None]
            sag = bend * (t * (1 - t)) * 0.35 * np.linalg.norm(reach, axis=1)[:, None, None]
            out.append(pair[:, 0][:, None] + reach[:, None] * t + sag)
    return np.concatenate(out)


def beard_strands(
    figure: Figure, rng: np.random.Generator, style: str, length: float = 1.0
) -> np.ndarray:
    """A beard (M, 5, 3), metres, of style 'stubble' or 'full'; raises ValueError otherwise."""
    if style not in ("stubble", "full"):
        raise ValueError(f"beard {style!r} is unknown; use 'none', 'stubble' or 'full'")
    full = style == "full"
    rough = beard_density(figure.npos)
    roots, normals, npos = scatter(figure, rough, 900_000 if full else 700_000, rng)
    keep = beard_density(npos) > rng.random(len(npos)) * (1.0 if full else 1.15)
    roots, normals, npos = roots[keep], normals[keep], npos[keep]
    comb = _unit(_beard_comb(npos, full) @ figure.frame.axes.T + rng.normal(0, 0.16, roots.shape))
    if not full:
        lengths = rng.uniform(0.0012, 0.0022, len(npos)) * length
        return _strands(roots, _unit(normals + 0.6 * comb), _unit(comb + 0.4 * normals), lengths, 3)
    x, y = np.abs(npos[:, 0]), npos[:, 1]
    chin = smoothstep(6.0, 2.0, x) * smoothstep(-8.0, -11.0, y)
    moustache = smoothstep(-7.4, -6.4, y) * smoothstep(3.4, 2.4, x)
    side = smoothstep(-7.0, -2.0, y)
    lengths = 0.009 + 0.010 * chin - 0.002 * moustache - 0.005 * side * (1 - moustache)
    lengths = lengths * rng.uniform(0.75, 1.1, len(npos)) * length
    edge = 0.35 + 0.65 * np.minimum(beard_density(npos), 1.0)  # shorter towards the outline
    start = _unit(0.75 * normals + comb)
    return _strands(roots, start, _unit(comb - 0.15 * normals), lengths * edge, 6)


def _beard_comb(npos: np.ndarray, full: bool) -> np.ndarray:
    """Combing directions (N, 3) in head axes: down, the moustache to the sides."""
    side = np.where(npos[:, 0] > 0, 1.0, -1.0)
    moustache = smoothstep(-7.4, -6.4, npos[:, 1]) * smoothstep(3.6, 2.6, np.abs(npos[:, 0]))
    under = smoothstep(-10.5, -12.0, npos[:, 1])
    out = np.zeros_like(npos)
    out[:, 0] = side * (0.9 * moustache - (0.15 if full else 0.0))
    out[:, 1] = -1.0 + 0.45 * moustache
    out[:, 2] = 0.35 * under + 0.1
    return out
