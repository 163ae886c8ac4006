"""Faces: who is sampled, expressions, and that eyes, lids, lips and teeth lie where they must."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import bpy  # noqa: F401  (mathutils comes with it)
import numpy as np
import pytest
from mathutils.bvhtree import BVHTree

from blender import eyes, mouth
from blender.body import Body, Shaped, load_body
from blender.expressions import EXPRESSIONS, make_expression, sample_expression
from blender.face_shape import sample_targets
from blender.lids import clear_eyes
from blender.meshes import subdivide
from blender.sample_face import sample_eyes, sample_identity, sample_pose
from blender.spec import AvatarSpec, sample_spec
from blender.spec_face import EXPRESSION_WORDS, Expression, Eyes, Identity, Pose
from blender.spec_text import years
from blender.streams import generator
from blender.targets import FACE_ACTIONS, LOCAL_TARGETS

PEOPLE = range(0, 60, 6)


@pytest.fixture(scope="module")
def body(asset_cache: Path) -> Body:
    return load_body(asset_cache)


def facing(seed: int, expression: Expression, gaze: tuple[float, float] = (0, 0)) -> AvatarSpec:
    spec = sample_spec(seed)
    look = replace(spec.eyes, yaw=gaze[0], pitch=gaze[1])
    return replace(spec, expression=expression, eyes=look, pose=Pose())


class Front:
    """What a viewer in front sees of a face at points (x, z) in metres: the nearest of parts."""

    def __init__(self, spec: AvatarSpec, shaped: Shaped) -> None:
        face = (shaped.npos[:, 2] > 4) & (shaped.npos[:, 1] > -14)
        quads = shaped.body_quads[face[shaped.body_quads].all(axis=1)]
        skin = subdivide(quads, shaped.vertices)
        self.trees = {"skin": tree(*skin)}
        turn = eyes._looking(spec.eyes.yaw, spec.eyes.pitch)
        for side, centre in zip("lr", shaped.eye_centres, strict=True):
            unit, triangles, _ = eyes.eye_mesh(spec, side)
            self.trees[f"eye_{side}"] = tree(
                unit @ turn.T * shaped.eye_radius * eyes._SCALE + centre, triangles
            )
        for part in ("teeth_upper", "teeth_lower"):
            jaw = mouth._jaw(shaped, part)
            points, crowns = mouth.crowns(generator(0, "t"), part == "teeth_upper", 0.0)
            self.trees[part] = tree(points @ jaw[:3] + jaw[3], crowns)

    def count(self, centre: np.ndarray, reach: float, step: float) -> dict[str, np.ndarray]:
        """Part -> the points (M, 2) of a square grid about centre at which it is in front."""
        line = np.arange(-reach, reach + step / 2, step)
        out: dict[str, list] = {name: [] for name in self.trees}
        for dx in line:
            for dz in line:
                start = (centre[0] + dx, -0.5, centre[2] + dz)
                hits = {n: t.ray_cast(start, (0, 1, 0))[3] for n, t in self.trees.items()}
                seen = {n: d for n, d in hits.items() if d is not None}
                if seen:
                    out[min(seen, key=seen.__getitem__)].append((start[0], start[2]))
        return {name: np.array(points).reshape(-1, 2) for name, points in out.items()}


def tree(points: np.ndarray, faces: np.ndarray) -> BVHTree:
    return BVHTree.FromPolygons(points.tolist(), faces.tolist())


def lid_box(shaped: Shaped, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The lash roots' lowest and highest x, z (m): the opening of an eye lies between them."""
    strips = [shaped.quads[f"lash_{side}_{k}"] for k in (1, 2)]
    used = np.unique(np.concatenate([s.ravel() for s in strips]))
    edge = shaped.vertices[used][:, [0, 2]]
    return edge.min(axis=0), edge.max(axis=0)


