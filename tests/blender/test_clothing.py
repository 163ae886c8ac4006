"""Garments: every one builds, lies outside the body, ends cleanly, and is the same every time."""

from __future__ import annotations

import typing
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.body import bust_level, load_body  # noqa: E402
from blender.clothing import dress, hem_colours, layer_fabric  # noqa: E402
from blender.clothing_cuts import CUTS, neckline  # noqa: E402
from blender.clothing_fabric import RELIEFS, fabric_material  # noqa: E402
from blender.clothing_folds import folds  # noqa: E402
from blender.clothing_mesh import FITS, GARMENTS, LAYERS, make_garment, make_layers  # noqa: E402
from blender.clothing_panels import chest_point, over_shoulder, seams, weave  # noqa: E402
from blender.clothing_patterns import REPEATS  # noqa: E402
from blender.clothing_wardrobe import PARTS, RELIEF  # noqa: E402
from blender.figure import Figure, figure_of  # noqa: E402
from blender.mesh_cut import clip, smooth, triangulate  # noqa: E402
from blender.spec import sample_spec  # noqa: E402
from blender.spec_types import Clothes, Garment, Pattern  # noqa: E402
from blender.streams import generator  # noqa: E402
from blender.wear import build_wear  # noqa: E402

BARE = ("tank", "camisole", "offshoulder")


@pytest.fixture(scope="module", params=[1, 6])
def figure(request: pytest.FixtureRequest, asset_cache: Path) -> Figure:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return figure_of(load_body(asset_cache).shape(sample_spec(request.param)))


@pytest.fixture(scope="module")
def person(asset_cache: Path) -> Figure:
    return figure_of(load_body(asset_cache).shape(sample_spec(2)))


def test_the_wardrobe_is_complete() -> None:
    assert set(typing.get_args(Garment)) == set(GARMENTS)
    names = {name for layers in LAYERS.values() for name in layers}
    assert names == set(FITS) == set(CUTS)
    assert set(PARTS) <= names and set(RELIEF) <= names
    assert set(RELIEF.values()) <= set(RELIEFS)
    assert set(typing.get_args(Pattern)) == set(REPEATS)


@pytest.mark.parametrize("name", GARMENTS)
def test_garment_covers_and_clears_the_body(figure: Figure, name: str) -> None:
    args = (figure.vertices, figure.tights, figure.npos, name, figure.torso)
    layers, again = make_layers(*args), make_layers(*args)
    for layer, other in zip(layers, again, strict=True):
        np.testing.assert_array_equal(layer.mesh.vertices, other.mesh.vertices)
        np.testing.assert_array_equal(layer.mesh.triangles, other.mesh.triangles)
        made = layer.mesh
        level = bust_level(made.vertices)
        assert level.min() > -1e-3
        # The cloth proper (not the edge turned in at the bust's outline) keeps its thickness.
        cloth = level > 0.002
        distance, _ = figure.torso.query(made.vertices[cloth])
        assert distance.min() > 0.5 * made.thickness
        assert np.median(distance) < 0.035
        # It ends at the neckline.
        assert neckline(made.npos, layer.name).min() > -0.4
    if name in BARE:
        return
    # Nothing of the chest below the neckline of the inner layer is bare.
    every = np.concatenate([layer.mesh.vertices for layer in layers])
    used = np.unique(figure.skin)
    below = neckline(figure.npos[used], layers[0].name) > 1.5
    bare = used[below & (bust_level(figure.vertices[used]) > 0.01)]
    gap = np.linalg.norm(figure.vertices[bare][::9, None] - every[None], axis=2).min(axis=1)
    assert gap.max() < 0.045


def test_outer_layers_lie_over_inner_ones(person: Figure) -> None:
    for name in ("suit", "cardigan", "bomber"):
        args = (person.vertices, person.tights, person.npos, name, person.torso)
        inner, outer = make_layers(*args)
        apart = (outer.surface.points - inner.surface.points) * inner.surface.normals
        assert np.percentile(apart.sum(axis=1), 1) > 0.8 * outer.fit.thickness


def test_cloth_is_turned_in_as_far_as_the_skin(asset_cache: Path) -> None:
    """However far a coat hangs off the body, no slit is open at the bust's outline."""
    figure = figure_of(load_body(asset_cache).shape(sample_spec(99)))
    args = (figure.vertices, figure.tights, figure.npos)
    mesh = make_layers(*args, "cardigan", figure.torso)[-1].mesh
    ends = np.sort(np.concatenate([mesh.triangles[:, [k, (k + 1) % 3]] for k in range(3)]), axis=1)
    edges, uses = np.unique(ends, axis=0, return_counts=True)
    border = edges[uses == 1]
    low = border[(bust_level(mesh.vertices[border]) < 0.002).all(axis=1)]
    distance = figure.torso.distance(mesh.vertices[np.unique(low)])
    assert len(low) > 100
    assert (distance < 0.0).mean() > 0.97  # the rest is the front's edge


def test_folds_move_with_the_seed(person: Figure) -> None:
    args = (person.vertices, person.tights, person.npos, "shirt", person.torso)
    one, other = (make_layers(*args, seed)[0].surface.points for seed in (1, 2))
    assert np.linalg.norm(one - other, axis=1).max() > 0.002
    height = folds(person.npos[np.unique(person.tights)], generator(1, "folds"))
    assert height.min() >= 0 and 0.3 < height.max() < 2.5


def test_unknown_garment_is_refused(person: Figure) -> None:
    with pytest.raises(ValueError, match="garment 'toga' is unknown; use one of tshirt, "):
        make_garment(person.vertices, person.tights, person.npos, "toga", person.torso)


