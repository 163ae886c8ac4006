"""Scalp hair: guides, node groups, a last pass that keeps strands off the face, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from blender.clothing_mesh import GarmentMesh
from blender.facial_hair import beard_strands, brow_strands, lash_strands
from blender.figure import Figure
from blender.hair_collide import Collider, make_collider
from blender.hair_guides import HeadFrame, face_shadow, march, throat_shadow
from blender.hair_material import curves_object, hair_material, strand_colours
from blender.hair_nodes import Scalp, grow
from blender.hair_scalp import make_scalp, pick_roots
from blender.hair_styles import BALD, STYLES, Style
from blender.hair_tied import band_strands, bun_strands, tail_strands
from blender.hat_cover import HatCover
from blender.labels import LABELS
from blender.spec_types import AvatarSpec, Hair, linear
from blender.streams import generator

GUIDES = 420
LOWEST = -0.283  # m about the eyes: strands end above, inside the unit box
_KNEE = np.array([0.190, 0.195, 0.165])  # m from the middle, where squeezing into the box starts
_LIMIT = np.array([0.232, 0.243, 0.194])  # m, never reached
_TOUCH = 0.002  # m that a strand may sink into skin or cloth
_LASH_RGB = (0.012, 0.010, 0.009)  # linear


@dataclass(frozen=True)
class Strands:
    """A set of strands of one kind."""

    name: str
    points: np.ndarray  # (M, P, 3) m
    colours: np.ndarray  # (M, 3) linear
    radius: float  # m at the root
    tip: float  # share of the radius left at the tip
    roughness: float


def finish(strands: np.ndarray, style: Style, frame: HeadFrame, collider: Collider) -> np.ndarray:
    """Keep strands (M, P, 3) out of the person and inside the box; drop those on the face."""
    points = strands.shape[1]
    rise = np.minimum(np.arange(points) * 0.001, 0.0016)
    out = collider.push_out(strands, rise[None] - 0.0004)
    t = frame.to_template(out)
    shadow = face_shadow(t)
    if style.fringe is not None:
        shadow = shadow * (t[..., 1] < style.fringe - 1.0)
    shadow = np.maximum(shadow, throat_shadow(t))
    if style.lengths[-1][1] > 0.02:
        out = shorten(out, (shadow > 0.5).argmax(axis=1), (shadow > 0.5).any(axis=1))
    # Blends of guides from both sides may run right through the neck: no push mends those.
    distance, _ = collider.query(out[:, 2:])
    out = squeeze(out[(distance > -_TOUCH).all(axis=1)])
    return out[(out[..., 2] > LOWEST).all(axis=1)]


def shorten(strands: np.ndarray, first: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    """End strands (M, P, 3) before their point `first` (M,) where `forbidden` (M,).

    Strands of which too little would be left are dropped.
    """
    count, points, _ = strands.shape
    last = np.where(forbidden, first - 1, points - 1)
    at = np.linspace(0.0, 1.0, points)[None] * last[:, None]
    low = np.clip(at.astype(int), 0, points - 2)
    part = (at - low)[..., None]
    rows = np.arange(count)[:, None]
    out = strands[rows, low] * (1 - part) + strands[rows, low + 1] * part
    return out[last >= 3]


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


def scalp_strands(
    style: Style,
    scalp: Scalp,
    frame: HeadFrame,
    collider: Collider,
    *,
    seed: int,
    length_scale: float = 1.0,
    strength: float = 1.0,
) -> np.ndarray:
    """All scalp strands (M, P, 3), metres, Blender frame."""
    rng = generator(seed, "hair.guides")
    index = pick_roots(scalp, GUIDES, rng)
    guides = march(
        style, scalp.vertices[index], scalp.normals[index], frame, collider, rng, length_scale
    )
    node_seed = int(generator(seed, "hair.nodes").integers(1 << 16))
    strands = grow(guides, scalp.uv[index], scalp, style, strength, node_seed)
    return finish(strands, style, frame, collider)


def person_collider(figure: Figure, garments: Sequence[GarmentMesh]) -> Collider:
    """What hair lies on: the skin and, over it, the garments."""
    points, normals = figure.surface
    for garment in garments:
        a, b, c = (garment.vertices[garment.triangles[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        size = np.linalg.norm(normal, axis=1, keepdims=True)
        keep = size[:, 0] > 1e-10
        points = np.concatenate([points, ((a + b + c) / 3)[keep]])
        normals = np.concatenate([normals, (normal / np.maximum(size, 1e-12))[keep]])
    return make_collider(points, normals)


def head_hair(
    figure: Figure, hair: Hair, seed: int, person: Collider, cover: HatCover | None = None
) -> list[Strands]:
    """The scalp's strands; an empty list for the bald. Under `cover` they lie flat."""
    if hair.style == BALD:
        return []
    style = STYLES[hair.style]
    # Short hair covers its parting; long hair is torn apart there.
    part = style.part if style.cut is not None else None
    scalp = make_scalp(
        figure.vertices, figure.skin, figure.npos, hair.style, recede=hair.recede, part=part
    )
    frame, collider = figure.frame, person
    sets = {
        "hair": scalp_strands(style, scalp, frame, collider, seed=seed, length_scale=hair.length)
    }
    if style.tie is not None:
        rng = generator(seed, "hair.tied")
        hang = bun_strands if style.tied == "bun" else tail_strands
        sets["tied"] = squeeze(hang(style.tie, frame, collider, rng, hair.length))
        sets["band"] = band_strands(style.tie, frame, collider, rng)
    out = []
    for name, points in sets.items():
        rng = generator(seed, f"{name}.colour")
        colours = strand_colours(linear(hair.rgb), hair.grey, len(points), rng)
        radius = style.radius if name == "hair" else 0.00045
        out.append(Strands(name, points, colours, radius, 0.4, hair.roughness))
    return out


def face_hair(figure: Figure, spec: AvatarSpec) -> list[Strands]:
    """Brows, lashes and, where there is one, the beard."""
    rng = generator(spec.seed, "brows")
    points = brow_strands(figure, rng, spec.brows.thickness)
    points = points[rng.random(len(points)) < min(spec.brows.density / 1.5, 1.0)]
    colours = strand_colours(linear(spec.brows.rgb), spec.hair.grey * 0.6, len(points), rng)
    out = [Strands("brows", points, colours, 0.00022, 0.3, 0.6)]
    points = lash_strands(figure, generator(spec.seed, "lashes"))
    dark = np.tile(_LASH_RGB, (len(points), 1))
    out.append(Strands("lashes", points, dark, 0.00020, 0.2, 0.6))
    if spec.beard.style != "none":
        rng = generator(spec.seed, "beard")
        points = beard_strands(figure, rng, spec.beard.style, spec.beard.length)
        colours = strand_colours(linear(spec.beard.rgb), spec.beard.grey, len(points), rng)
        radius = 0.00028 if spec.beard.style == "full" else 0.00016
        out.append(Strands("beard", points, colours, radius, 0.4, 0.6))
    return out


# The label of each set of strands.
_LABEL = {
    "hair": "hair", "tied": "hair", "band": "hair_tie", "brows": "brows", "lashes": "lashes",
    "beard": "facial_hair",
}  # fmt: skip


def hair_objects(sets: list[Strands]) -> list[bpy.types.Object]:
    """Curves objects, not yet in a scene, each with its label in `pass_index`."""
    out = []
    for s in sets:
        material = hair_material(s.roughness)
        made = curves_object(s.name, s.points, s.radius, s.tip, s.colours, material)
        made.pass_index = LABELS[_LABEL[s.name]]
        out.append(made)
    return out
