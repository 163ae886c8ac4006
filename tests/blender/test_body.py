"""The body model: bake, shapes, pose, subdivision, the bust's outline."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blender import BuildError, bake
from blender.body import BUST_FLOOR, Body, bust_level, bust_outline, load_body, shape_coefficients
from blender.spec import AvatarSpec, Expression, Eyes, Identity, Pose, sample_spec


@pytest.fixture(scope="module")
def body(asset_cache: Path) -> Body:
    return load_body(asset_cache)


def digest(body: Body, seed: int) -> str:
    return hashlib.sha256(body.shape(sample_spec(seed)).vertices.tobytes()).hexdigest()


def test_same_seed_same_bytes_here_and_in_another_process(body: Body, asset_cache: Path) -> None:
    here = digest(body, 5)
    assert here == digest(body, 5) != digest(body, 6)
    code = (
        "import sys, hashlib; from blender.body import load_body; from blender.spec import "
        "sample_spec; v = load_body(sys.argv[1]).shape(sample_spec(5)).vertices; "
        "assert 'torch' not in sys.modules and 'bpy' not in sys.modules; "
        "print(hashlib.sha256(v.tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(asset_cache)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == here


def test_bake_is_kept_and_leaves_no_debris(body: Body, asset_cache: Path) -> None:
    path = bake.bake_path(asset_cache)
    before = path.stat().st_mtime_ns
    assert bake.bake(asset_cache) == path and path.stat().st_mtime_ns == before
    assert not list(asset_cache.glob("*.tmp"))


def test_phenotype_weights_are_a_partition() -> None:
    """For any person the macro shapes' weights sum to 1 in each of the two blocks."""
    for seed in range(8):
        weights = shape_coefficients(sample_spec(seed))
        assert weights[:54].sum() == pytest.approx(1.0)
        assert weights[54:72].sum() == pytest.approx(1.0)
        assert (weights >= 0).all()


def test_eyes_are_centred_and_people_have_human_measures(body: Body) -> None:
    for seed in range(12):
        shaped = body.shape(sample_spec(seed))
        np.testing.assert_allclose(shaped.eye_centres.sum(axis=0), 0, atol=1e-12)
        assert 0.05 < np.linalg.norm(shaped.eye_centres[0] - shaped.eye_centres[1]) < 0.075
        skin = shaped.vertices[np.unique(shaped.body_quads)]
        assert 0.09 < skin[:, 2].max() < 0.15
        face = skin[np.abs(skin[:, 2]) < 0.05]
        assert face[:, 1].min() < -0.02, "faces -y"


def test_gaze_moves_the_lids_and_pose_turns_the_head(body: Body) -> None:
    plain = body.shape(AvatarSpec())
    down = body.shape(AvatarSpec(eyes=Eyes(pitch=-20.0)))
    lid = (np.abs(plain.npos[:, 0] - 3.1) < 1.2) & (np.abs(plain.npos[:, 1] - 0.8) < 0.5)
    lid &= plain.npos[:, 2] > 13
    assert (down.vertices[lid, 2] - plain.vertices[lid, 2]).min() < -0.0015
    turned = body.shape(AvatarSpec(pose=Pose(yaw=10.0)))
    nose = np.argmax(
        np.where(np.isin(np.arange(len(plain.npos)), plain.body_quads), plain.npos[:, 2], -99)
    )
    assert turned.vertices[nose, 0] > plain.vertices[nose, 0] + 0.004
    up = body.shape(AvatarSpec(pose=Pose(pitch=10.0)))
    assert up.vertices[nose, 2] > plain.vertices[nose, 2] + 0.002


def test_unknown_target_is_named() -> None:
    bad = AvatarSpec(identity=Identity(targets=(("nose-of-wax", 0.5),)))
    with pytest.raises(BuildError, match="nose-of-wax"):
        shape_coefficients(bad)
    with pytest.raises(BuildError, match="wink"):
        shape_coefficients(AvatarSpec(expression=Expression(actions=(("wink", 1.0),))))


def test_outline_is_the_zero_of_the_level() -> None:
    line = bust_outline(101)
    world = np.stack([line[:, 0], np.zeros(101), line[:, 1]], axis=1)
    np.testing.assert_allclose(bust_level(world), 0.0, atol=1e-6)
    assert line[:, 1].min() == pytest.approx(BUST_FLOOR)
    assert bust_level(np.array([[0.0, 0.0, -0.2]])) > 0 > bust_level(np.array([[0.0, 0.0, -0.3]]))


def test_shapes_agree_with_annys_own_model(body: Body) -> None:
    """Recorded vertices of anny's model, which takes minutes to build; float16 shapes here."""
    golden = json.loads((Path(__file__).parent / "anny_golden.json").read_text())
    for person in golden["people"]:
        shaped = body.shape(AvatarSpec.from_dict(person["spec"]))
        compared = 0
        for index, expected in person["vertices"].items():
            gap = np.linalg.norm(np.array(expected) - shaped.eye_centres, axis=1).min()
            if gap < 1.05 * shaped.eye_radius:  # in an eye: `lids` moves it out, anny does not
                continue
            np.testing.assert_allclose(shaped.vertices[int(index)], expected, atol=4e-5)
            compared += 1
        assert compared > 0.8 * len(person["vertices"])
