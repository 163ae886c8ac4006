"""Scalp hair: guides, node groups, a last pass that keeps strands off the face, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from blender.clothing_mesh import GarmentMesh
from blender.facial_hair import BEARDS, beard_strands, brow_strands, lash_strands
from blender.figure import Figure
from blender.hair_collide import Collider, make_collider
from blender.hair_finish import LOWEST, finish, flatten, squeeze
from blender.hair_guides import march
from blender.hair_material import curves_object, hair_material, lock_tone, strand_colours
from blender.hair_nodes import grow
from blender.hair_ropes import LOC_WIDTH, ROW_WIDTH, plait, resample, row_spines, twist
from blender.hair_scalp import make_scalp, pick_roots, undercoat
from blender.hair_styles import BALD, STYLES, Style
from blender.hair_tied import hang
from blender.hat_cover import HatCover
from blender.labels import LABELS
from blender.spec_types import AvatarSpec, Hair, linear
from blender.streams import generator

GUIDES = 420
LOCS = 290
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
    tip_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)  # linear, colour of the ends
    ombre: float = 0.0  # 0 .. 1, how much the ends take it


def scalp_strands(
    style: Style,
    figure: Figure,
    hair: Hair,
    seed: int,
    collider: Collider,
    cover: HatCover | None,
) -> np.ndarray:
    """The strands (M, P, 3), metres, of one style, without what grows under it or hangs on it."""
    # Short hair covers its parting; long hair is torn apart there.
    part = style.part if style.cut is not None else None
    scalp = make_scalp(
        figure.vertices, figure.skin, figure.npos, hair.style,
        recede=hair.recede, part=part, zone=style.zone,
    )  # fmt: skip
    if not (scalp.density > 0.02).any():
        return np.empty((0, style.points, 3))
    rng = generator(seed, "hair.guides")
    index = pick_roots(scalp, LOCS if style.ropes else GUIDES, rng)
    roots, normals = scalp.vertices[index], scalp.normals[index]
    guides = march(style, roots, normals, figure.frame, collider, rng, hair.length)
    if style.ropes:
        spines = finish(resample(guides, 60), style, figure.frame, collider, cover)
        locs = twist(spines, LOC_WIDTH, 18, collider, generator(seed, "hair.locs"))
        # A loc is thicker than the room under a hat.
        return locs if cover is None else flatten(locs, cover, figure.frame, collider, 1.0)
    node_seed = int(generator(seed, "hair.nodes").integers(1 << 16))
    strands = grow(guides, scalp.uv[index], scalp, style, node_seed)
    combed_apart = style.whorl > 0 or style.part is not None
    if combed_apart and not style.ties and style.curl is None:
        short = undercoat(scalp, strands.shape[1], part, generator(seed, "hair.undercoat"))
        strands = np.concatenate([strands, short])
    return finish(strands, style, figure.frame, collider, cover)


def chosen_style(hair: Hair, seed: int) -> Style:
    """The numbers of a hair's style with its own curl, density and parting."""
    style = STYLES[hair.style]
    frizz = style.frizz * (1.0 + hair.curl)
    changes: dict[str, Any] = {"density": style.density * hair.density, "frizz": frizz}
    if style.part is not None and hair.parting == "right":
        changes["part"] = -style.part
    if hair.parting == "right":
        changes["over"] = -style.over
    if style.wave is not None:
        changes["wave"] = (style.wave[0] * (0.6 + 0.9 * hair.curl), style.wave[1])
    elif style.cut is not None and style.curl is None and hair.curl > 0.1:
        changes |= {"wave": (0.006 * hair.curl, 0.065), "points": max(style.points, 28)}
    elif style.curl is not None:
        changes["curl"] = (style.curl[0] * (0.7 + 0.6 * hair.curl), style.curl[1])
    if len(style.ties) > 1:
        pick = int(generator(seed, "hair.tie").integers(len(style.ties)))
        changes["ties"] = (style.ties[pick],)
    return replace(style, **changes)


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
    style = chosen_style(hair, seed)
    sets: list[tuple[str, np.ndarray, float]] = []
    if style.ropes == "cornrows":
        sets.append(("hair", _cornrows(figure, hair, seed, person, cover), 0.00045))
    else:
        strands = scalp_strands(style, figure, hair, seed, person, cover)
        sets.append(("hair", strands, style.radius))
    if style.under is not None:
        strands = scalp_strands(style.under, figure, hair, seed, person, cover)
        sets.append(("hair", strands, style.under.radius))
    sets += _tied(style, figure, hair, seed, person, cover)
    out = []
    for number, (name, points, radius) in enumerate(sets):
        rng = generator(seed, f"{name}{number}.colour")
        colours = strand_colours(linear(hair.rgb), hair.grey, len(points), rng)
        if name != "band":
            colours *= lock_tone(figure.frame.to_template(points[:, 0]))
        dip = (linear(hair.tip_rgb), hair.ombre)
        if len(points):
            out.append(Strands(name, points, colours, radius, 0.4, hair.roughness, *dip))
    return out


