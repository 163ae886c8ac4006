"""Accessories: sampled often enough, named, built inside the box, clear of the skin, in place."""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from mathutils import Vector  # noqa: E402
from mathutils.bvhtree import BVHTree  # noqa: E402

from blender import spec_accessories as kinds  # noqa: E402
from blender.accessories import build_accessories  # noqa: E402
from blender.accessory_dome import TURNS, dome_of  # noqa: E402
from blender.accessory_frames import FRAMES, outline  # noqa: E402
from blender.accessory_glasses import fit, sized, temple_path  # noqa: E402
from blender.accessory_head import Head, head_of  # noqa: E402
from blender.accessory_hijab import opening  # noqa: E402
from blender.accessory_jewellery import LOBE  # noqa: E402
from blender.accessory_shapes import mirrored, resample, rounded, sweep, tube  # noqa: E402
from blender.body import load_body  # noqa: E402
from blender.clothing import dress  # noqa: E402
from blender.clothing_mesh import GarmentMesh  # noqa: E402
from blender.figure import Figure, figure_of  # noqa: E402
from blender.hair import person_collider  # noqa: E402
from blender.hair_collide import Collider  # noqa: E402
from blender.hat_cover import SEATS, hat_cover  # noqa: E402
from blender.labels import LABELS  # noqa: E402
from blender.spec import sample_spec  # noqa: E402
from blender.spec_accessories import Accessories, accessory_attributes, accessory_words  # noqa: E402

BODIES = (3, 6)  # two heads with clothes
SLOTS = ("glasses", "headwear", "earrings", "necklace", "piercing")
EVERYTHING = [
    (slot, value)
    for slot in SLOTS
    for value in typing.get_args(typing.get_type_hints(Accessories)[slot])
    if value != "none"
]


@cache
def people(asset_cache: Path) -> list[tuple[Figure, Collider, Head]]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    body = load_body(asset_cache)
    out = []
    for seed in BODIES:
        spec = sample_spec(seed)
        figure = figure_of(body.shape(spec))
        garments, _ = dress(figure, spec.clothes)
        out.append((figure, person_collider(figure, garments), head_of(figure)))
    return out


@cache
def heads(asset_cache: Path) -> list[Head]:
    body = load_body(asset_cache)
    return [head_of(figure_of(body.shape(sample_spec(seed)))) for seed in range(20, 32)]


def wearing(slot: str, value: str, **more: Any) -> Accessories:
    fields: dict[str, Any] = {slot: value, **more}
    return Accessories(**fields)


def build(
    worn: Accessories, figure: Figure, person: Collider, garments: Sequence[GarmentMesh] = ()
) -> list[Any]:
    spec = dataclasses.replace(sample_spec(0), accessories=worn)
    return build_accessories(spec, figure, person, garments)


def points_of(made: Any) -> np.ndarray:
    flat = np.empty(len(made.data.vertices) * 3, np.float32)
    made.data.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3).astype(np.float64)


@pytest.mark.parametrize(("slot", "value"), EVERYTHING)
def test_everything_builds_inside_the_box_and_alike_twice(
    asset_cache: Path, slot: str, value: str
) -> None:
    worn = wearing(slot, value)
    for figure, person, _ in people(asset_cache):
        made = build(worn, figure, person)
        again = build(worn, figure, person)
        assert made and not {o.name for o in made} & {o.name for o in bpy.context.scene.objects}
        label = "headphones" if value == "headphones" else slot
        assert {o.pass_index for o in made} == {LABELS[label]}
        for one, two in zip(made, again, strict=True):
            points = points_of(one)
            np.testing.assert_array_equal(points, points_of(two))
            assert np.isfinite(points).all() and len(one.data.polygons) > 20
            assert np.abs(points[:, :2]).max() < 0.25
            assert points[:, 2].max() < 0.20 and points[:, 2].min() > -0.30
            assert len(one.data.materials) == 1


def test_nothing_worn_makes_nothing(asset_cache: Path) -> None:
    figure, person, _ = people(asset_cache)[0]
    assert build(Accessories(), figure, person) == []
    assert hat_cover(Accessories()) is None
    assert accessory_words(Accessories()) == []
    assert set(accessory_attributes(Accessories()).values()) == {"none"}


