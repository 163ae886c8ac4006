"""Garments: every one builds, lies outside the body, ends cleanly, and is the same every time."""

from __future__ import annotations

import typing
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.body import bust_level, load_body  # noqa: E402
from blender.clothing import garment_object  # noqa: E402
from blender.clothing_cuts import neckline, seams, weave  # noqa: E402
from blender.clothing_mesh import GARMENTS, make_garment  # noqa: E402
from blender.figure import Figure, figure_of  # noqa: E402
from blender.mesh_cut import clip, smooth, triangulate  # noqa: E402
from blender.spec import sample_spec  # noqa: E402
from blender.spec_types import Clothes, Garment, Pattern  # noqa: E402
from blender.wear import build_wear  # noqa: E402


@pytest.fixture(scope="module", params=[1, 6])
def figure(request: pytest.FixtureRequest, asset_cache: Path) -> Figure:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return figure_of(load_body(asset_cache).shape(sample_spec(request.param)))


def test_garments_of_the_spec_are_known() -> None:
    assert set(typing.get_args(Garment)) == set(GARMENTS)


@pytest.mark.parametrize("name", GARMENTS)
def test_garment_covers_and_clears_the_body(figure: Figure, name: str) -> None:
    made = make_garment(figure.vertices, figure.tights, figure.npos, name, figure.torso)
    again = make_garment(figure.vertices, figure.tights, figure.npos, name, figure.torso)
    np.testing.assert_array_equal(made.vertices, again.vertices)
    np.testing.assert_array_equal(made.triangles, again.triangles)
    level = bust_level(made.vertices)
    assert level.min() > -1e-3
    # The cloth proper (not the edge that is turned in at the bust's outline) keeps its thickness.
    cloth = level > 0.002
    distance, _ = figure.torso.query(made.vertices[cloth])
    assert distance.min() > 0.5 * made.thickness
    assert np.median(distance) < 0.03
    # It ends at the neckline, and nothing of the chest below it is bare.
    assert neckline(made.npos, name).min() > -0.4
    used = np.unique(figure.skin)
    below = neckline(figure.npos[used], name) > 1.5
    bare = used[below & (bust_level(figure.vertices[used]) > 0.01)]
    gap = np.linalg.norm(figure.vertices[bare][::9, None] - made.vertices[None], axis=2).min(axis=1)
    assert gap.max() < 0.035


def test_unknown_garment_is_refused(figure: Figure) -> None:
    with pytest.raises(ValueError, match="garment 'toga' is unknown; use one of tshirt, "):
        make_garment(figure.vertices, figure.tights, figure.npos, "toga", figure.torso)


@pytest.mark.parametrize("pattern", typing.get_args(Pattern))
def test_pattern_makes_a_material(figure: Figure, pattern: Pattern) -> None:
    made = make_garment(figure.vertices, figure.tights, figure.npos, "tshirt", figure.torso)
    target = garment_object(made, Clothes(pattern=pattern))
    assert {"weave", "weave_arm", "trim"} <= set(target.data.attributes.keys())
    assert len(target.data.materials) == 1


def test_wear_gives_clothes_and_hair(asset_cache: Path) -> None:
    spec = sample_spec(1)
    made = build_wear(spec, load_body(asset_cache).shape(spec))
    names = [o.name.split(".")[0] for o in made]
    assert names[0] == "clothes" and {"brows", "lashes"} <= set(names)
    assert not bpy.context.scene.collection.objects, "nothing temporary is left behind"


def test_cloth_coordinates_are_smooth_and_mirrored() -> None:
    rng = np.random.default_rng(0)
    npos = rng.uniform([-25, -30, -5], [25, -12, 10], (2000, 3))
    mirrored = npos * [-1, 1, 1]
    for one, two in zip(weave(npos), weave(mirrored), strict=True):
        np.testing.assert_allclose(one[:, 1:], two[:, 1:], atol=1e-9)
    for one, two in zip(weave(npos), weave(npos + 1e-5), strict=True):
        assert np.abs(one - two).max() < 1e-3
    np.testing.assert_allclose(seams(npos)[0], seams(mirrored)[0])


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    points = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3)
    i = np.arange(n * n).reshape(n, n)
    quads = np.stack([i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]], axis=-1).reshape(-1, 4)
    return points, quads


def _area(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)[:, 2] / 2


def test_clip_keeps_exactly_the_positive_side() -> None:
    points, quads = _grid(40)
    triangles = triangulate(quads)
    level = 0.7 - np.hypot(points[:, 0], points[:, 1])
    out, kept, on_cut = clip(level, triangles, points)
    area = _area(out, kept)
    assert (area > 0).all(), "facing is kept"
    assert area.sum() == pytest.approx(np.pi * 0.49, rel=2e-3)
    assert np.abs(np.hypot(*out[on_cut, :2].T) - 0.7).max() < 1e-3
    rest, other, _ = clip(-level, triangles, points)
    assert area.sum() + _area(rest, other).sum() == pytest.approx(4.0)


def test_clip_of_everything_and_of_nothing() -> None:
    points, quads = _grid(4)
    triangles = triangulate(quads)
    out, kept, on_cut = clip(np.ones(16), triangles, points)
    assert len(out) == 16 and len(kept) == 18 and not on_cut.any()
    out, kept, _ = clip(-np.ones(16), triangles, points)
    assert len(out) == 0 and len(kept) == 0


def test_smoothing_leaves_a_flat_interior_and_pinned_points() -> None:
    points, quads = _grid(9)
    bumpy = points.copy()
    bumpy[40, 2] = 1.0
    weight = np.full(81, 0.5)
    weight[0] = 0.0
    out = smooth(bumpy, quads, 20, weight)
    assert out[40, 2] < 0.1
    np.testing.assert_array_equal(out[0], points[0])