@pytest.mark.parametrize("name", ["neutral", "laugh", "surprised", "squint"])
def test_eyes_show_only_inside_the_lids(body: Body, name: str) -> None:
    for seed in PEOPLE:
        spec = facing(seed, make_expression(name), gaze=(15.0, -8.0) if seed % 2 else (-10.0, 8.0))
        shaped = body.shape(spec)
        front = Front(spec, shaped)
        for side, centre in zip("lr", shaped.eye_centres, strict=True):
            seen = front.count(centre, 0.028, 0.002)[f"eye_{side}"]
            low, high = lid_box(shaped, side)
            assert len(seen) >= 4 or name in ("squint", "laugh"), (seed, side, "hidden")
            outside = (seen < low - 0.0015).any(axis=1) | (seen > high + 0.0015).any(axis=1)
            assert not outside.any(), (seed, side, seen[outside], low, high)
            for column in np.unique(seen[:, 0].round(6)):  # one opening, no hole in a lid
                height = np.sort(seen[np.abs(seen[:, 0] - column) < 1e-6, 1])
                assert (np.diff(height) < 0.003).all(), (seed, side, height)


def test_closed_eyes_are_closed_and_a_wink_shuts_one(body: Body) -> None:
    for seed in PEOPLE:
        spec = facing(seed, make_expression("eyes closed"))
        shaped = body.shape(spec)
        seen = Front(spec, shaped)
        for side, centre in zip("lr", shaped.eye_centres, strict=True):
            assert len(seen.count(centre, 0.02, 0.001)[f"eye_{side}"]) <= 12, (seed, side)
    spec = facing(0, make_expression("wink"))
    shaped = body.shape(spec)
    front = Front(spec, shaped)
    left, right = (
        len(front.count(c, 0.02, 0.002)[f"eye_{s}"])
        for s, c in zip("lr", shaped.eye_centres, strict=True)
    )
    assert left <= 2
    assert right > 20


def mouth_middle(shaped: Shaped) -> np.ndarray:
    lips = np.argmin(np.linalg.norm(shaped.npos - (0.0, -7.2, 15.6), axis=1))
    return shaped.vertices[lips]


def test_mouths_are_shut_at_rest_and_smiles_show_teeth(body: Body) -> None:
    for seed in PEOPLE:
        for name, least, most in (("neutral", 0, 4), ("open smile", 25, 999), ("laugh", 40, 999)):
            spec = facing(seed, make_expression(name))
            shaped = body.shape(spec)
            seen = Front(spec, shaped).count(mouth_middle(shaped), 0.03, 0.002)
            teeth = len(seen["teeth_upper"]) + len(seen["teeth_lower"])
            assert least <= teeth <= most, (seed, name, teeth)


