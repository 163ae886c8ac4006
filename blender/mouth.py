"""Teeth, gums and tongue: single teeth along the jaws' arches, placed by the body's own jaws."""

from __future__ import annotations

from functools import lru_cache

import bpy
import numpy as np

from blender.body import Shaped
from blender.labels import LABELS
from blender.meshes import make_object, subdivide
from blender.skin import plain_material
from blender.spec_types import AvatarSpec
from blender.streams import generator

# The front edge of the arches on the template, cm: x, z from the middle to a molar.
_ARCH = np.array(
    [(0.0, 14.98), (0.45, 14.94), (0.92, 14.76), (1.35, 14.42), (1.72, 13.96), (2.05, 13.35),
     (2.36, 12.55), (2.62, 11.7), (2.78, 10.9)]
)  # fmt: skip
# Crowns of one half from the middle outwards, cm: width, height, thickness.
_UPPER = ((0.84, 1.00, 0.34), (0.65, 0.90, 0.30), (0.72, 0.96, 0.40), (0.66, 0.82, 0.52),
          (0.64, 0.76, 0.56), (0.90, 0.72, 0.70))  # fmt: skip
_LOWER = ((0.54, 0.86, 0.30), (0.58, 0.86, 0.30), (0.66, 0.92, 0.38), (0.66, 0.82, 0.50),
          (0.66, 0.78, 0.54), (0.96, 0.72, 0.70))  # fmt: skip
# Heights of the cutting edges, and how far the lower arch stands behind the upper one, cm.
_UPPER_EDGE, _LOWER_EDGE, _OVERJET = -7.06, -6.98, 0.16
_ROUND, _SQUARE = 0.5, 0.25  # exponents of the crowns' superquadrics
_TURNS, _RINGS = 14, 9
_TIP = (11.2, 13.94)  # cm, z of the template between which the tongue narrows to its tip
_POINTED = 0.72  # how much
_FURROW = 0.16  # cm, depth of the tongue's furrow
_GUM, _TONGUE = (0.74, 0.40, 0.39), (0.74, 0.38, 0.38)  # sRGB
_ENAMEL = np.array([0.935, 0.905, 0.840])  # sRGB of young teeth
_YELLOW = np.array([0.86, 0.78, 0.62])


def _power(value: np.ndarray, exponent: float) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** exponent


@lru_cache(maxsize=1)
def _crown() -> tuple[np.ndarray, np.ndarray]:
    """A rounded box about the origin: points (N, 3) in [-1, 1] and quads (F, 4)."""
    turn = np.arange(_TURNS) * (2 * np.pi / _TURNS)
    rise = np.linspace(-np.pi / 2, np.pi / 2, _RINGS)
    around = _power(np.cos(rise), _ROUND)[:, None]
    x = around * _power(np.cos(turn), _SQUARE)
    z = around * _power(np.sin(turn), _ROUND)
    y = np.repeat(_power(np.sin(rise), _ROUND)[:, None], _TURNS, axis=1)
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    first = np.arange(_RINGS - 1)[:, None] * _TURNS + np.arange(_TURNS)
    following = np.arange(_RINGS - 1)[:, None] * _TURNS + (np.arange(_TURNS) + 1) % _TURNS
    quads = np.stack([first, first + _TURNS, following + _TURNS, following], axis=-1)
    return points, quads.reshape(-1, 4)


