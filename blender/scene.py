"""An avatar as a Blender scene: body, eyes, mouth, hair, clothes and light."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector
from mathutils.geometry import delaunay_2d_cdt

from blender.body import Body, Shaped, bust_level, bust_outline
from blender.clothing import hem_colours
from blender.eyes import build_eyes
from blender.labels import LABELS
from blender.light_rigs import Light
from blender.lighting import build_lights
from blender.mesh_cut import clip, triangulate
from blender.meshes import make_object, subdivide
from blender.mouth import build_mouth
from blender.skin import paint, plain_material, skin_material
from blender.spec_types import AvatarSpec
from blender.wear import build_wear

_HEM = 0.012  # m from the bust's outline


def build_scene(
    spec: AvatarSpec, body: Body, *, subdivision: int = 1, light: Light = "even"
) -> Shaped:
    """Replace whatever Blender holds by the avatar of `spec`, lit; cameras are the caller's.

    `subdivision` is the number of Catmull-Clark levels (1 up to 256 pixels, 2 beyond).
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    shaped = body.shape(spec)
    build_skin(spec, shaped, subdivision)
    build_eyes(spec, shaped)
    build_mouth(spec, shaped)
    for worn in build_wear(spec, shaped):
        if worn.name not in bpy.context.scene.collection.objects:
            bpy.context.scene.collection.objects.link(worn)
    build_lights(light, spec.seed)
    return shaped


def build_skin(spec: AvatarSpec, shaped: Shaped, levels: int) -> None:
    """The skin, subdivided, painted and cut to the bust; and the bust's floor."""
    quads = shaped.quads["body"]
    quads = quads[(bust_level(shaped.vertices) > -0.06)[quads].any(axis=1)]
    values = np.concatenate(
        [
            shaped.vertices,
            shaped.npos,
            shaped.masks["lips"][:, None],
            shaped.masks["mouth"][:, None],
        ],
        axis=1,
    )
    fine, quads = subdivide(quads, values, levels)
    data, triangles, on_cut = clip(bust_level(fine[:, :3]), triangulate(quads), fine)
    npos = data[:, 3:6]
    attributes = paint(npos, {"lips": data[:, 6], "mouth": data[:, 7]}, spec)
    attributes |= {"npos": npos}
    # Under the hem the skin counts as cloth and has its colour, so that no gap between them shows.
    cloth = hem_colours(npos, spec.clothes)
    hem = (bust_level(data[:, :3]) < _HEM) & (cloth[:, 3] > 0)
    attributes["albedo"][hem, :3] = cloth[hem, :3]
    lined = hem[triangles].all(axis=1)
    attributes |= {"lips": data[:, 6], "mouth": data[:, 7]}
    skin = make_object("skin", data[:, :3], triangles[~lined], attributes, skin_material(spec))
    skin.pass_index = LABELS["skin"]
    faces = bust_floor(data[:, :3], triangles, on_cut)
    bare = (cloth[faces, 3] == 0).all(axis=1)  # the cut of an arm that no sleeve covers
    floor = plain_material("floor", spec.clothes.rgb, 0.9)
    flesh = skin.data.materials[0]
    for part, label, material in (
        (faces[~bare], "clothes", floor),
        (triangles[lined], "clothes", flesh),
        (faces[bare], "skin", flesh),
    ):
        used, local = np.unique(part, return_inverse=True)
        kept = {name: values[used] for name, values in attributes.items()}
        closed = make_object("floor", data[used, :3], local.reshape(-1, 3), kept, material)
        closed.pass_index = LABELS[label]


def bust_floor(points: np.ndarray, triangles: np.ndarray, on_cut: np.ndarray) -> np.ndarray:
    """Triangles (F, 3) over the same vertices that close a cut bust along its outline.

    points (N, 3) m, triangles (G, 3) and on_cut (N,) as `clip` gives them. The rim is unrolled
    along the outline to (length, y), filled there, and faces outwards.
    """
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = ends[on_cut[ends].all(axis=1)]
    _, slot, uses = np.unique(
        np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    rim = ends[uses[slot.reshape(-1)] == 1]
    if not len(rim):
        return np.empty((0, 3), np.int64)
    index, local = np.unique(rim, return_inverse=True)
    line = bust_outline(721)
    length = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    level = line[0, 1]
    order = np.arctan2(line[:, 1] - level - 1e-12, line[:, 0])
    turn = np.arctan2(points[index, 2] - level, points[index, 0])
    along = np.interp(turn, order, length)
    flat = [Vector((float(u), float(v))) for u, v in zip(along, points[index, 1], strict=True)]
    edges = [(int(a), int(b)) for a, b in local.reshape(-1, 2)]
    # Kind 2 keeps what lies inside the closed rim.
    vertices, _, faces, source, *_ = delaunay_2d_cdt(flat, edges, [], 2, 1e-7)
    back = np.array([index[s[0]] if s else -1 for s in source])
    filled = np.array([[back[c] for c in f] for f in faces if len(f) == 3])
    filled = filled[(filled >= 0).all(axis=1)]
    assert len(vertices) and len(filled)
    normal = np.cross(
        points[filled[:, 1]] - points[filled[:, 0]], points[filled[:, 2]] - points[filled[:, 0]]
    )
    middle = points[filled].mean(axis=1) - (0.0, 0.0, level)
    inward = normal[:, 0] * middle[:, 0] + normal[:, 2] * middle[:, 2] < 0
    filled[inward] = filled[inward][:, ::-1]
    return filled
