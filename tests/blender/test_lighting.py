"""Rigs differ, 'varied' follows the seed; jittered lenses are what the cameras say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blender.cameras import CameraSettings, make_cameras, sphere_cameras
from blender.light_rigs import RIGS, rig_of
from blender.render import RenderSettings, render_avatar, save_blend
from blender.spec import AvatarSpec
from blender.spec_hair import Hair

BALD = AvatarSpec(hair=Hair(style="bald"))


def test_every_rig_gives_another_picture_of_the_same_shape(asset_cache: Path) -> None:
    cameras = make_cameras([(0.0, 0.0)], 48)
    means, outlines = {}, {}
    for name in RIGS:
        settings = RenderSettings(samples=4, denoise=False, depth=False, light=name)
        rgba = render_avatar(BALD, cameras, settings, asset_cache).rgba[0]
        seen = rgba[rgba[..., 3] == 255][:, :3]
        means[name], outlines[name] = seen.mean(axis=0), rgba[..., 3] > 127
        assert 40 < seen.mean() < 225, f"{name} is lit"
        assert (seen > 250).all(axis=1).mean() < 0.12, f"{name} is not burnt out"
    for name in set(RIGS) - {"even"}:
        assert np.abs(means[name] - means["even"]).max() > 2, name
        assert (outlines[name] == outlines["even"]).mean() > 0.99


def test_varied_light_follows_the_seed() -> None:
    assert rig_of("varied", 0) == rig_of("varied", 0)
    assert len({repr(rig_of("varied", seed)) for seed in range(12)}) == 12
    assert rig_of("even", 1) == rig_of("even", 2)


def test_jitter_moves_all_lenses_but_the_first() -> None:
    plain = sphere_cameras(9, 4, 64)
    moved = sphere_cameras(9, 4, 64, CameraSettings(focal_jitter=0.1, centre_jitter=0.02))
    np.testing.assert_array_equal(plain.camera_to_world, moved.camera_to_world)
    np.testing.assert_array_equal(plain.intrinsics[0], moved.intrinsics[0])
    ratio = moved.intrinsics[1:, 0, 0] / plain.intrinsics[1:, 0, 0]
    assert np.abs(ratio - 1).max() <= 0.1 and np.ptp(ratio) > 0.02
    np.testing.assert_array_equal(moved.intrinsics[:, 0, 0], moved.intrinsics[:, 1, 1])
    shift = moved.intrinsics[1:, :2, 2] - 32
    assert np.abs(shift).max() <= 0.02 * 64 and np.ptp(shift) > 0.3


@pytest.mark.parametrize("bad", [{"focal_jitter": 0.6}, {"centre_jitter": -0.1}, {"aim": 3.0}])
def test_bad_cameras_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="use"):
        CameraSettings(**bad)


def test_blend_file_opens_with_everything_in_it(asset_cache: Path, tmp_path: Path) -> None:
    import bpy

    path = tmp_path / "sub" / "avatar.blend"
    spec = replace(BALD, hair=Hair(style="short"))
    save_blend(spec, path, RenderSettings(), asset_cache)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    scene = bpy.context.scene
    assert {"skin", "eye_l", "hair", "brows"} <= set(scene.objects.keys())
    assert scene.camera is not None and scene.render.engine == "CYCLES"
    assert any(item.type == "LIGHT" for item in scene.objects)