def quad_normals(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    a, b, c, d = (points[quads[:, k]] for k in range(4))
    normal = np.cross(c - a, d - b)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def test_no_face_folds_over(body: Body) -> None:
    """Outside eyes and mouth no patch of a face turns by more than a right angle."""
    for seed in range(40):
        spec = replace(sample_spec(seed), pose=Pose())
        shaped = body.shape(spec)
        x, y, z = np.abs(shaped.npos[:, 0]), shaped.npos[:, 1], shaped.npos[:, 2]
        calm = (z > 8) & (np.hypot(x - 3.1, y) > 1.9) & (np.hypot(x / 3.4, (y + 7.2) / 2.2) > 1)
        calm &= (y > -10.5) & (shaped.masks["mouth"] < 0.1)
        quads = shaped.body_quads[calm[shaped.body_quads].all(axis=1)]
        template = shaped.npos[:, [0, 2, 1]] * (1, -1, 1)
        turned = quad_normals(template, quads) * quad_normals(shaped.vertices, quads)
        assert (turned.sum(axis=1) < 0).mean() < 0.012, seed


def test_people_cover_ages_sexes_builds_and_heads_turn() -> None:
    people = [sample_identity(seed) for seed in range(400)]
    ages = np.array([years(AvatarSpec(identity=p)) for p in people])
    assert ages.min() < 19 and ages.max() > 78 and 30 < np.median(ages) < 50
    assert 0.42 < np.mean([p.gender > 0.5 for p in people]) < 0.58
    for name in ("african", "asian", "caucasian", "muscle", "weight"):
        values = np.array([getattr(p, name) for p in people])
        assert values.min() < 0.15 and values.max() > 0.85, name
    yaw = np.array([sample_pose(seed).yaw for seed in range(400)])
    assert 9 < np.abs(yaw).max() <= 12
    gaze = [sample_eyes(seed, people[0], 3.0).yaw for seed in range(100)]
    assert 10 < max(gaze) <= 18 and min(gaze) < -10


def test_the_tongue_narrows_to_its_tip(body: Body) -> None:
    shaped = body.shape(AvatarSpec(expression=make_expression("tongue out")))
    used = np.unique(shaped.quads["tongue"])
    z = shaped.npos[used, 2]
    made = mouth._tongue(shaped)[used, 0]

    def width(x: np.ndarray, low: float, high: float) -> float:
        return float(np.ptp(x[(z > low) & (z < high)]))

    assert width(made, 13.6, 14.0) < 0.75 * width(shaped.vertices[used, 0], 13.6, 14.0)
    assert width(made, 8.0, 9.0) == pytest.approx(width(shaped.vertices[used, 0], 8.0, 9.0))


def test_light_eyes_are_rare_in_dark_faces() -> None:
    person = Identity(african=0.0, asian=0.0, caucasian=1.0)
    light = ("grey", "blue", "green")

    def share(tone: float) -> float:
        return float(np.mean([sample_eyes(s, person, tone).colour in light for s in range(300)]))

    assert share(1.0) > 0.4 and 0.1 < share(3.5) < 0.4 and share(6.0) < 0.05


def test_faces_differ_and_brows_never_scowl_at_rest() -> None:
    table = np.array([[w for _, w in sample_targets(s, 0.5, 0.7)] for s in range(60)])
    assert table.shape[1] == len(LOCAL_TARGETS) and np.abs(table).max() <= 0.95
    assert (table.std(axis=0) > 0.03).all()
    names = [n for n, _ in sample_targets(0, 0.5, 0.7)]
    assert table[:, names.index("eyebrows-angle-up")].min() >= -0.08
    old = dict(sample_targets(3, 0.5, 1.0))
    young = dict(sample_targets(3, 0.5, 0.7))
    assert old["head-age-incr"] > young["head-age-incr"] + 0.4
    woman, man = dict(sample_targets(3, 0.95, 0.7)), dict(sample_targets(3, 0.05, 0.7))
    assert woman["chin-width-incr"] < man["chin-width-incr"] - 0.2


def test_every_expression_is_drawn_and_a_third_is_neutral() -> None:
    drawn = [sample_expression(seed) for seed in range(500)]
    found = Counter(e.name for e in drawn)
    assert set(found) == set(EXPRESSIONS) == set(EXPRESSION_WORDS) and len(EXPRESSIONS) >= 19
    assert 0.28 < found["neutral"] / 500 < 0.43
    assert {n for e in drawn for n, _ in e.actions} <= set(FACE_ACTIONS)
    assert EXPRESSION_WORDS["neutral"] == ("",)
    assert all(len(w) >= 2 for n, w in EXPRESSION_WORDS.items() if n != "neutral")
    winks = {n for e in drawn if e.name == "wink" for n, w in e.actions if w > 0.9}
    assert {"eyeBlinkLeft", "eyeBlinkRight"} <= winks, "both sides occur"
    calm = [dict(e.actions) for e in drawn if e.name == "neutral"]
    assert max(max(a.values()) for a in calm) < 0.25


def test_unknown_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of neutral"):
        make_expression("grin")


def test_seed_alone_decides() -> None:
    assert sample_identity(7) == sample_identity(7) != sample_identity(8)
    assert sample_expression(7) == sample_expression(7)
    with pytest.raises(ValueError, match="within"):
        Eyes(yaw=40.0)


def test_lids_are_moved_out_of_the_eyes() -> None:
    """A ball of radius 1 with a lid that has sunk in: out it comes, and nothing else moves."""
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    ball = np.concatenate([ring, ring[:, [2, 0, 1]], ring[:, [1, 2, 0]]])
    template = np.concatenate([ball, [[0.0, 0.6, 1.0], [0.0, 0.3, 0.9], [3.0, 0.0, 0.0]]])
    sunk = template.copy()
    sunk[-3] *= 0.8
    moved = clear_eyes(sunk, template, [np.arange(36)], np.arange(36, 39))
    assert np.linalg.norm(moved[-3]) > 1.04
    np.testing.assert_array_equal(np.delete(moved, -3, 0), np.delete(sunk, -3, 0))