def _cornrows(
    figure: Figure, hair: Hair, seed: int, person: Collider, cover: HatCover | None
) -> np.ndarray:
    spines = row_spines(figure.frame, person, hair.recede, 0.12 * hair.length)
    strands = plait(spines, ROW_WIDTH, 14, person, generator(seed, "hair.rows"))
    if cover is not None:
        strands = flatten(strands, cover, figure.frame, person, 1.0)
    return squeeze(strands)


def _tied(
    style: Style,
    figure: Figure,
    hair: Hair,
    seed: int,
    person: Collider,
    cover: HatCover | None,
) -> list[tuple[str, np.ndarray, float]]:
    """What hangs on the ties, with the ties; nothing for ties under headwear."""
    out: list[tuple[str, np.ndarray, float]] = []
    if style.tied is None:
        return out
    rng = generator(seed, "hair.tied")
    x, y, z = style.ties[0]
    for side in (1.0, -1.0) if x > 0 else (1.0,):
        if cover is not None and cover.level(np.array([[side * x, y, z]]))[0] > 0:
            continue
        tie = (side * x, y, z)
        hung, band = hang(
            style.tied, tie, figure.frame, person, rng, scale=hair.length, coil=style.coil
        )
        hung = squeeze(hung)
        low = (hung[..., 2] < LOWEST).any(axis=1)
        out += [("tied", hung[~low], 0.00045), ("band", band, 0.00045)]
    return out


def face_hair(figure: Figure, spec: AvatarSpec, person: Collider | None = None) -> list[Strands]:
    """Brows, lashes and, where there is one, the beard, which lies on `person`."""
    rng = generator(spec.seed, "brows")
    points = brow_strands(figure, rng, spec.brows.thickness, spec.brows.arch)
    points = points[rng.random(len(points)) < min(spec.brows.density / 1.5, 1.0)]
    colours = strand_colours(linear(spec.brows.rgb), spec.hair.grey * 0.6, len(points), rng)
    out = [Strands("brows", points, colours, 0.00018, 0.3, 0.6)]
    points = lash_strands(figure, generator(spec.seed, "lashes"))
    dark = np.tile(_LASH_RGB, (len(points), 1))
    out.append(Strands("lashes", points, dark, 0.00020, 0.2, 0.6))
    if spec.beard.style != "none":
        rng = generator(spec.seed, "beard")
        points = beard_strands(figure, rng, spec.beard.style, spec.beard.length, person)
        colours = strand_colours(linear(spec.beard.rgb), spec.beard.grey, len(points), rng)
        radius = BEARDS[spec.beard.style].radius
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
        material = hair_material(s.roughness, s.tip_rgb, s.ombre)
        made = curves_object(s.name, s.points, s.radius, s.tip, s.colours, material)
        made.pass_index = LABELS[_LABEL[s.name]]
        out.append(made)
    return out