@pytest.mark.parametrize("name", GARMENTS)
def test_dressing_makes_labelled_pieces(person: Figure, name: Garment) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    meshes, objects = dress(person, Clothes(garment=name))
    kinds = {o.name.split(".")[0] for o in objects}
    assert len([o for o in objects if o.name.split(".")[0] == "clothes"]) == len(LAYERS[name])
    wanted = {
        "suit": "clothes_tie", "shirt": "clothes_horn", "polo": "clothes_rib",
        "bomber": "clothes_metal", "hoodie": "clothes_cord", "camisole": "clothes_cloth",
    }  # fmt: skip
    assert wanted.get(name, "clothes") in kinds
    for made in objects:
        corners = np.array([v.co for v in made.data.vertices])
        assert np.isfinite(corners).all()
        assert np.abs(corners[:, :2]).max() < 0.25
        assert corners[:, 2].min() > -0.30 and corners[:, 2].max() < -0.03
        assert len(made.data.materials) == 1 and "weave" in made.data.attributes
        proper = corners[bust_level(corners) > 0.004]
        if len(proper) and made.name.split(".")[0] != "clothes_tie":
            distance, _ = person.torso.query(proper)
            assert np.percentile(distance, 2) > 0.0, f"{made.name} cuts the skin"
    for mesh in meshes:
        assert len(mesh.triangles) and mesh.triangles.max() < len(mesh.vertices)


def test_an_open_jacket_shows_what_is_under_it(person: Figure) -> None:
    layers = make_layers(person.vertices, person.tights, person.npos, "suit", person.torso)
    middle = np.array([[0.0, -24.0, 11.0]])
    assert neckline(middle, "suit")[0] < 0 < neckline(middle, "dress_shirt")[0]
    assert len(layers[0].mesh.triangles) < 0.8 * len(layers[1].mesh.triangles), "hidden is gone"
    clothes = Clothes(garment="suit", rgb=(0.1, 0.1, 0.2), inner_rgb=(0.9, 0.9, 0.9))
    shirt, jacket = hem_colours(np.array([[0.0, -24.0, 11.0], [12.0, -24.0, 10.0]]), clothes)
    assert shirt[0] > 0.7 and jacket[0] < 0.05


def test_bare_shoulders_are_not_painted() -> None:
    shoulder, chest = hem_colours(
        np.array([[20.0, -18.0, 1.0], [0.0, -26.0, 13.0]]), Clothes(garment="camisole")
    )
    assert shoulder[3] == 0 and chest[3] == 1


@pytest.mark.parametrize("pattern", typing.get_args(Pattern))
def test_pattern_makes_a_material(pattern: Pattern) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    made = fabric_material(layer_fabric(Clothes(pattern=pattern), 0))
    assert made.node_tree.nodes["Principled BSDF"].inputs["Base Color"].is_linked


def test_pattern_is_on_one_layer_only() -> None:
    for layer, index in (("inner", 0), ("outer", 1)):
        clothes = Clothes(garment="cardigan", pattern="striped", layer=layer)  # type: ignore[arg-type]
        kinds = [layer_fabric(clothes, k).pattern for k in range(2)]
        assert kinds[index] == "striped" and kinds[1 - index] == "plain"


def test_wear_gives_clothes_and_hair(asset_cache: Path) -> None:
    spec = sample_spec(1)
    made = build_wear(spec, load_body(asset_cache).shape(spec))
    names = [o.name.split(".")[0] for o in made]
    assert names[0] == "clothes" and {"brows", "lashes"} <= set(names)


def test_cloth_coordinates_are_smooth_and_mirrored() -> None:
    rng = np.random.default_rng(0)
    npos = rng.uniform([-25, -30, -5], [25, -12, 10], (2000, 3))
    mirrored = npos * [-1, 1, 1]
    here, there, near = weave(npos), weave(mirrored), weave(npos + 1e-5)
    for name in here:
        np.testing.assert_allclose(here[name][:, 1:], there[name][:, 1:], atol=1e-9)
        assert np.abs(here[name] - near[name]).max() < 1e-3
    np.testing.assert_allclose(seams(npos)[0], seams(mirrored)[0])


def test_rows_keep_their_width_over_the_shoulder() -> None:
    for x in (4.0, 9.0, 13.0):
        angle = np.linspace(20.0, 85.0, 40)
        line = over_shoulder(np.full(40, x), angle)
        length = np.linalg.norm(np.diff(line, axis=0), axis=1)
        rows = -np.diff(weave(line)["weave"][:, 1])
        assert rows.sum() == pytest.approx(length.sum(), rel=0.06)


def test_points_of_the_chest_lie_on_it(person: Figure) -> None:
    x, y = np.meshgrid([0.0, 4.0, 9.0], [-20.0, -24.0, -28.0])
    place = chest_point(x, y)
    used = person.npos[np.unique(person.tights)]
    near = np.linalg.norm(used[:, None] - place.reshape(1, -1, 3), axis=2).min(axis=0)
    assert near.max() < 1.8  # the template is coarse


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


def test_no_body_pokes_through_its_clothes(asset_cache: Path) -> None:
    body = load_body(asset_cache)
    for seed in range(12):
        name = GARMENTS[(5 * seed) % len(GARMENTS)]
        figure = figure_of(body.shape(sample_spec(seed)))
        outer = make_layers(figure.vertices, figure.tights, figure.npos, name, figure.torso)[-1]
        skin = np.unique(figure.skin)
        points, npos = figure.vertices[skin], figure.npos[skin]
        under = (neckline(npos, outer.name) > 0.5) & (bust_level(points) > 0.004)
        under &= (np.abs(npos[:, 0]) < 14.0) & (npos[:, 1] < -11.0)  # an armpit is a fold
        height, _ = outer.surface.height(points[under])
        assert under.sum() > 20, (seed, name)
        assert height.max() < 0.0005, (seed, name)