@pytest.mark.parametrize("name", FRAMES)
def test_glasses_clear_the_face(asset_cache: Path, name: str) -> None:
    for head in heads(asset_cache):
        frame = sized(head, FRAMES[name])
        front = fit(head, frame)
        edge = outline(frame) + front.middle
        rim = front.place(np.concatenate([edge, 0 * edge[:, :1]], axis=1))
        rim = np.concatenate([rim, rim * [-1, 1, 1]])
        assert head.clearance(rim).min() > 0.05, "rims stay off brows, cheeks and nose"
        assert front.place(np.array([head.eye_x, 0.0, 0.0]))[2] > head.lash_z
        assert front.origin[2] < head.lash_z + 2.4, "they are not held out on a stick"
        for side in (-1.0, 1.0):
            path = temple_path(head, front, frame, side)
            ear = head.landmark((side * 7.38, 0.42, 5.1))
            assert head.clearance(path).min() > -0.1
            assert np.linalg.norm(path - ear, axis=1).min() < 0.7, "it rests on the ear"
            assert np.linalg.norm(path[-1] - ear) < 3.4 and path[-1, 2] < ear[2]


def test_glasses_as_built_do_not_cut_the_skin(asset_cache: Path) -> None:
    for figure, person, head in people(asset_cache):
        for name in FRAMES:
            made = build(wearing("glasses", name), figure, person)
            assert [o.name.split(".")[0] for o in made][-1] == "lenses"
            for part in made:
                t = head.frame.to_template(points_of(part))
                front = t[t[:, 2] > 8.0]
                assert head.clearance(front).min() > -0.1


@pytest.mark.parametrize("name", SEATS)
def test_hats_lie_over_the_skull(asset_cache: Path, name: str) -> None:
    cover = hat_cover(wearing("headwear", name))
    assert cover is not None
    for figure, person, head in people(asset_cache):
        made = build(wearing("headwear", name), figure, person)
        points = np.concatenate([points_of(o) for o in made])
        t = head.frame.to_template(points)
        above = cover.level(t) > 0.2
        assert above.any() and head.clearance(t[above]).min() > 0.05
        if not SEATS[name].band:
            skull = head.points[cover.level(head.points) > 1.0]
            middle = dome_of(head, SEATS[name]).centre
            hat = t[above] - middle
            way = hat / np.linalg.norm(hat, axis=1, keepdims=True)
            for place in skull[::25] - middle:
                far = np.linalg.norm(place)
                near = way @ (place / far) > 0.985
                assert near.any() and np.linalg.norm(hat[near], axis=1).max() > far
        assert t[:, 1].max() > head.points[:, 1].max() or SEATS[name].band


@pytest.mark.parametrize("name", ["bucket hat", "fedora", "straw hat"])
def test_no_skin_shows_between_crown_and_brim(asset_cache: Path, name: str) -> None:
    for figure, person, head in people(asset_cache):
        made = build(wearing("headwear", name), figure, person)
        trees = []
        for part in made:
            place = head.frame.to_template(points_of(part))
            trees.append(
                BVHTree.FromPolygons(place, [list(f.vertices) for f in part.data.polygons])
            )
        dome = dome_of(head, SEATS[name])
        away, up = dome.axes[:, 2], dome.axes[:, 1]
        foot = dome.centre + (dome.wide[0] + 0.45) * away  # where both meet, in front
        for slope, height in product((0.0, 0.15, 0.3), np.linspace(-0.06, 0.06, 25)):  # cm
            way = slope * up - away
            way /= np.linalg.norm(way)
            start = foot + height * up - 20.0 * way
            hit = any(tree.ray_cast(start, way, 22.0)[0] is not None for tree in trees)
            assert hit, (slope, height)


