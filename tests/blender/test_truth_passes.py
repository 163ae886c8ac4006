"""Ground truth against Blender itself: projection, ray casting, normals, classes, landmarks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from blender.cameras import Cameras, CameraSettings, make_cameras, sphere_cameras
from blender.cycles import add_camera, place, quiet
from blender.labels import LABELS
from blender.landmarks import landmark_points, landmark_vertices, project, template_points
from blender.render import Rendered, RenderSettings, build, cached_body, render_avatar
from blender.spec import AvatarSpec, sample_spec
from blender.spec_face import Expression, Pose
from blender.spec_hair import Hair
from rodin.conventions import BOX_HALF_SIZE_M, avatar_to_blender

ALL = RenderSettings(samples=1, denoise=False, normals=True, labels=True, landmarks=True)
BALD = AvatarSpec(hair=Hair(style="bald"), pose=Pose(yaw=5.0, pitch=-3.0))


@pytest.fixture(scope="module")
def drawn(asset_cache: Path) -> tuple[Cameras, Rendered]:
    cameras = sphere_cameras(4, 3, 96, CameraSettings(focal_jitter=0.2, centre_jitter=0.05))
    return cameras, render_avatar(BALD, cameras, ALL, asset_cache)


def test_points_land_where_blender_puts_them(
    drawn: tuple[Cameras, Rendered], asset_cache: Path
) -> None:
    """0.25 px is asked for; the two agree far better, with jittered lenses too."""
    cameras, _ = drawn
    points = landmark_points(cached_body(asset_cache).shape(BALD))
    ours, _ = project(points, cameras)
    with quiet():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        scene.render.resolution_x = scene.render.resolution_y = cameras.width
        camera = add_camera()
        for view in range(len(cameras)):
            place(camera, cameras, view)
            bpy.context.view_layer.update()
            for k, point in enumerate(avatar_to_blender(points)):
                x, y, _ = world_to_camera_view(scene, camera, Vector(point))
                theirs = np.array([x, 1.0 - y]) * cameras.width
                assert np.abs(ours[view, k] - theirs).max() < 0.01


def test_depth_and_normals_are_those_of_cast_rays(
    drawn: tuple[Cameras, Rendered], asset_cache: Path
) -> None:
    cameras, result = drawn
    assert result.depth is not None and result.normals is not None and result.labels is not None
    with quiet():
        build(BALD, asset_cache)
        graph = bpy.context.evaluated_depsgraph_get()
    rng = np.random.default_rng(0)
    gaps, angles = [], []
    for view in range(len(cameras)):
        solid = np.isin(result.labels[view], [LABELS["skin"], LABELS["clothes"]])
        rows, columns = np.nonzero(solid)
        for index in rng.choice(len(rows), 150, replace=False):
            row, column = rows[index], columns[index]
            local = np.linalg.inv(cameras.intrinsics[view]) @ (column + 0.5, row + 0.5, 1.0)
            pose = cameras.camera_to_world[view]
            start, ray = pose[:3, 3], pose[:3, :3] @ local
            a, b = avatar_to_blender(np.stack([start, start + ray]))
            hit, place_, normal, *_ = bpy.context.scene.ray_cast(
                graph, Vector(a), Vector(b - a).normalized()
            )
            assert hit
            z = np.linalg.norm(np.array(place_) - a) / np.linalg.norm(local) / BOX_HALF_SIZE_M
            gaps.append(abs(z - result.depth[view, row, column]))
            face = np.array([normal[0], normal[2], -normal[1]])
            face *= -np.sign(face @ ray)
            angles.append(float(face @ result.normals[view, row, column]))
    # Rays graze outlines and lashes: there one pixel in a hundred may see something else.
    assert np.quantile(gaps, 0.99) < 0.005 * 2
    assert np.median(np.degrees(np.arccos(np.clip(angles, -1, 1)))) < 4.0


def test_normals_have_unit_length_and_face_the_camera(drawn: tuple[Cameras, Rendered]) -> None:
    cameras, result = drawn
    assert result.depth is not None and result.normals is not None
    length = np.linalg.norm(result.normals, axis=-1)
    seen = result.depth > 0
    np.testing.assert_allclose(length[seen], 1.0, atol=1e-5)
    assert not length[~seen].any()
    towards = cameras.camera_to_world[:, None, None, :3, 2]
    assert ((result.normals * -towards).sum(axis=-1)[seen] > -0.35).mean() > 0.995


def test_outline_of_alpha_and_depth_agree(asset_cache: Path) -> None:
    """Where alpha is all or nothing, depth says the same, but for 1 % of the outline's pixels."""
    cameras = sphere_cameras(4, 2, 128)
    settings = RenderSettings(samples=16, denoise=False)
    result = render_avatar(sample_spec(2), cameras, settings, asset_cache)
    assert result.depth is not None
    alpha, seen = result.rgba[..., 3], result.depth > 0
    border = ((alpha > 0) & (alpha < 255)).sum()
    wrong = (seen & (alpha == 0)).sum() + (~seen & (alpha == 255)).sum()
    assert border > 500
    assert wrong <= 0.01 * border


