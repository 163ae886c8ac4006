"""What is wound or tied round the head: headbands, bandanas, turbans; and headphones."""

from __future__ import annotations

import bpy
import numpy as np

from blender.accessory_cloth import cotton
from blender.accessory_dome import TURNS, Dome, dome_of, rings
from blender.accessory_head import Head
from blender.accessory_materials import acetate, metal
from blender.accessory_shapes import (
    Shape,
    ellipsoid,
    grid_quads,
    merge,
    rounded,
    shape_object,
    spline,
    sweep,
    tube,
    unit,
)
from blender.hat_cover import HEADPHONES_GAP, SEATS
from blender.labels import LABELS
from blender.spec_accessories import METALS, Accessories

WRAPS = ("headband", "bandana", "turban")
_EAR = (7.45, -1.9, 5.0)  # cm, template point in the middle of the ear


def _crease(phase: np.ndarray) -> np.ndarray:
    """Round folds with sharp valleys between, in [0, 1], period 1."""
    return np.sqrt(np.abs(np.sin(np.pi * phase)))


def _headband(dome: Dome) -> Shape:
    """A soft band with a twist in front."""
    turn = np.linspace(0, 2 * np.pi, 25)[:, None]
    ahead = np.exp(-((((dome.phi + np.pi) % (2 * np.pi) - np.pi) / 0.22) ** 2))
    half = 1.55 * (1 - 0.42 * ahead)
    middle = 1.75 + 0 * ahead
    height = middle + half * np.cos(turn)
    fold = 0.10 * _crease(1.6 * np.cos(turn) + 0.8 + 0.25 * np.sin(dome.phi * 2))
    thick = 0.16 + 0.42 * ahead * (np.sin(turn) > 0)
    out = 0.30 + thick * np.sin(turn) + fold * (np.sin(turn) > 0)
    reach = dome.wide.mean()
    share = 1.0 - height / reach / (np.pi / 2)
    return rings(dome.over(share, out))


