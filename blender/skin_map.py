"""The face's fine detail as one picture over the template's front: wrinkles, spots, make-up, lips.

Vertices stand 3 mm apart, a wrinkle is 1 mm wide: so what is fine is drawn in a picture that is
laid on the face from the front, over the template's x and y. Its colours multiply the skin's, its
fourth channel is a height. The lines of an old face are the same for all and remembered; a person
has its own strengths, shifts, spots and noise.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from blender.hair_mask import brow_density, smoothstep
from blender.skin_makeup import blend, make_up
from blender.spec_types import AvatarSpec, linear
from blender.streams import generator

LEFT, BOTTOM = -8.64, -18.0  # cm on the template, the picture's corner
STEP = 0.045  # cm a pixel
WIDTH, HEIGHT = 384, 608  # pixels: 17.3 cm by 27.4 cm
_HALF = WIDTH // 2

# Lines of the right half, cm: points x, y. Each layer also has the width of its grooves, cm.
_LINES: dict[str, tuple[float, list[list[tuple[float, float]]]]] = {
    "forehead": (0.13, [
        [(0.0, 3.75), (1.2, 3.85), (2.4, 3.95), (3.4, 3.7)],
        [(0.0, 4.45), (1.5, 4.6), (3.0, 4.65), (4.2, 4.25)],
        [(0.0, 5.2), (1.6, 5.35), (3.2, 5.35), (4.3, 4.9)],
        [(0.0, 5.95), (1.4, 6.05), (2.8, 6.0)],
    ]),
    "frown": (0.12, [[(0.42, 1.5), (0.48, 2.2), (0.62, 3.0)], [(0.0, 1.15), (0.5, 1.05)]]),
    "crow": (0.09, [
        [(4.85, 0.45), (5.5, 0.95), (6.15, 1.6)], [(4.95, 0.15), (5.7, 0.35), (6.5, 0.65)],
        [(4.9, -0.2), (5.6, -0.35), (6.4, -0.45)], [(4.75, -0.55), (5.4, -0.95), (6.0, -1.4)],
    ]),
    "under eye": (0.13, [
        [(1.75, -0.75), (2.2, -1.25), (3.0, -1.65), (3.9, -1.5), (4.6, -0.95)],
        [(1.85, -0.6), (2.5, -0.95), (3.3, -1.15), (4.1, -0.95)],
        [(1.6, -1.0), (2.1, -1.8), (2.8, -2.4), (3.5, -2.7)],
    ]),
    "smile": (0.20, [[(1.75, -3.7), (2.3, -4.5), (2.85, -5.6), (3.2, -6.7), (3.25, -7.5)]]),
    "sad": (0.16, [[(2.65, -7.55), (2.85, -8.4), (2.7, -9.4)], [(0.0, -8.95), (0.8, -9.0),
                                                               (1.5, -9.3)]]),
    "lips": (0.06, [
        *([(x, -6.05), (0.96 * x, -6.75)] for x in (0.35, 0.75, 1.15, 1.5, 1.9)),
    ]),
    "cheek": (0.10, [[(4.0, -3.6), (4.7, -4.7), (5.0, -6.0)], [(4.7, -3.2), (5.5, -4.6),
                                                              (5.7, -6.2)],
                     [(3.8, -5.6), (4.1, -6.9), (4.0, -8.2)]]),
    "neck": (0.20, [[(0.0, -13.4), (2.0, -13.2), (4.5, -12.2)], [(0.0, -14.9), (2.2, -14.6),
                                                               (5.0, -13.4)],
                    [(0.0, -16.3), (2.4, -16.0), (5.2, -14.9)]]),
}  # fmt: skip
# Shallower than the others: they look like scratches or like a scowl sooner than like age.
_DEPTHS = {"cheek": 0.32, "sad": 0.70, "frown": 0.60, "lips": 0.80}
# Years at which a layer begins to show and is full.
_AGES = {
    "forehead": (32, 72), "frown": (36, 75), "crow": (35, 72), "under eye": (30, 72),
    "smile": (26, 70), "sad": (44, 78), "lips": (55, 82), "cheek": (56, 84), "neck": (36, 76),
}  # fmt: skip
# Actions that fold the skin for as long as they last.
_FOLDS = {
    "forehead": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "frown": ("browDownLeft", "browDownRight"),
    "crow": ("cheekSquintLeft", "cheekSquintRight", "eyeSquintLeft", "eyeSquintRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight", "noseSneerLeft", "noseSneerRight"),
}


def _axes() -> tuple[np.ndarray, np.ndarray]:
    """x (WIDTH,) and y (HEIGHT,) of the pixel centres, cm."""
    return (np.arange(WIDTH) + 0.5) * STEP + LEFT, (np.arange(HEIGHT) + 0.5) * STEP + BOTTOM


def _distance(x: np.ndarray, y: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance (H, W) to a line of points (P, 2), plus how far along its ends it fades, cm."""
    best = np.full((len(y), len(x)), 9.0)
    for start, end in pairwise(line):
        along = end - start
        t = (x[None] - start[0]) * along[0] + (y[:, None] - start[1]) * along[1]
        t = np.clip(t / (along @ along), 0.0, 1.0)
        gap = np.hypot(x[None] - start[0] - along[0] * t, y[:, None] - start[1] - along[1] * t)
        best = np.minimum(best, gap)
    return best