def _along_arch(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2: x, z) at signed arc lengths from the middle, and outward normals (N, 2)."""
    steps = np.hypot(*np.diff(_ARCH, axis=0).T)
    length = np.concatenate([[0.0], steps.cumsum()])

    def place(s: np.ndarray) -> np.ndarray:
        x = np.interp(np.abs(s), length, _ARCH[:, 0]) * np.sign(s)
        return np.stack([x, np.interp(np.abs(s), length, _ARCH[:, 1])], axis=-1)

    tangent = place(at + 0.2) - place(at - 0.2)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    return place(at), np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)


def crowns(rng: np.random.Generator, upper: bool, crooked: float) -> tuple[np.ndarray, np.ndarray]:
    """All crowns of a jaw in the template frame: points (N, 3) cm and quads (F, 4).

    `crooked` 0 .. 1 turns and shifts the teeth.
    """
    unit, quads = _crown()
    out: list[np.ndarray] = []
    faces = []
    for side in (1.0, -1.0):
        start = 0.0
        for width, height, depth in _UPPER if upper else _LOWER:
            middle = side * (start + width / 2)
            start += width
            shift, lift = rng.normal(0.0, 0.05 * crooked, 2)
            v = unit * (width / 2 * 1.01, height / 2, depth / 2)
            # A crown is narrower and thicker where it leaves the gum.
            gum = unit[:, 1] if upper else -unit[:, 1]
            v = v * np.stack([1 - 0.13 * np.maximum(gum, 0), np.ones_like(gum),
                              1 + 0.22 * gum], axis=1)  # fmt: skip
            place, outward = _along_arch(np.full(len(v), middle) + v[:, 0])
            place = place + outward * (v[:, 2] - depth / 2 + shift)[:, None]
            if not upper:
                place[:, 1] -= _OVERJET
            edge = _UPPER_EDGE + height / 2 if upper else _LOWER_EDGE - height / 2
            rise = 0.045 * middle**2 / 2 if upper else 0.02 * middle**2 / 2
            y = v[:, 1] + edge + rise + lift
            faces.append(quads + len(unit) * len(out))
            out.append(np.stack([place[:, 0], y, place[:, 1]], axis=1))
    return np.concatenate(out), np.concatenate(faces)


def gums(upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """The gum of a jaw in the template frame: a rounded band behind the crowns' roots."""
    at = np.linspace(-4.6, 4.6, 61)
    turn = np.arange(10) * (2 * np.pi / 10)
    place, outward = _along_arch(at)
    side = np.cos(turn)[None, :, None] * 0.30 - 0.24
    ring = place[:, None] + outward[:, None] * side
    if not upper:
        ring[..., 1] -= _OVERJET
    middle = -5.72 if upper else -8.12
    scallop = 0.05 * np.cos(2 * np.pi * at / 0.74) * (1 if upper else -1)
    rise = (0.0225 if upper else 0.01) * at**2
    y = middle + rise[:, None] + np.sin(turn)[None] * 0.52 + scallop[:, None]
    points = np.concatenate([ring[..., :1], y[..., None], ring[..., 1:]], axis=-1).reshape(-1, 3)
    first = np.arange(60)[:, None] * 10 + np.arange(10)
    following = np.arange(60)[:, None] * 10 + (np.arange(10) + 1) % 10
    return points, np.stack([first, following, following + 10, first + 10], -1).reshape(-1, 4)


def _jaw(shaped: Shaped, part: str) -> np.ndarray:
    """The affine map (4, 3) from the template, cm, to this person's jaw, m."""
    used = np.unique(shaped.quads[part])
    source = np.concatenate([shaped.npos[used], np.ones((len(used), 1))], axis=1)
    return np.linalg.lstsq(source, shaped.vertices[used], rcond=None)[0]


def _tongue(shaped: Shaped) -> np.ndarray:
    """The body's vertices (N, 3) m with a tongue that narrows to its tip and has a furrow."""
    out = shaped.vertices.copy()
    used = np.unique(shaped.quads["tongue"])
    x, y, z = shaped.npos[used].T
    right, up, _ = _jaw(shaped, "tongue")[:3]
    near = np.clip((z - _TIP[0]) / (_TIP[1] - _TIP[0]), 0.0, 1.0)
    narrow = np.sqrt(1.0 - _POINTED * near**2) - 1.0
    middle = np.median(y[z > _TIP[0]])
    furrow = _FURROW * np.exp(-((x / 0.45) ** 2)) * (y > middle - 0.3) * (1.0 - 0.6 * near)
    out[used] += (narrow * x)[:, None] * right - furrow[:, None] * up
    return out


def build_mouth(spec: AvatarSpec, shaped: Shaped) -> list[bpy.types.Object]:
    """Teeth, gums and tongue, which move with the jaws."""
    rng = generator(spec.seed, "teeth")
    old = max(0.0, spec.identity.age - 2 / 3) * 3
    stain = float(np.clip(0.15 + 0.55 * old + rng.normal(0.0, 0.15), 0.0, 1.0))
    crooked = float(np.clip(rng.normal(0.25, 0.2), 0.0, 0.8))
    r, g, b = (float(c) for c in _ENAMEL + stain * (_YELLOW - _ENAMEL))
    enamel = plain_material("teeth", (r, g, b), 0.22, coat=0.5, subsurface=0.25, glow=0.16)
    gum = plain_material("gums", _GUM, 0.3, coat=0.5, subsurface=0.3, glow=0.05)
    out = []
    for part in ("teeth_upper", "teeth_lower"):
        upper = part == "teeth_upper"
        jaw = _jaw(shaped, part)
        for name, (points, quads), material in (
            (part, crowns(rng, upper, crooked), enamel),
            (part.replace("teeth", "gums"), gums(upper), gum),
        ):
            placed = np.einsum("ni,ij->nj", points, jaw[:3], optimize=False) + jaw[3]
            made = make_object(name, placed, quads, material=material)
            made.pass_index = LABELS["teeth" if name == part else "mouth"]
            out.append(made)
    points, quads = subdivide(shaped.quads["tongue"], _tongue(shaped))
    soft = plain_material("tongue", _TONGUE, 0.38, coat=0.35, subsurface=0.3, glow=0.05)
    tongue = make_object("tongue", points, quads, material=soft)
    tongue.pass_index = LABELS["tongue"]
    return [*out, tongue]