def _bandana(dome: Dome) -> list[Shape]:
    """A tight cloth over the crown, knotted behind."""
    share = np.concatenate([np.linspace(0, 0.97, 26), [1.0, 1.005, 0.99, 0.95]])
    offset = np.concatenate([np.full(26, 0.42), [0.44, 0.34, 0.24, 0.16]])[:, None]
    back = ((1 - np.cos(dome.phi)) / 2) ** 6
    pull = _crease(2.2 * share[:, None] * 3 + 1.5 * np.abs(np.sin(dome.phi))) * back
    cap = rings(
        dome.over(share, offset + 0.16 * pull * np.sin(np.pi * np.minimum(share, 1))[:, None])
    )
    nape = dome.over(np.array([0.97]), np.full(1, 0.9))[0, TURNS // 2]
    knot = ellipsoid(nape, (1.0, 0.75, 0.65), dome.axes)
    parts = [Shape(knot.points, knot.quads, _plain(knot))]
    for side in (-1.0, 1.0):
        for reach, low in ((1.9, 4.6), (1.1, 5.4)):
            knots = nape + np.array([[0, 0, 0], [side * 0.9, -0.4, -0.55],
                                     [side * reach, -0.55 * low, -0.8],
                                     [side * reach * 1.15, -low, -0.5]])  # fmt: skip
            t = np.linspace(0, 1, 12)
            size = np.stack([0.6 + 0 * t, np.interp(t, [0, 0.15, 0.8, 1], [0.4, 0.8, 1.3, 0.5])], 1)
            path = spline(knots, 12)
            path = dome.head.push(path, 0.35)
            tail = sweep(path, rounded(0.25, 1.3, 3.0), np.array([side, 0.25, 0.0]), scale=size)
            parts.append(Shape(tail.points, tail.quads, _plain(tail)))
    return [cap, merge(parts)]


def _plain(shape: Shape) -> dict[str, np.ndarray]:
    return {"turn": np.tile([1.0, 0.0, 0.0], (len(shape.points), 1))}


def _turban(dome: Dome) -> Shape:
    """Lengths of cloth wound round, crossing in a V over the forehead."""
    share = np.concatenate([np.linspace(0, 1.0, 60), [1.03, 1.02, 0.98]])
    body = np.interp(share, [0, 0.2, 0.5, 0.8, 1.0, 1.03], [0.9, 1.2, 1.9, 2.0, 1.1, 0.45])
    body[-2:] = (0.25, 0.15)
    around = np.abs((dome.phi + np.pi) % (2 * np.pi) - np.pi) / np.pi  # 0 front .. 1 back
    left = np.where(np.sin(dome.phi) >= 0, 0.0, 0.5)
    wave = 5.2 * share[:, None] + 2.3 * np.sqrt(around + 0.02) + left * np.exp(-around * 3)
    depth = np.clip((1.03 - share) / 0.08, 0, 1) * np.clip(share / 0.15, 0, 1)
    fold = 0.50 * _crease(wave) * depth[:, None]
    front = 0.5 * np.exp(-((around / 0.5) ** 2)) * np.sin(np.pi * np.minimum(share, 1))[:, None]
    return rings(dome.over(share, body[:, None] + fold + front - 0.25))


def build_wrap(worn: Accessories, head: Head) -> list[bpy.types.Object]:
    """The objects of one of WRAPS."""
    dome = dome_of(head, SEATS[worn.headwear])
    rgb = worn.headwear_rgb
    if worn.headwear == "headband":
        parts = [(_headband(dome), cotton(rgb))]
    elif worn.headwear == "bandana":
        cloth = cotton(rgb, worn.headwear_second_rgb)
        parts = [(p, cloth) for p in _bandana(dome)]
    else:
        parts = [(_turban(dome), cotton(rgb))]
    label = LABELS["headwear"]
    return [shape_object("headwear", p, head.frame, m, label) for p, m in parts]


def _ring(centre: np.ndarray, axes: np.ndarray, profile: np.ndarray) -> Shape:
    """A solid of revolution: profile (P, 2) of radius and height along axes[:, 2]."""
    turn = np.arange(36) * (2 * np.pi / 36)
    flat = np.stack([np.cos(turn), 1.12 * np.sin(turn), 0 * turn], axis=1)
    points = profile[:, None, :1] * flat + profile[:, None, 1:] * [0.0, 0.0, 1.0]
    return Shape(points.reshape(-1, 3) @ axes.T + centre, grid_quads(len(profile), 36, wrap=True))


def build_headphones(worn: Accessories, head: Head) -> list[bpy.types.Object]:
    """Cushions round the ears, cups over them, a padded band over the crown."""
    soft, hard, shiny = [], [], []
    ends = []
    for side in (-1.0, 1.0):
        ear = head.landmark((side * _EAR[0], *_EAR[1:]))
        middle = np.array([side * (abs(ear[0]) + 0.15), ear[1] + 0.15, ear[2] - 0.15])
        out = unit(np.array([side, 0.05, 0.12]))
        up = unit(np.array([0.0, 1.0, 0.0]) - 0.05 * out)
        axes = np.stack([np.cross(up, out), up, out], axis=1)
        a = np.linspace(0, 2 * np.pi, 17)
        cushion = np.stack([2.75 + 0.85 * np.cos(a), 0.45 + 0.85 * np.sin(a)], axis=1)
        soft.append(_ring(middle, axes, cushion))
        cup = spline(
            np.array([[3.3, 0.9], [3.45, 1.3], [3.25, 2.1], [2.6, 2.6], [1.4, 2.7], [0, 2.7]]), 18
        )
        hard.append(_ring(middle, axes, cup))
        disc = np.array([[1.9, 2.66], [1.95, 2.78], [1.75, 2.82], [0.0, 2.82]])
        shiny.append(_ring(middle, axes, disc))
        ends.append(middle + axes @ np.array([0.0, 3.3, 1.5]))
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 31)
    centre = (ends[0] + ends[1]) / 2
    ray = np.stack([np.sin(angle), np.cos(angle), 0 * angle], axis=1)
    gap = HEADPHONES_GAP * 100 + 0.45
    skin = head.settle(centre + 9.0 * ray, -ray, gap, reach=6.0)
    reach = np.linalg.norm(skin - centre, axis=1)
    near = np.clip((np.abs(angle) - 1.0) / 0.57, 0, 1) ** 2
    reach = reach * (1 - near) + np.linalg.norm(ends[1] - centre) * near
    path = centre + ray * reach[:, None]
    up = np.array([0.0, 0.0, 1.0])
    band = sweep(path + 0.25 * ray, rounded(0.35, 1.9, 4.0, 16), up)
    hard.append(band)
    soft.append(sweep(path[5:-5] - 0.1 * ray[5:-5], rounded(0.75, 2.1, 3.0, 16), up))
    for side, end, last in ((-1.0, ends[0], path[1]), (1.0, ends[1], path[-2])):
        steps = np.array([[side * 0.1, 0.1, 0.0], [side * 0.25, -1.9, 0.0]])
        fork = np.concatenate([last[None], end + steps])
        shiny.append(tube(spline(fork, 8), 0.26))
    dark = acetate(worn.headwear_rgb)
    pad = cotton((0.07, 0.07, 0.075))
    label = LABELS["headphones"]
    made = ((merge(hard), dark), (merge(soft), pad), (merge(shiny), metal(METALS["silver"], 0.35)))
    return [shape_object("headphones", p, head.frame, m, label) for p, m in made]
