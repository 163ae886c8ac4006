"""Earrings, necklaces and piercings."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from blender.accessory_cloth import cotton
from blender.accessory_head import Head
from blender.accessory_materials import gem, metal, pearl
from blender.accessory_shapes import (
    Shape,
    ellipsoid,
    merge,
    resample,
    rounded,
    shape_object,
    sweep,
    tube,
    unit,
)
from blender.clothing_mesh import GarmentMesh
from blender.hair_collide import Collider
from blender.labels import LABELS
from blender.spec_accessories import Accessories

_CLOTH = 0.0035  # m that necklaces lie higher on cloth than on skin
_DEEP, _ASIDE = 0.012, 0.003  # m: how deep in cloth, how far past its edge a necklace is lifted
_TAUT = 8  # rounds of evening out and lifting
_RELIEF = 0.0008  # m, knit and folds over the cloth's mesh
LOBE = (7.50, -3.95, 5.25)  # cm, template point that is pierced
_RADII = {"small hoops": 0.75, "big hoops": 1.9}  # cm
# Template heights (cm) of necklaces at the nape and in front.
_LINES = {"chain": (-12.2, -18.0), "pendant": (-12.2, -19.0), "pearls": (-12.4, -17.0),
          "choker": (-10.9, -12.0)}  # fmt: skip
_ABOVE = {"chain": 0.0012, "pendant": 0.0012, "pearls": 0.0035, "choker": 0.0014}  # m off the skin


def _hoop(hole: np.ndarray, radius: float, thick: float, down: np.ndarray) -> Shape:
    """A ring that hangs from the hole in a plane across the head's side."""
    turn = np.arange(40) * (2 * np.pi / 40)
    ahead = unit(np.array([0.25 * np.sign(hole[0]), 0.0, 1.0]))
    ahead = unit(ahead - (ahead @ down) * down)
    middle = hole + (radius - 0.12) * down
    path = middle + radius * (np.cos(turn)[:, None] * -down + np.sin(turn)[:, None] * ahead)
    return tube(path, thick, closed=True, sides=8)


def _down(head: Head) -> np.ndarray:
    """Where things hang (3,), in the head frame."""
    return head.frame.axes.T @ np.array([0.0, 0.0, -1.0])


def build_earrings(worn: Accessories, head: Head) -> list[bpy.types.Object]:
    """A pair of earrings, hanging straight down in the world."""
    down = _down(head)
    shine, stones = [], []
    for side in (-1.0, 1.0):
        hole = head.landmark((side * LOBE[0], *LOBE[1:]))
        out = unit(np.array([side, -0.05, 0.35]))
        front = hole + 0.10 * out
        if worn.earrings == "studs":
            shine.append(ellipsoid(front, (0.27, 0.27, 0.20)))
            stones.append(ellipsoid(front + 0.16 * out, (0.22, 0.22, 0.18), sides=8))
        elif worn.earrings == "pearls":
            stones.append(ellipsoid(front + 0.22 * out, (0.38, 0.38, 0.38), sides=16))
            shine.append(ellipsoid(front, (0.14, 0.14, 0.14)))
        elif worn.earrings == "drops":
            steps = np.array([0.0, 0.25, 0.6, 0.95])[:, None]
            shine.append(ellipsoid(front, (0.20, 0.20, 0.18)))
            shine.append(tube(front + 0.16 * out + steps * down, 0.05))
            drop = front + 0.16 * out + 1.55 * down
            axes = np.stack([np.cross(down, out), down, out], axis=1)
            stones.append(ellipsoid(drop, (0.34, 0.68, 0.22), axes, sides=16))
            shine.append(ellipsoid(drop - 0.62 * down, (0.16, 0.16, 0.16)))
        else:
            big = worn.earrings == "big hoops"
            ring = _hoop(hole + 0.05 * out, _RADII[worn.earrings], 0.10 if big else 0.11, down)
            shine.append(ring)
    label = LABELS["earrings"]
    polish = metal(worn.metal_rgb, 0.16)
    out_objects = [shape_object("earrings", merge(shine), head.frame, polish, label)]
    if stones:
        stone = pearl() if worn.earrings == "pearls" else gem(worn.stone_rgb)
        out_objects.append(shape_object("earrings", merge(stones), head.frame, stone, label))
    return out_objects


def over_cloth(points: np.ndarray, tree: BVHTree, height: float) -> np.ndarray:
    """Points (N, 3) m near a garment, lifted to `height` m above its outer face.

    Those deeper than `_DEEP` or beyond its edges stay. Colliders are too coarse for this: their
    cells are wider than a collar is thick.
    """
    out = points.copy()
    for index, point in enumerate(points):
        place, normal, _, far = tree.find_nearest(Vector(point), _DEEP)
        if place is None:
            continue
        away = np.array(point) - place
        above = float(away @ normal)
        if above < height and np.sqrt(max(far**2 - above**2, 0.0)) < _ASIDE:
            out[index] += (height - above) * np.array(normal)
    return out


