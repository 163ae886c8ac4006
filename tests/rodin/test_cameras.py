"""Frames and cameras: round trips, and every refused camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rodin import cameras, conventions


def rig(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    angle = torch.arange(count, dtype=torch.float32)
    intrinsics = cameras.intrinsics_from_fov(48, 32).expand(count, 3, 3).clone()
    return cameras.orbit(angle * 70, angle * 17 - 30), intrinsics


def test_rays_hit_their_own_pixel_centres() -> None:
    camera_to_world, intrinsics = rig()
    intrinsics[:, 0, 1] = 3.0  # skew
    origins, directions = cameras.rays(camera_to_world, intrinsics, 32, 48)
    assert origins.shape == directions.shape == (5, 32, 48, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(5, 32, 48))
    points = (origins + 3.7 * directions).flatten(1, 2)
    pixels, depth = cameras.project(points, camera_to_world, intrinsics)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(48), indexing="ij")
    expected = torch.stack((columns, rows), -1).view(1, -1, 2) + 0.5
    torch.testing.assert_close(pixels, expected.expand(5, -1, 2), atol=2e-4, rtol=0)
    assert (depth > 3).all()
    back = cameras.unproject(pixels, depth, camera_to_world, intrinsics)
    torch.testing.assert_close(back, points, atol=1e-5, rtol=0)


def test_the_front_camera_sees_right_up_and_front() -> None:
    camera = cameras.orbit(0.0, 0.0)
    intrinsics = cameras.intrinsics_from_fov(100, 100)
    points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    pixels, depth = cameras.project(points, camera, intrinsics)
    assert pixels[0].tolist() == pytest.approx([50, 50])
    assert pixels[1, 0] > 50  # +x is on the viewer's right
    assert pixels[2, 1] < 50  # +y is up
    assert depth[3] < depth[0]  # +z is nearer
    assert cameras.orbit(90.0, 0.0)[0, 3] == pytest.approx(conventions.DEFAULT_RADIUS)


def test_looking_straight_down_is_a_rotation() -> None:
    camera = cameras.orbit(0.0, 90.0)
    cameras.check(camera[None], cameras.intrinsics_from_fov(32, 32)[None], 32, 32)


def test_turntable_closes() -> None:
    turn = cameras.turntable(8, elevation_degrees=0.0)
    torch.testing.assert_close(turn[0, :3, 3], torch.tensor([0.0, 0.0, 4.8]))
    assert turn[2, 0, 3] == pytest.approx(4.8, abs=1e-5)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda c, k: c[2, :3, 3].zero_(), "view 2 is inside the unit box"),
        (lambda c, k: c[1, :3, 2].neg_(), "view 1 is not a right-handed rotation"),
        (lambda c, k: c[1, :3, :3].mul_(2), "unscaled"),
        (lambda c, k: c[3, :3, 1:3].neg_(), "view 3 .* does not look at the box centre"),
        (lambda c, k: c[0, 0, 3].fill_(float("nan")), "NaN"),
        (lambda c, k: k[4, 0, 0].fill_(1.2), "intrinsics in pixels"),
    ],
)
def test_wrong_cameras_are_refused(damage, text: str) -> None:
    camera_to_world, intrinsics = rig()
    camera_to_world = cameras.orbit(torch.arange(5) * 40.0, 10.0)
    cameras.check(camera_to_world, intrinsics, 32, 48)
    damage(camera_to_world, intrinsics)
    with pytest.raises(cameras.CameraError, match=text):
        cameras.check(camera_to_world, intrinsics, 32, 48)


def test_blender_round_trip() -> None:
    points = np.random.default_rng(0).normal(size=(7, 3))
    back = conventions.avatar_to_blender(conventions.blender_to_avatar(points))
    np.testing.assert_allclose(back, points, atol=1e-12)
    # The eye midpoint is 5 cm above the box centre; Blender's -y is the avatar's front.
    np.testing.assert_allclose(conventions.blender_to_avatar(np.zeros(3)), [0, 0.2, 0])
    np.testing.assert_allclose(conventions.blender_to_avatar([0, -0.25, -0.05]), [0, 0, 1])


def test_blender_camera_looks_the_same_way() -> None:
    camera = cameras.orbit(30.0, 20.0).double()
    matrix = conventions.blender_matrix_from_camera(camera.numpy())
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)
    # A Blender camera looks along its own -z: from the camera that line meets the box centre.
    eye, forward = matrix[:3, 3], -matrix[:3, 2]
    centre = conventions.avatar_to_blender(np.zeros(3))
    np.testing.assert_allclose(eye + forward * np.linalg.norm(centre - eye), centre, atol=1e-6)
    up = matrix[:3, 1]
    assert up[2] > 0.9  # Blender's z is up


def test_texels() -> None:
    np.testing.assert_allclose(conventions.texel_centres(4), [-0.75, -0.25, 0.25, 0.75])
    with pytest.raises(ValueError, match="count is 0"):
        conventions.texel_centres(0)
