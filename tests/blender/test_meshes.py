"""Subdivision against Blender's own, and the bust's cut."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from blender.body import bust_level, load_body
from blender.mesh_cut import clip, triangulate
from blender.meshes import subdivide
from blender.scene import bust_floor
from blender.spec import sample_spec

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_QUADS = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)


def blender_subdivided(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    mesh = bpy.data.meshes.new("twin")
    mesh.from_pydata(vertices.tolist(), [], quads.tolist())
    thing = bpy.data.objects.new("twin", mesh)
    modifier = thing.modifiers.new("twin", "SUBSURF")
    modifier.levels, modifier.use_limit_surface = 1, False
    bpy.context.scene.collection.objects.link(thing)
    fine = thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    out = np.array([v.co for v in fine.vertices])
    bpy.data.objects.remove(thing)
    return out


@pytest.mark.parametrize("quads", [CUBE_QUADS, CUBE_QUADS[:5]], ids=["closed", "open"])
def test_catmull_clark_equals_blenders(quads: np.ndarray) -> None:
    ours, fine = subdivide(quads, CUBE)
    theirs = blender_subdivided(CUBE, quads)
    assert len(fine) == 4 * len(quads)
    np.testing.assert_allclose(
        np.array(sorted(map(tuple, ours.round(5)))), np.array(sorted(map(tuple, theirs.round(5)))),
        atol=2e-5,
    )  # fmt: skip


def test_cut_bust_is_closed_and_faces_outwards(asset_cache: Path) -> None:
    shaped = load_body(asset_cache).shape(sample_spec(4))
    fine, quads = subdivide(shaped.body_quads, shaped.vertices)
    points, triangles, on_cut = clip(bust_level(fine), triangulate(quads), fine)
    floor = bust_floor(points, triangles, on_cut)
    both = np.concatenate([triangles, floor])
    ends = np.concatenate([both[:, [0, 1]], both[:, [1, 2]], both[:, [2, 0]]])
    # A closed, consistently turned surface has every directed edge once, and its reverse.
    assert len(np.unique(ends, axis=0)) == len(ends)
    assert {tuple(e) for e in ends} == {tuple(e[::-1]) for e in ends}
    a, b, c = (points[both[:, k]] for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 > 0.008, "volume in cubic metres"
