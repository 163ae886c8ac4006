"""Brows, lashes and beards: strands drawn from the densities in `hair_mask`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender.figure import Figure, face_normals
from blender.hair_collide import Collider
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
    near = np.zeros(len(density), bool)
    near[figure.skin[(density[figure.skin] > 0).any(axis=1)]] = True
    patch = figure.skin[near[figure.skin].any(axis=1)]
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


def brow_strands(
    figure: Figure, rng: np.random.Generator, thickness: float = 1.0, arch: float = 0.0
) -> np.ndarray:
    """Both brows (M, 5, 3), metres: short hairs that lie along the band and turn outwards."""
    rough = smoothstep(1.2, 0.8, np.abs(figure.npos[:, 1] - 2.2) / 1.6) * (figure.npos[:, 2] > 9)
    rough = rough * (np.abs(figure.npos[:, 0]) < 6.6)
    roots, normals, npos = scatter(figure, rough, 1_600_000, rng)
    keep = brow_density(npos, thickness, arch) > rng.random(len(npos))
    roots, normals, npos = roots[keep], normals[keep], npos[keep]
    side = np.where(npos[:, 0] > 0, 1.0, -1.0)
    angle = np.radians(
        np.interp(np.abs(npos[:, 0]), BROW[:, 0], BROW[:, 3]) + rng.normal(0, 11, len(npos))
    )
    flat = np.stack([side * np.cos(angle), np.sin(angle), np.zeros(len(npos))], axis=1)
    comb = flat @ figure.frame.axes.T
    comb = _unit(comb - (comb * normals).sum(axis=1, keepdims=True) * normals)
    lengths = rng.uniform(0.0040, 0.0070, len(npos))
    start = _unit(comb + 0.30 * normals)
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


@dataclass(frozen=True)
class Beard:
    """What a beard style asks of its strands."""

    cheek: float  # m, length on cheeks and sideburns
    chin: float  # m, length at the chin
    lip: float  # m, length of the moustache
    per_area: float = 900_000.0  # candidate strands a square metre
    radius: float = 0.00026  # m
    points: int = 6  # a strand
    away: float = 0.9  # how much the moustache is combed to the sides


BEARDS: dict[str, Beard] = {
    "stubble": Beard(0.0016, 0.0018, 0.0016, 700_000.0, 0.00016, 3, 0.3),
    "full": Beard(0.009, 0.019, 0.010),
    "long": Beard(0.018, 0.075, 0.014, 800_000.0, 0.00028, 12),
    "boxed": Beard(0.0060, 0.0085, 0.0070),
    "moustache": Beard(0.0, 0.0, 0.010),
    "handlebar": Beard(0.0, 0.0, 0.016, 1_300_000.0, 0.00026, 8, 1.6),
    "goatee": Beard(0.0, 0.014, 0.0),
    "vandyke": Beard(0.0, 0.018, 0.011, away=1.2, points=8),
    "circle": Beard(0.008, 0.012, 0.009),
    "soulpatch": Beard(0.0, 0.007, 0.0),
    "mutton": Beard(0.014, 0.014, 0.0),
    "chinstrap": Beard(0.0055, 0.0075, 0.0),
}


def beard_strands(
    figure: Figure,
    rng: np.random.Generator,
    style: str,
    length: float = 1.0,
    person: Collider | None = None,
) -> np.ndarray:
    """A beard (M, P, 3), metres; raises ValueError for a style that is not in BEARDS.

    With `person` it lies on the clothes, and nothing grows under them.
    """
    if style not in BEARDS:
        raise ValueError(f"beard {style!r} is unknown; use 'none' or one of {', '.join(BEARDS)}")
    look = BEARDS[style]
    roots, normals, npos = scatter(figure, beard_density(figure.npos), look.per_area, rng)
    density = beard_density(npos, style)
    keep = density > rng.random(len(npos)) * 1.1
    if person is not None:
        keep &= person.distance(roots) > -0.0015
    roots, normals, npos, density = roots[keep], normals[keep], npos[keep], density[keep]
    lip = _lip_share(npos)
    comb = _beard_comb(npos, lip, look) @ figure.frame.axes.T
    comb = _unit(_unit(comb) + rng.normal(0, 0.16, roots.shape))
    if style == "stubble":
        lengths = rng.uniform(0.7, 1.25, len(npos)) * look.chin * length
        return _strands(roots, _unit(normals + 0.6 * comb), _unit(comb + 0.4 * normals), lengths, 3)
    lengths = _beard_lengths(npos, lip, look) * rng.uniform(0.7, 1.1, len(npos)) * length
    lengths = lengths * (0.35 + 0.65 * density)  # shorter towards the outline
    # Hairs of the moustache end above the lips.
    low = (np.maximum(npos[:, 1] + 6.35, 0.0) * 0.008 + 0.0022) / (0.35 + 0.5 / look.away)
    lengths = np.where(lip > 0.5, np.minimum(lengths, low * (1 + np.abs(npos[:, 0]))), lengths)
    end = _unit(comb - 0.15 * normals)
    if style == "handlebar":
        end = _unit(
            end + 1.3 * smoothstep(1.6, 3.0, np.abs(npos[:, 0]))[:, None] * figure.frame.axes[:, 1]
        )
    out = _strands(roots, _unit(0.75 * normals + comb), end, lengths, look.points)
    if person is None:
        return out
    return person.push_out(out, np.minimum(np.arange(look.points) * 0.0006, 0.002)[None])


def _lip_share(npos: np.ndarray) -> np.ndarray:
    """1 where hair belongs to the moustache (N,)."""
    return smoothstep(-7.4, -6.4, npos[:, 1]) * smoothstep(3.6, 2.6, np.abs(npos[:, 0]))


def _beard_lengths(npos: np.ndarray, lip: np.ndarray, look: Beard) -> np.ndarray:
    """Lengths (N,) in metres before chance."""
    x, y = np.abs(npos[:, 0]), npos[:, 1]
    chin = smoothstep(6.4, 1.5, x) * smoothstep(-7.6, -11.0, y)
    if look.cheek == 0:
        chin = np.ones(len(npos))
    side = 1.0 - 0.45 * smoothstep(-7.0, -2.0, y)
    out = look.cheek * side * (1 - chin) + look.chin * chin
    return out * (1 - lip) + look.lip * lip


def _beard_comb(npos: np.ndarray, lip: np.ndarray, look: Beard) -> np.ndarray:
    """Combing directions (N, 3) in head axes: down, the moustache to the sides."""
    side = np.where(npos[:, 0] > 0, 1.0, -1.0)
    under = smoothstep(-10.5, -12.0, npos[:, 1])
    long = look.chin > 0.003
    out = np.zeros_like(npos)
    # Long beards come to a point.
    out[:, 0] = side * look.away * lip - (1 - lip) * (0.05 if long else 0.0) * npos[:, 0]
    out[:, 1] = -1.0 + 0.45 * lip
    out[:, 2] = 0.35 * under + 0.1
    return out
