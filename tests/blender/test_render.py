"""Renders: people inside the box, exact depth, straight alpha, silence, determinism."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blender import BuildError
from blender.cameras import Cameras, make_cameras, sphere_cameras
from blender.render import Rendered, RenderSettings, render_avatar
from blender.spec import AvatarSpec, Hair, sample_spec

QUICK = RenderSettings(samples=4, threads=2)


def unproject(cameras: Cameras, depth: np.ndarray, view: int) -> np.ndarray:
    """Avatar-frame points (N, 3) of the pixels where something is."""
    row, column = np.nonzero(depth[view])
    z = depth[view][row, column]
    k = cameras.intrinsics[view]
    x = (column + 0.5 - k[0, 2]) / k[0, 0] * z
    y = (row + 0.5 - k[1, 2]) / k[1, 1] * z
    local = np.stack([x, y, z, np.ones_like(z)], axis=1)
    return (local @ cameras.camera_to_world[view].T)[:, :3]


@pytest.fixture(scope="module")
def drawn(asset_cache: Path) -> tuple[Cameras, Rendered]:
    cameras = sphere_cameras(5, 1, 64)
    return cameras, render_avatar(sample_spec(1), cameras, QUICK, asset_cache)


def test_everything_seen_lies_inside_the_box(drawn: tuple[Cameras, Rendered]) -> None:
    cameras, result = drawn
    assert result.depth is not None
    for view in range(len(cameras)):
        points = unproject(cameras, result.depth, view)
        assert len(points) > 300
        assert np.abs(points).max() < 1.0


def test_depth_is_where_the_colour_is(drawn: tuple[Cameras, Rendered]) -> None:
    _, result = drawn
    assert result.depth is not None
    seen, opaque, empty = result.depth > 0, result.rgba[..., 3] == 255, result.rgba[..., 3] == 0
    assert seen[opaque].mean() > 0.99
    assert seen[empty].mean() < 0.01
    assert not result.rgba[empty].any(), "no colour under alpha 0"


def test_depth_finds_the_tip_of_the_nose(asset_cache: Path) -> None:
    """The nearest thing to a frontal camera is the nose of the shaped body, to a millimetre."""
    from blender.body import load_body
    from rodin.conventions import blender_to_avatar

    spec = AvatarSpec(hair=Hair(style="bald"))
    cameras = make_cameras([(0.0, 0.0)], 128)
    result = render_avatar(spec, cameras, RenderSettings(samples=1, denoise=False), asset_cache)
    assert result.depth is not None
    shaped = load_body(asset_cache).shape(spec)
    skin = blender_to_avatar(shaped.vertices[np.unique(shaped.body_quads)])
    tip = skin[np.abs(skin[:, 0]) < 0.1, 2]
    upper = result.depth[0, :80]
    assert 4.8 - upper[upper > 0].min() == pytest.approx(tip.max(), abs=0.006)
    points = unproject(cameras, result.depth, 0)
    assert points[:, 1].max() == pytest.approx(skin[:, 1].max(), abs=0.03)


def test_silent_and_identical_without_the_denoiser(
    asset_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cameras = make_cameras([(0.0, 0.0), (60.0, 10.0)], 48)
    settings = RenderSettings(samples=2, denoise=False, threads=2)
    first = render_avatar(sample_spec(2), cameras, settings, asset_cache)
    again = render_avatar(sample_spec(2), cameras, settings, asset_cache)
    assert first.rgba.tobytes() == again.rgba.tobytes()
    assert first.depth is not None and again.depth is not None
    assert first.depth.tobytes() == again.depth.tobytes()
    assert capfd.readouterr().out == ""


def test_camera_that_looks_away_is_named(asset_cache: Path) -> None:
    away = make_cameras([(0.0, 0.0)], 16)
    away.camera_to_world[:, :3, :3] = np.diag([1.0, -1.0, -1.0]) @ np.diag([1.0, -1.0, -1.0])
    with pytest.raises(BuildError, match="look at the box"):
        render_avatar(sample_spec(0), away, RenderSettings(samples=1, depth=False), asset_cache)


def test_bad_settings_are_refused() -> None:
    for bad in ({"samples": 0}, {"threads": 0}, {"subdivision": 9}):
        with pytest.raises(ValueError, match="use"):
            RenderSettings(**bad)