def _curve(points: list[tuple[float, float]]) -> np.ndarray:
    """A denser line through the points, rounded."""
    raw = np.array(points)
    t = np.linspace(0, len(raw) - 1, 4 * (len(raw) - 1) + 1)
    dense = np.stack([np.interp(t, np.arange(len(raw)), raw[:, k]) for k in (0, 1)], axis=1)
    inner = dense.copy()
    inner[1:-1] = (dense[:-2] + 2 * dense[1:-1] + dense[2:]) / 4
    return inner


@lru_cache(maxsize=1)
def _layers() -> dict[str, np.ndarray]:
    """Depth of every layer's grooves on the right half (HEIGHT, _HALF), about -0.3 to 1."""
    x, y = _axes()
    x = x[_HALF:]
    out = {}
    for name, (width, lines) in _LINES.items():
        depth = np.zeros((HEIGHT, _HALF))
        for points in lines:
            line = _curve(points)
            rows = (y > line[:, 1].min() - 1.2) & (y < line[:, 1].max() + 1.2)
            gap = _distance(x, y[rows], line)
            groove = 0.7 * np.exp(-((gap / width) ** 2)) + 0.3 * np.exp(-((gap / width / 2.2) ** 2))
            swell = 0.30 * np.exp(-(((gap - 2.2 * width) / (1.3 * width)) ** 2))
            depth[rows] += groove - swell
        out[name] = depth * _DEPTHS.get(name, 1.0)
    return out


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """Unit noise (3, HEIGHT, WIDTH): blotches of 7 mm, mottling of 2 mm, pores of 1 mm."""
    rng = generator(0, "skin noise")
    white = rng.normal(size=(3, HEIGHT, WIDTH))
    fields = [
        gaussian_filter(w, s / STEP, mode="wrap")
        for w, s in zip(white, (0.35, 0.10, 0.045), strict=True)
    ]
    return np.stack([f / f.std() for f in fields]).astype(np.float32)


def wrinkle_weights(spec: AvatarSpec) -> dict[str, float]:
    """How deep every layer of wrinkles is for a person, 0 .. about 1.3: by years and expression."""
    rng = generator(spec.seed, "wrinkles")
    years = float(np.interp(spec.identity.age, [1 / 3, 2 / 3, 1.0], [11, 25, 85]))
    actions = dict(spec.expression.actions)
    out = {}
    for name, (begin, full) in _AGES.items():
        own = float(rng.uniform(0.65, 1.35))
        age = float(np.clip((years - begin) / (full - begin), 0.0, 1.0)) ** 1.2
        fold = max((actions.get(unit, 0.0) for unit in _FOLDS.get(name, ())), default=0.0)
        ready = float(np.interp(years, [16, 50], [0.12, 0.55]))
        out[name] = spec.skin.wrinkles * own * age + fold * ready
    return out