def test_a_flat_cap_is_closed_from_below(asset_cache: Path) -> None:
    """Who looks in beside the peak sees the cap's lining and not what is behind."""
    for figure, person, head in people(asset_cache):
        trees = []
        for part in build(wearing("headwear", "flat cap"), figure, person):
            place = head.frame.to_template(points_of(part))
            trees.append(
                BVHTree.FromPolygons(place, [list(f.vertices) for f in part.data.polygons])
            )
        dome = dome_of(head, SEATS["flat cap"])
        right, up, _ = dome.axes.T
        side = dome.wide[TURNS // 4]
        for x, height in product((-1.05, 1.05), (0.6, 1.0, 1.4)):
            start = dome.centre + x * side * right + height * up + (0.0, 0.0, 30.0)
            found = [tree.ray_cast(start, (0.0, 0.0, -1.0), 31.0)[0] for tree in trees]
            assert any(place is not None for place in found), (x, height)


def test_covers_tell_where_hair_is_hidden() -> None:
    crown, chin, front = (np.array(p) for p in ((0.0, 12.0, 3.0), (0.0, -9.0, 14.0),
                                                (0.0, 6.0, 14.3)))  # fmt: skip

    def level(name: str, place: np.ndarray) -> float:
        cover = hat_cover(wearing("headwear", name))
        assert cover is not None and 0.001 < cover.gap < 0.02
        return float(cover.level(place[None])[0])

    for name in SEATS:
        assert level(name, chin) < 0
        assert (level(name, crown) > 0) != bool(SEATS[name].band)
    assert level("headband", front) > 0
    assert level("headphones", np.array([0.0, 12.5, 4.6])) > 0 > level("headphones", front)
    assert level("hijab", chin) > 0 and level("hijab", crown) > 0


def test_hijab_covers_all_but_the_face(asset_cache: Path) -> None:
    for figure, person, head in people(asset_cache):
        (made,) = build(Accessories(headwear="hijab"), figure, person)
        points = points_of(made)
        t = head.frame.to_template(points)
        assert opening(t).min() > -0.8, "the face is free"
        for ear in (head.landmark((s * 8.5, -0.5, 4.0)) for s in (-1.0, 1.0)):
            near = np.abs(t[:, 1:] - ear[1:]).max(axis=1) < 1.2
            assert np.abs(t[near & (t[:, 0] * ear[0] > 0), 0]).max() > abs(ear[0])
        distance, _ = person.query(points[np.abs(points[:, 0]) < 0.15])
        assert np.quantile(distance, 0.05) > -0.004 and np.median(distance) < 0.02


def test_earrings_hang_from_the_lobes(asset_cache: Path) -> None:
    figure, person, head = people(asset_cache)[0]
    for value in typing.get_args(kinds.Earrings)[1:]:
        made = build(wearing("earrings", value), figure, person)
        points = np.concatenate([points_of(o) for o in made])
        for side in (-1.0, 1.0):
            hole = head.frame.to_world(head.landmark((side * LOBE[0], *LOBE[1:])))
            mine = points[points[:, 0] * side > 0]
            top = mine[mine[:, 2] > mine[:, 2].max() - 0.004].mean(axis=0)
            assert np.linalg.norm(mine - hole, axis=1).min() < 0.005
            assert abs(top[2] - hole[2]) < 0.007
            assert np.hypot(*(mine.mean(axis=0) - hole)[:2]) < 0.010, "straight below"
        long = points[:, 2].max() - points[:, 2].min()
        assert (long > 0.035) == (value == "big hoops"), value


def test_necklaces_lie_on_skin_and_clothes(asset_cache: Path) -> None:
    for figure, person, _ in people(asset_cache):
        for value in typing.get_args(kinds.Necklace)[1:]:
            made = build(wearing("necklace", value), figure, person)
            points = points_of(made[0])
            distance, _ = person.query(points)
            assert np.quantile(distance, 0.1) > -0.004 and np.quantile(distance, 0.9) < 0.016
            assert points[:, 0].max() > 0.03 and points[:, 0].min() < -0.03, "round the neck"


def test_a_chain_does_not_sink_into_a_collar(asset_cache: Path) -> None:
    spec = sample_spec(123)
    figure = figure_of(load_body(asset_cache).shape(spec))
    garments, _ = dress(figure, spec.clothes)
    (chain,) = build(
        wearing("necklace", "chain"), figure, person_collider(figure, garments), garments
    )
    rings = points_of(chain).reshape(-1, 6, 3)
    tree = BVHTree.FromPolygons(garments[0].vertices.tolist(), garments[0].triangles.tolist())
    on_cloth = 0
    for point in rings.mean(axis=1):
        place, normal, _, far = tree.find_nearest(Vector(point), 0.01)
        if place is None:
            continue
        above = (point - np.array(place)) @ np.array(normal)
        if far**2 - above**2 < 0.002**2:  # not beside the cloth's edge
            on_cloth += 1
            assert above > 0.0005
    assert on_cloth > 60


def test_about_half_wear_something_and_everything_occurs() -> None:
    specs = [sample_spec(seed) for seed in range(500)]
    worn = [spec.accessories for spec in specs]
    assert 0.38 < np.mean([bool(accessory_words(w)) for w in worn]) < 0.54
    for slot in SLOTS:
        counts = Counter(getattr(w, slot) for w in worn)
        known = set(typing.get_args(typing.get_type_hints(Accessories)[slot]))
        assert set(counts) == known
        assert min(counts.values()) >= 5, (slot, counts)
    shades = Counter(w.lenses for w in worn if w.glasses != "none")
    assert set(shades) == set(kinds.LENSES) and min(shades.values()) >= 5
    for spec in specs:
        if spec.accessories.headwear in SEATS and not SEATS[spec.accessories.headwear].band:
            assert spec.hair.style not in {"afro", "mohawk", "bun", "topknot", "ponytail"}
        if spec.accessories.headwear == "hijab":
            assert spec.accessories.earrings == spec.accessories.necklace == "none"


@pytest.mark.parametrize(("slot", "value"), EVERYTHING)
def test_words_and_columns(slot: str, value: str) -> None:
    worn = wearing(slot, value, headwear_colour="orange")
    (phrases,) = accessory_words(worn)
    assert 2 <= len(phrases) <= 3 and len(set(phrases)) == len(phrases)
    for phrase in phrases:
        assert not {"{", "}", "_"} & set(phrase) and "a orange" not in phrase
        plural = phrase.endswith(("glasses", "earrings", "lenses", "frames"))
        assert plural or phrase.startswith(("a ", "an "))
    columns = accessory_attributes(worn)
    assert columns[slot] == value
    assert columns["glasses_colour"] == ("black" if slot == "glasses" else "none")


def test_dark_lenses_are_called_sunglasses() -> None:
    (phrases,) = accessory_words(Accessories(glasses="aviator", lenses="green"))
    assert all("sunglasses" in p for p in phrases)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"headwear": "crown"}, "use one of none, beanie"),
        ({"glasses": "monocle"}, "use one of none, round"),
        ({"lenses": "mirror"}, "use one of clear"),
        ({"stone_rgb": (0.0, 2.0, 0.0)}, "within 0.0 to 1.0"),
        ({"headwear_second_rgb": (0.0, float("nan"), 0.0)}, "headwear_second_rgb"),
    ],
)
def test_bad_accessories_are_refused(change: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Accessories(**change)


def test_sweeps_keep_their_size() -> None:
    line = np.stack([np.linspace(0, 5, 20), np.zeros(20), np.zeros(20)], axis=1)
    bar = sweep(line, rounded(0.4, 1.0, 8.0), np.array([0.0, 1.0, 0.0]))
    size = bar.points.max(axis=0) - bar.points.min(axis=0)
    np.testing.assert_allclose(size, [5.0, 1.0, 0.4], atol=0.06)
    turn = np.linspace(0, 2 * np.pi, 41)[:-1]
    circle = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    ring = tube(circle, 0.1, closed=True)
    reach = np.hypot(*ring.points[:, :2].T)
    assert reach.max() == pytest.approx(1.1, abs=0.01)
    assert reach.min() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(mirrored(ring).points[:, 0], -ring.points[:, 0])
    even = np.linalg.norm(np.diff(resample(line**2, 9), axis=0), axis=1)
    np.testing.assert_allclose(even, even[0], rtol=1e-6)
