"""Hair: the same every time, rooted on the scalp, outside the person, inside the box."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

bpy = pytest.importorskip("bpy")

from blender.body import load_body  # noqa: E402
from blender.clothing_mesh import GarmentMesh, make_garment  # noqa: E402
from blender.facial_hair import brow_strands, lash_strands  # noqa: E402
from blender.figure import Figure, figure_of  # noqa: E402
from blender.hair import face_hair, head_hair, person_collider  # noqa: E402
from blender.hair_collide import make_collider  # noqa: E402
from blender.hair_finish import squeeze  # noqa: E402
from blender.hair_guides import face_shadow, fit_head_frame  # noqa: E402
from blender.hair_mask import beard_density, brow_density, scalp_density  # noqa: E402
from blender.hair_scalp import scalp_uv  # noqa: E402
from blender.hair_styles import STYLES  # noqa: E402
from blender.hat_cover import HatCover  # noqa: E402
from blender.spec import sample_spec  # noqa: E402
from blender.spec_types import AvatarSpec, Hair, HairStyle  # noqa: E402
from blender.streams import generator  # noqa: E402

SEED = 3


@pytest.fixture(scope="module")
def spec() -> AvatarSpec:
    return sample_spec(SEED)


@pytest.fixture(scope="module")
def figure(asset_cache: Path, spec: AvatarSpec) -> Figure:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return figure_of(load_body(asset_cache).shape(spec))


@pytest.fixture(scope="module")
def garment(figure: Figure) -> GarmentMesh:
    return make_garment(figure.vertices, figure.tights, figure.npos, "tshirt", figure.torso)


def _head(
    figure: Figure,
    garment: GarmentMesh,
    style: str,
    seed: int = SEED,
    cover: HatCover | None = None,
) -> np.ndarray:
    person = person_collider(figure, [garment])
    hair = Hair(style=typing.cast(HairStyle, style))
    points = [s.points for s in head_hair(figure, hair, seed, person, cover) if s.name == "hair"]
    width = max(p.shape[1] for p in points)
    # What grows under a two-part cut has fewer points a strand: repeat its last one.
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), "edge")
                           for p in points])  # fmt: skip


def test_every_style_of_the_spec_is_known() -> None:
    assert set(typing.get_args(HairStyle)) == set(STYLES) | {"bald"}
    assert len(STYLES) >= 18


@pytest.mark.parametrize("style", STYLES)
def test_style_is_rooted_clear_of_the_person_and_inside_the_box(
    figure: Figure, garment: GarmentMesh, style: str
) -> None:
    strands = _head(figure, garment, style)
    ropes = STYLES[style].ropes is not None
    assert len(strands) > (600 if ropes else 4000)
    # Inside the box: +-0.25 m about a centre 5 cm below the eyes.
    assert np.abs(strands[..., :2]).max() < 0.25
    assert strands[..., 2].min() > -0.285 and strands[..., 2].max() < 0.2
    # Roots: on the skin, where the template says that hair grows.
    distance = person_collider(figure, []).distance(strands[:, 0])
    assert np.abs(distance).max() < (0.013 if ropes else 0.004)
    template = figure.frame.to_template(strands[:, 0])
    assert template[:, 1].min() > -13 and template[:, 2].max() < 16.5
    if not ropes:
        used = np.unique(figure.skin)
        _, nearest = cKDTree(figure.vertices[used]).query(strands[::7, 0])
        assert np.mean(scalp_density(figure.npos[used][nearest], style, 0.0, 1.6) > 0.2) > 0.99
    # No strand dives into the person or wears the garment inside out.
    distance = person_collider(figure, [garment]).distance(strands)
    assert distance.min() > -0.006
    assert np.mean(distance < -0.0022) < (0.02 if ropes else 0.002)


@pytest.mark.parametrize("style", ["long", "bob", "wavy", "short"])
def test_no_strand_hangs_over_the_face(figure: Figure, garment: GarmentMesh, style: str) -> None:
    template = figure.frame.to_template(_head(figure, garment, style))
    assert face_shadow(template).max() < 0.6
    eyes = (np.abs(template[..., 0]) < 5) & (np.abs(template[..., 1]) < 1.5)
    assert not (eyes & (template[..., 2] > 11)).any()


def test_strands_repeat_bit_for_bit_and_follow_the_seed(
    figure: Figure, garment: GarmentMesh, spec: AvatarSpec
) -> None:
    first, again = (_head(figure, garment, "curly") for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = _head(figure, garment, "curly", seed=0)
    assert other.shape != first.shape or not np.array_equal(other, first)
    for a, b in zip(face_hair(figure, spec), face_hair(figure, spec), strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.colours, b.colours)


def test_the_bald_have_no_hair(figure: Figure) -> None:
    assert head_hair(figure, Hair(style="bald"), SEED, person_collider(figure, [])) == []
    assert scalp_density(figure.npos, "bald").max() == 0


def test_brows_and_lashes_sit_where_they_belong(figure: Figure) -> None:
    brows = brow_strands(figure, generator(SEED, "brows"))
    template = figure.frame.to_template(brows[:, 0])
    assert 200 < len(brows) < 2000
    assert (template[:, 1] > 0.3).all() and (np.abs(template[:, 0]) < 7).all()
    assert abs((template[:, 0] > 0).mean() - 0.5) < 0.1
    lashes = lash_strands(figure, generator(SEED, "lashes"))
    template = figure.frame.to_template(lashes)
    assert (np.abs(template[..., 1]) < 2.5).all() and (template[..., 2] > 11).all()


def test_densities_are_symmetric_enough_and_apart(figure: Figure) -> None:
    scalp, beard, brow = (
        scalp_density(figure.npos), beard_density(figure.npos), brow_density(figure.npos),
    )  # fmt: skip
    for weight in (scalp, beard, brow):
        assert weight.min() >= 0 and weight.max() <= 1 and weight.max() > 0.9
    assert (scalp * brow).max() < 0.05 and (brow * beard).max() < 0.05
    eyes = (np.abs(figure.npos[:, 1]) < 0.5) & (figure.npos[:, 2] > 13)
    assert scalp[eyes].max() == 0 and beard[eyes].max() == 0
    receded = scalp_density(figure.npos, "short", 3.0)
    assert (receded <= scalp + 1e-12).all() and receded.sum() < scalp.sum()


def test_scalp_map_is_one_to_one(figure: Figure) -> None:
    used = np.unique(figure.skin)
    npos = figure.npos[used][scalp_density(figure.npos[used]) > 0]
    uv = scalp_uv(npos)
    assert uv.min() > 0 and uv.max() < 1
    gap = np.linalg.norm(uv[:, None] - uv[None], axis=-1) + np.eye(len(uv))
    assert gap.min() > 1e-4


def test_collider_agrees_with_a_sphere() -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    collider = make_collider(0.1 * normals, normals)
    points = rng.uniform(-0.14, 0.14, (500, 3))
    distance, outward = collider.query(points)
    truth = np.linalg.norm(points, axis=1) - 0.1
    # Within the grid's resolution near the surface; the sign everywhere.
    near = np.abs(truth) < 0.015
    assert np.abs(distance - truth)[near].max() < 0.002
    assert (np.sign(distance) == np.sign(truth))[np.abs(truth) > 0.002].all()
    pushed = collider.push_out(points[near], 0.004)
    assert (np.linalg.norm(pushed, axis=1) > 0.1 + 0.002).all()
    aim = (outward * points).sum(axis=1) / np.linalg.norm(points, axis=1)
    assert aim[near].min() > 0.95


def test_head_frame_is_recovered() -> None:
    rng = np.random.default_rng(1)
    template = rng.normal(size=(50, 3)) * 5
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes *= np.sign(np.linalg.det(axes))
    frame = fit_head_frame(template, template @ axes.T * 0.011 + [0.1, 0.2, 0.3])
    np.testing.assert_allclose(frame.axes, axes, atol=1e-9)
    np.testing.assert_allclose(frame.to_template(frame.to_world(template)), template, atol=1e-9)


def test_squeeze_only_touches_what_sticks_out() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.4, 0.4, (100, 5, 3))
    out = squeeze(points)
    assert np.abs(out[..., :2]).max() < 0.245 and out[..., 2].max() < 0.196
    calm = (np.abs(points) < 0.16).all(axis=-1)
    np.testing.assert_array_equal(out[calm], points[calm])


def test_other_parts_do_not_shift_the_hair(figure: Figure, spec: AvatarSpec) -> None:
    """Named streams: thicker brows leave the beard as it is."""
    bearded = dataclasses.replace(spec, beard=dataclasses.replace(spec.beard, style="stubble"))
    thick = dataclasses.replace(bearded, brows=dataclasses.replace(spec.brows, thickness=1.5))
    one, two = face_hair(figure, bearded), face_hair(figure, thick)
    np.testing.assert_array_equal(one[-1].points, two[-1].points)
    assert one[0].points.shape != two[0].points.shape


def _above(height: float) -> HatCover:
    return HatCover(lambda t: t[..., 1] - height, 0.004)


@pytest.mark.parametrize("style", ["afro", "fringe", "locs"])
def test_hair_lies_flat_under_headwear(figure: Figure, garment: GarmentMesh, style: str) -> None:
    free = _head(figure, garment, style)
    worn = _head(figure, garment, style, cover=_above(5.0))
    person = person_collider(figure, [garment])

    def highest(strands: np.ndarray) -> float:
        inside = figure.frame.to_template(strands)[..., 1] > 5.3
        return float(person.distance(strands[inside]).max())

    assert highest(worn) < (0.0095 if style == "locs" else 0.0045)  # locs are thick
    assert highest(free) > 0.008
    # What starts under the brim either stays there or hangs well out of it.
    level = figure.frame.to_template(worn)[..., 1] - 5.0
    out = (level[:, 0] > 0.5) & (level.min(axis=1) < -0.2)
    assert (level[out].min(axis=1) < -0.8).all()
    assert out.any() == (style in ("fringe", "locs"))


def test_a_scarf_hides_all_hair_and_a_hat_hides_the_bun(
    figure: Figure, garment: GarmentMesh
) -> None:
    person = person_collider(figure, [garment])
    everywhere = HatCover(lambda t: np.full(t.shape[:-1], 5.0), 0.0025)
    for style in ("mohawk", "ponytail", "cornrows", "locs"):
        hair = Hair(style=style)
        assert head_hair(figure, hair, SEED, person, everywhere) == []
    names = [s.name for s in head_hair(figure, Hair(style="topknot"), SEED, person, _above(6.0))]
    assert "tied" not in names and "band" not in names
    low = [s.name for s in head_hair(figure, Hair(style="braids"), SEED, person, _above(6.0))]
    assert low.count("tied") == 2


def test_distance_alone_agrees_with_the_query(figure: Figure) -> None:
    person = person_collider(figure, [])
    points = np.random.default_rng(3).uniform(-0.3, 0.3, (400, 3))
    np.testing.assert_allclose(person.distance(points), person.query(points)[0], atol=1e-6)