def _wrinkles(spec: AvatarSpec) -> np.ndarray:
    """Depth of all grooves (HEIGHT, WIDTH)."""
    rng = generator(spec.seed, "wrinkle places")
    weights = wrinkle_weights(spec)
    halves = []
    for _ in range(2):
        half = np.zeros((HEIGHT, _HALF))
        for name, layer in _layers().items():
            strength = weights[name] * float(rng.uniform(0.85, 1.15))
            up = int(rng.integers(-3, 4)) if name not in ("lips", "under eye", "smile") else 0
            if strength > 0.02:
                half += strength * np.roll(layer, up, axis=0)
        halves.append(half)
    depth = np.concatenate([halves[0][:, ::-1], halves[1]], axis=1)
    # A broken line reads as skin, an even one as a drawing.
    return depth * np.clip(0.85 + 0.38 * _placed_noise(rng, 0), 0.1, 1.5)


def _placed_noise(rng: np.random.Generator, index: int) -> np.ndarray:
    """One of the noise fields, rolled to a place of this person's."""
    down, across = (int(n) for n in rng.integers(0, (HEIGHT, WIDTH)))
    return np.roll(_noise()[index], (down, across), axis=(0, 1))


def _stamp(field: np.ndarray, centres: np.ndarray, radii: np.ndarray, strength: np.ndarray) -> None:
    """Max soft round spots at centres (M, 2: x, y cm) into field (HEIGHT, WIDTH)."""
    reach = int(np.ceil(2.2 * radii.max() / STEP)) if len(radii) else 0
    grid = np.arange(-reach, reach + 1)
    place = (centres - (LEFT, BOTTOM)) / STEP - 0.5
    column = np.rint(place[:, 0]).astype(int)[:, None, None] + grid[None, None, :]
    row = np.rint(place[:, 1]).astype(int)[:, None, None] + grid[None, :, None]
    gap = np.hypot(column - place[:, 0, None, None], row - place[:, 1, None, None]) * STEP
    value = strength[:, None, None] * np.exp(-((gap / radii[:, None, None]) ** 4))
    column, row = np.broadcast_arrays(column, row)
    inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    np.maximum.at(field, (row[inside], column[inside]), value[inside])


def spots(spec: AvatarSpec) -> tuple[np.ndarray, np.ndarray]:
    """Freckles with age spots, and moles: two fields (HEIGHT, WIDTH) in [0, 1]."""
    rng = generator(spec.seed, "spots")
    light, dark = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    amount = spec.skin.freckles
    count = int(330 * amount)
    if count:
        place = np.stack([rng.normal(0, 3.1, count), rng.normal(-2.3, 1.7, count)], axis=1)
        stray = rng.random(count) < 0.2
        place[stray] = rng.uniform((-5.5, -10), (5.5, 6), (int(stray.sum()), 2))
        size = rng.uniform(0.04, 0.095, count) * (0.8 + 0.5 * amount)
        _stamp(light, place, size, rng.uniform(0.15, 0.65, count) * (0.5 + 0.5 * amount))
    count = int(16 * spec.skin.age_spots)
    if count:
        place = rng.uniform((-6.0, -6.0), (6.0, 6.5), (count, 2))
        place[:, 0] = np.where(np.abs(place[:, 0]) < 2, place[:, 0] * 2.5, place[:, 0])
        _stamp(light, place, rng.uniform(0.12, 0.32, count), rng.uniform(0.2, 0.6, count))
    count = round(5 * spec.skin.moles)
    place = rng.uniform((-5.5, -10.0), (5.5, 5.5), (count, 2))
    across = np.abs(place[:, 0])
    place = place[
        (np.hypot(across / 3.2, (place[:, 1] + 7.2) / 1.6) > 1)
        & (across > 1.0)
        & (np.hypot((across - 3.1) / 2.2, place[:, 1] / 1.5) > 1)
    ]  # lips, nose, eyes
    if len(place):
        size, strength = rng.uniform((0.07, 0.6), (0.14, 0.95), (len(place), 2)).T
        _stamp(dark, place, size, strength)
    return light, dark


