"""Views: what is refused; metrics; space carving never removes visible matter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from rodin import cameras, metrics
from rodin import occupancy as occupancies
from rodin.views import Views, ViewsError
from tests.rodin import scenes


@pytest.fixture(scope="module")
def views() -> Views:
    return scenes.views(seed=1, count=9, size=48, samples=2)


def test_good_views_pass(views: Views) -> None:
    views.check()
    fitted, held_out = views.split(3)
    assert len(fitted) == 6 and len(held_out) == 3
    assert np.array_equal(fitted.rgba[0], views.rgba[0])  # the portrait is never held out


@pytest.mark.parametrize("held_out", [1, 2, 4, 5])
def test_held_out_views_are_disjoint_and_spread(views: Views, held_out: int) -> None:
    fitted, held = views.split(held_out)
    assert len(held) == held_out and len(fitted) == len(views) - held_out
    fitted_bytes = {view.tobytes() for view in fitted.rgba}
    assert all(view.tobytes() not in fitted_bytes for view in held.rgba)


def test_held_out_views_look_from_all_sides() -> None:
    """Every 8th camera of a golden-angle sequence looks from nearly the same side."""
    count = 33
    azimuth = torch.arange(count) * 222.4922
    views = Views(
        rgba=np.full((count, 4, 4, 4), 255, np.uint8),
        camera_to_world=cameras.orbit(azimuth, 0.0).numpy(),
        intrinsics=cameras.intrinsics_from_fov(4, 4).expand(count, 3, 3).numpy(),
    )
    centres = views.split(4)[1].camera_to_world[:, :3, 3]
    around = np.sort(np.degrees(np.arctan2(centres[:, 0], centres[:, 2])))
    gaps = np.diff(np.append(around, around[0] + 360))
    assert gaps.min() > 60 and gaps.max() < 120


def change(views: Views, **values: object) -> Views:
    return dataclasses.replace(views, **values)  # type: ignore[arg-type]


def test_bad_views_are_named(views: Views) -> None:
    depth = views.depth
    assert depth is not None
    transparent = views.rgba.copy()
    transparent[3, ..., 3] = 0
    damaged = depth.copy()
    damaged[2, 5, 5] = np.nan
    flipped = views.camera_to_world.copy()
    flipped[4, :3, 1:3] *= -1
    inside = views.camera_to_world.copy()
    inside[5, :3, 3] = 0.1
    two_sizes = [views.rgba[0], views.rgba[1][:24]] * 3
    cases = [
        (change(views, rgba=transparent), "view 3 is all transparent"),
        (change(views, depth=damaged), "depth of view 2 holds NaN"),
        (change(views, rgba=two_sizes), "one size"),
        (change(views, rgba=views.rgba.astype(np.float32)), "pass uint8"),
        (change(views, intrinsics=views.intrinsics[0]), "intrinsics is"),
        (views.select([0, 1, 2]), "3 views; render at least 4"),
        (change(views, camera_to_world=flipped), "view 4 .* does not look at"),
        (change(views, camera_to_world=inside), "view 5 is inside the unit box"),
    ]
    for bad, text in cases:
        with pytest.raises(ValueError, match=text):
            bad.check()
    with pytest.raises(ViewsError, match="hold out fewer"):
        views.split(6)


def surface_points(views: Views) -> torch.Tensor:
    """The visible points of all views, by their depth."""
    camera_to_world, intrinsics = views.cameras()
    assert views.depth is not None
    parts = []
    for view in range(len(views)):
        depth = torch.as_tensor(views.depth[view])
        row, column = (depth > 0).nonzero(as_tuple=True)
        pixels = torch.stack((column, row), -1).float() + 0.5
        parts.append(
            cameras.unproject(pixels, depth[row, column], camera_to_world[view], intrinsics[view])
        )
    return torch.cat(parts)


@pytest.mark.parametrize("use_depth", [False, True])
@pytest.mark.parametrize("size", [16, 48])
def test_carving_keeps_all_visible_matter(views: Views, use_depth: bool, size: int) -> None:
    grid = occupancies.from_views(views, size, use_depth)
    points = surface_points(views).clamp(-1, 1 - 1e-6)
    assert len(points) > 1000
    kept = occupancies.lookup(grid[None], points[None])[0]
    assert kept.all()
    assert grid.float().mean() < 0.5  # and it does carve


def test_depth_carves_more_than_silhouettes(views: Views) -> None:
    hull = occupancies.from_views(views, 32, use_depth=False)
    carved = occupancies.from_views(views, 32, use_depth=True)
    assert (carved & ~hull).sum() == 0 and carved.sum() < hull.sum()


def test_ssim_and_psnr_are_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, 24, 31, 3, generator=generator)
    b = (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    for i in range(2):
        expected = structural_similarity(
            a[i].double().numpy(), b[i].double().numpy(), channel_axis=-1, data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
        )[1][5:-5, 5:-5].mean()  # fmt: skip
        assert metrics.ssim(a, b)[i].item() == pytest.approx(expected, abs=1e-6)
        error = ((a[i] - b[i]).double() ** 2).mean().item()
        assert metrics.psnr(a, b)[i].item() == pytest.approx(-10 * np.log10(error))
    assert metrics.ssim(a, a).min() == pytest.approx(1.0)
    assert metrics.ssim(a[0], b[0]).shape == ()
    with pytest.raises(ValueError, match="at least 11 x 11"):
        metrics.ssim(a[:, :8], b[:, :8])


def test_alpha_iou_and_over() -> None:
    a = torch.zeros(1, 4, 4)
    a[0, :2] = 1
    b = torch.zeros(1, 4, 4)
    b[0, 1:3] = 1
    assert metrics.alpha_iou(a, b).item() == pytest.approx(1 / 3)
    truth = torch.tensor([[[4.0, 0.0, 5.0]], [[0.0, 4.0, 0.0]]])
    depth = torch.tensor([[[4.5, 3.0, 4.5]], [[4.0, 0.0, 0.0]]])
    assert metrics.depth_error(depth, truth).tolist() == [0.5, 0.0]
    assert metrics.over(torch.tensor([0.2, 0.4, 0.6, 0.5])).tolist() == pytest.approx(
        [0.6, 0.7, 0.8]
    )
