"""Cameras: exact, frontal first, well spread, deterministic."""

from __future__ import annotations

import numpy as np
import pytest

from blender.cameras import CameraSettings, look_from, make_cameras, sphere_angles, sphere_cameras
from rodin.conventions import DEFAULT_RADIUS


def test_poses_are_rotations_that_look_at_the_box() -> None:
    cameras = sphere_cameras(40, 3, 96)
    turn = cameras.camera_to_world[:, :3, :3]
    np.testing.assert_allclose(
        turn @ turn.transpose(0, 2, 1), np.tile(np.eye(3), (40, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(turn), 1.0)
    origin = cameras.camera_to_world[:, :3, 3]
    np.testing.assert_allclose(origin, -DEFAULT_RADIUS * turn[:, :, 2], atol=1e-12)
    assert (turn[:, 1, 1] < 0).all(), "y points down in the image"
    np.testing.assert_allclose(cameras.intrinsics[0, :2, 2], 48.0)


def test_first_is_frontal_and_azimuth_turns_to_the_viewers_right() -> None:
    cameras = sphere_cameras(3, 9, 64)
    np.testing.assert_allclose(cameras.camera_to_world[0, :3, 3], [0, 0, DEFAULT_RADIUS])
    assert look_from(90, 0, 1.0)[0, 3] == pytest.approx(1.0)
    assert look_from(0, 30, 1.0)[1, 3] == pytest.approx(0.5)


def test_few_views_cover_the_circle_with_more_in_front() -> None:
    for seed in range(20):
        angles = np.array(sphere_angles(25, seed)[1:])
        assert angles[:, 1].min() >= -30 and angles[:, 1].max() <= 60
        gaps = np.diff(np.sort(angles[:, 0]), append=np.sort(angles[:, 0])[0] + 360)
        assert gaps.max() < 45, "no side goes unseen"
    many = np.array(sphere_angles(4001, 0)[1:])
    front = (np.abs(many[:, 0]) < 90).mean()
    assert 0.64 < front < 0.74  # 1/2 + 0.6/pi
    assert np.abs(many[:, 0]).max() > 175


def test_same_seed_same_cameras() -> None:
    a, b, c = (sphere_cameras(8, s, 64).camera_to_world for s in (5, 5, 6))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_bad_settings_are_refused() -> None:
    for bad in ({"fov": 0.0}, {"radius": 1.0}, {"front": 1.0}, {"lowest": 50.0, "highest": 10.0}):
        with pytest.raises(ValueError, match=r"use|range"):
            CameraSettings(**bad)
    with pytest.raises(ValueError, match="at least 1 view"):
        sphere_cameras(0, 0, 64)
    with pytest.raises(ValueError, match="pixels"):
        make_cameras([(0, 0)], 4)