def necklace_line(
    kind: str,
    head: Head,
    person: Collider,
    skin: Collider,
    garments: Sequence[GarmentMesh],
    count: int,
) -> np.ndarray:
    """Where a necklace lies (count, 3), metres: a loop on skin and clothes round the neck."""
    back, front = (head.frame.to_world(np.array([0.0, y, 3.0]))[2] for y in _LINES[kind])
    phi = np.arange(160) * (2 * np.pi / 160)
    middle = head.frame.to_world(np.array([0.0, -12.0, 2.6]))
    # It lies on the shoulders and hangs in a bow: most of the fall is in front.
    ahead = np.cos(phi)
    fall = np.where(ahead > 0, 0.25 + 0.75 * np.maximum(ahead, 0.0) ** 1.5, 0.25 * (1 + ahead))
    z = back + (front - back) * fall
    ray = np.stack([np.sin(phi), -np.cos(phi), 0 * phi], axis=1)
    base = np.stack([0 * phi, middle[1] + 0 * phi, z], axis=1)
    reach = np.full(len(phi), 0.02)
    for _ in range(24):  # from inside the neck outwards: the first way out is its skin
        distance, _ = person.query(base + reach[:, None] * ray)
        reach = np.clip(reach + 0.7 * (_ABOVE[kind] - distance), 0.02, 0.14)
    waves = np.fft.rfft(reach)
    waves[9:] = 0.0
    line = base + np.fft.irfft(waves, len(reach))[:, None] * ray
    # Cloth gives way and rises between the collider's cells: stay clear of it.
    bare, _ = skin.query(line)
    above = _ABOVE[kind] + _CLOTH * np.clip((bare - 0.003) / 0.003, 0.0, 1.0)
    for _ in range(6):
        line = person.push_out(line, above)
    trees = [BVHTree.FromPolygons(g.vertices.tolist(), g.triangles.tolist()) for g in garments]
    for _ in range(_TAUT):
        line = line + 0.25 * (np.roll(line, 1, axis=0) - 2.0 * line + np.roll(line, -1, axis=0))
        for tree in trees:
            line = over_cloth(line, tree, _ABOVE[kind] + _RELIEF)
    return resample(np.concatenate([line, line[:1]]), count, closed=True)


def _beads(line: np.ndarray, radius: float, sides: int) -> Shape:
    return merge([ellipsoid(p, (radius, radius, radius), sides=sides) for p in line])


def build_necklace(
    worn: Accessories,
    head: Head,
    person: Collider,
    skin: Collider,
    garments: Sequence[GarmentMesh],
) -> list[bpy.types.Object]:
    """A necklace that lies on the skin or over the clothes.

    `person` is the collider of both, `skin` of the first; garments are the clothes, inner first.
    """
    label = LABELS["necklace"]
    polish = metal(worn.metal_rgb, 0.18)
    kind = worn.necklace
    down = _down(head)
    if kind == "pearls":
        line = head.frame.to_template(necklace_line(kind, head, person, skin, garments, 64))
        string = _beads(line, 0.40, 10)
        return [shape_object("necklace", string, head.frame, pearl(), label)]
    if kind == "choker":
        line = head.frame.to_template(necklace_line(kind, head, person, skin, garments, 96))
        band = sweep(line, rounded(0.12, 1.1, 4.0), -down, closed=True)
        velvet = cotton((0.035, 0.032, 0.036))
        charm = ellipsoid(line[int(line[:, 2].argmax())] + 0.75 * down, (0.24, 0.34, 0.20))
        return [
            shape_object("necklace", band, head.frame, velvet, label),
            shape_object("necklace", charm, head.frame, polish, label),
        ]
    line = head.frame.to_template(necklace_line(kind, head, person, skin, garments, 180))
    chain = tube(line, 0.07 + 0.03 * (np.arange(180) % 2), closed=True, sides=6)
    out = [shape_object("necklace", chain, head.frame, polish, label)]
    if kind == "pendant":
        lowest = line[int((line @ down).argmax())]
        place = head.frame.to_world(lowest + 0.85 * down)
        spot = head.frame.to_template(person.push_out(place[None], 0.0045)[0])
        disc = ellipsoid(spot, (0.62, 0.75, 0.22), sides=16)
        out.append(shape_object("necklace", disc, head.frame, polish, label))
    return out


def build_piercing(worn: Accessories, head: Head) -> list[bpy.types.Object]:
    """A small piece of metal in nose or brow."""
    kind = worn.piercing
    down = _down(head)
    if kind == "nose stud":
        place = head.push(head.landmark((1.60, -3.75, 15.2)), 0.05)
        parts = [ellipsoid(place, (0.16, 0.16, 0.16), sides=8)]
    elif kind == "septum ring":
        place = head.landmark((0.0, -4.57, 16.03)) - 0.05 * down
        turn = np.arange(28) * (2 * np.pi / 28)
        ring = np.stack([0.46 * np.sin(turn), 0.40 * np.cos(turn), 0.12 * np.cos(turn)], axis=1)
        parts = [tube(place + 0.34 * down + ring, 0.085, closed=True)]
    else:
        place = head.push(head.landmark((4.35, 2.5, 13.2)), 0.10)
        ends = place + np.array([[0.10, 0.42, 0.02], [-0.05, -0.42, 0.05]])
        parts = [ellipsoid(p, (0.15, 0.15, 0.15), sides=8) for p in head.push(ends, 0.12)]
        parts.append(tube(np.stack([ends[0], place, ends[1]]), 0.06))
    polish = metal(worn.metal_rgb, 0.16)
    return [shape_object("piercing", merge(parts), head.frame, polish, LABELS["piercing"])]