def _lip_lines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fine upright folds of the lips (HEIGHT, WIDTH)."""
    ax = np.abs(x)[None]
    inside = smoothstep(1.05, 0.75, np.hypot(ax / 2.4, (y[:, None] + 7.3) / 0.95))
    fan = x[None] * (1 + 0.05 * (y[:, None] + 7.3)) + 0.05 * np.sin(3.1 * y[:, None])
    return inside * (0.5 + 0.5 * np.cos(2 * np.pi * fan / 0.21 + 1.5 * np.sin(2.3 * x[None]))) ** 3


@lru_cache(maxsize=1)
def _fixed() -> tuple[np.ndarray, np.ndarray]:
    """Lip folds and the frame (HEIGHT, WIDTH) that fades the picture out at its borders."""
    x, y = _axes()
    frame = smoothstep(8.6, 7.4, np.abs(x))[None] * smoothstep(-17.9, -16.6, y)[:, None]
    return _lip_lines(x, y), frame * smoothstep(9.3, 8.0, y)[:, None]


def skin_picture(spec: AvatarSpec) -> np.ndarray:
    """(HEIGHT, WIDTH, 4) float32, first row at the chin's end: linear tint and height.

    The tint multiplies the skin's colour, 1 leaves it; the height is 0.5 where nothing is, and one
    unit is about 1.5 mm.
    """
    rng = generator(spec.seed, "skin noise")
    skin = spec.skin
    depth = _wrinkles(spec)
    blotch, mottle, pores = (_placed_noise(rng, k) for k in range(3))
    tint = np.ones((HEIGHT, WIDTH, 3), np.float32)
    # Blood varies in green and blue, melanin in all three.
    blood = (0.014 + 0.022 * skin.redness) * blotch + 0.012 * mottle
    melanin = 0.014 * mottle + 0.010 * pores
    tint *= np.exp(-blood[..., None] * (0.15, 1.0, 0.85) - melanin[..., None] * (0.7, 1.0, 1.2))
    shade = np.clip(depth, 0.0, 1.4)
    tint *= np.exp(-shade[..., None] * np.array([0.17, 0.30, 0.32]))
    light, dark = spots(spec)
    if light.any():
        tint *= np.exp(-light[..., None] * (0.35, 0.72, 1.0))
    if dark.any():
        tint *= np.exp(-dark[..., None] * (0.95, 1.35, 1.5))
    x, y = _axes()
    make_up(skin, tint, x, y)
    rows = (y > 0.8) & (y < 3.6)
    grid = np.stack(np.broadcast_arrays(x[None], y[rows][:, None], 14.0), axis=-1)
    brows = brow_density(grid.reshape(-1, 3), spec.brows.thickness, spec.brows.arch).reshape(
        grid.shape[:2]
    )
    brow_rgb = np.array(linear(spec.brows.rgb)) / np.array(linear(skin.rgb))
    blend(tint, rows, brows * 0.42, 0.3 + 0.7 * brow_rgb)
    folds, frame = _fixed()
    height = -0.36 * depth - 0.10 * folds + (0.030 + 0.015 * skin.roughness) * pores + 0.2 * dark
    out = np.empty((HEIGHT, WIDTH, 4), np.float32)
    out[..., :3] = 1 + (tint - 1) * frame[..., None]
    out[..., 3] = 0.5 + height * frame
    return out