def test_classes_lie_where_they_belong(asset_cache: Path) -> None:
    spec = replace(BALD, hair=Hair(style="long"), pose=Pose())
    spec = replace(spec, expression=Expression(actions=(("jawOpen", 0.5),)))
    cameras = make_cameras([(0.0, 0.0)], 128, CameraSettings(fov=14.0, aim=0.1))
    result = render_avatar(spec, cameras, ALL, asset_cache)
    assert result.labels is not None and result.landmarks is not None
    labels = result.labels[0]
    inner = [LABELS[name] for name in ("mouth", "teeth", "tongue")]
    assert np.isin(labels, inner).sum() > 15, "the open mouth"
    for name in ("skin", "lips", "eyes", "brows", "hair", "clothes"):
        assert (labels == LABELS[name]).sum() > 8, name
    marks = result.landmarks.pixels[0]
    for name, index in (("lips", range(48, 60)), ("eyes", range(36, 48))):
        row, column = np.nonzero(labels == LABELS[name])
        low, high = marks[list(index)].min(axis=0), marks[list(index)].max(axis=0)
        inside = (column > low[0] - 3) & (column < high[0] + 3)
        assert (inside & (row > low[1] - 3) & (row < high[1] + 3)).mean() > 0.98, name
    assert (result.depth[0] > 0)[labels > 0].all()  # type: ignore[index]


def test_landmarks_are_symmetric_and_complete(asset_cache: Path) -> None:
    points = template_points()
    assert np.isfinite(points).all()
    order = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43,
             42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64,
             63, 62, 61, 60, 67, 66, 65]  # fmt: skip
    np.testing.assert_allclose(points[order] * (-1.0, 1.0, 1.0), points)
    body = cached_body(asset_cache)
    index = landmark_vertices(body.npos, body.quads["body"])
    assert len(set(index.tolist())) == 68
    assert np.linalg.norm(body.npos[index] - points, axis=1).max() < 0.05


def test_jaw_takes_the_lower_lip_along(asset_cache: Path) -> None:
    body = cached_body(asset_cache)
    shut = landmark_points(body.shape(BALD))
    wide = replace(BALD, expression=Expression(actions=(("jawOpen", 0.6),)))
    moved = landmark_points(body.shape(wide)) - shut
    assert np.abs(moved[61:64, 1]).max() < 0.02, "the upper inner lip stays"
    assert moved[65:68, 1].max() < -0.04, "the lower one goes down"
    assert moved[8, 1] < -0.02, "and so does the chin"


def test_visibility_follows_the_view(asset_cache: Path) -> None:
    cameras = make_cameras([(0.0, 0.0), (75.0, 0.0), (180.0, 0.0)], 96)
    result = render_avatar(replace(BALD, pose=Pose()), cameras, ALL, asset_cache)
    assert result.landmarks is not None
    front, side, back = result.landmarks.visible
    assert front.sum() >= 64
    assert side[42:48].sum() > side[36:42].sum(), "the near eye is the left one"
    assert not back.any()


def test_what_was_not_asked_for_is_none(asset_cache: Path) -> None:
    plain = RenderSettings(samples=1, denoise=False, depth=False)
    result = render_avatar(BALD, make_cameras([(0.0, 0.0)], 32), plain, asset_cache)
    assert result.depth is None and result.normals is None
    assert result.labels is None and result.landmarks is None
