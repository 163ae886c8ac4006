"""Lookup against the slow obvious one, gradients included; three planes, three axis pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rodin import conventions, triplane


def sample_naive(planes: Tensor, points: Tensor) -> Tensor:
    """grid_sample, plane by plane."""
    total = torch.zeros(planes.shape[0], points.shape[1], planes.shape[2], dtype=planes.dtype)
    for plane, (row, column) in enumerate(conventions.PLANE_AXES):
        grid = torch.stack((points[..., column], points[..., row]), -1)[:, None]
        value = functional.grid_sample(
            planes[:, plane], grid, padding_mode="zeros", align_corners=False
        )
        total = total + value[:, :, 0].transpose(1, 2)
    return total


def sample_by_hand(plane: Tensor, row: float, column: float) -> float:
    """Bilinear lookup of one (H, W) plane by the formula, in Python."""
    height, width = plane.shape
    y, x = (row + 1) * height / 2 - 0.5, (column + 1) * width / 2 - 0.5
    total = 0.0
    for j in range(height):
        for i in range(width):
            weight = max(0.0, 1 - abs(y - j)) * max(0.0, 1 - abs(x - i))
            total += weight * plane[j, i].item()
    return total


@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 16, 32, 32), (3, 1, 1, 4), (1, 2, 120, 120)])
def test_sample_equals_grid_sample_and_its_gradients(shape: tuple[int, int, int, int]) -> None:
    batch, channels, height, width = shape
    generator = torch.Generator().manual_seed(1)
    planes = torch.randn(batch, 3, channels, height, width, generator=generator).double()
    points = torch.rand(batch, 200, 3, generator=generator).double() * 2.8 - 1.4
    planes.requires_grad_()
    points.requires_grad_()
    fast, slow = triplane.sample(planes, points), sample_naive(planes, points)
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-10)
    weight = torch.randn(fast.shape, generator=generator).double()
    fast_gradients = torch.autograd.grad((fast * weight).sum(), (planes, points))
    slow_gradients = torch.autograd.grad((slow * weight).sum(), (planes, points))
    for a, b in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(triplane._sample_grid(planes, points), slow)


def test_sample_by_hand() -> None:
    planes = torch.randn(1, 3, 1, 4, 6, generator=torch.Generator().manual_seed(2))
    x, y, z = 0.3, -0.9, 0.99
    expected = (
        sample_by_hand(planes[0, 0, 0], y, x)
        + sample_by_hand(planes[0, 1, 0], z, x)
        + sample_by_hand(planes[0, 2, 0], y, z)
    )
    assert triplane.sample(planes, torch.tensor([[[x, y, z]]])).item() == pytest.approx(expected)


def test_a_texel_centre_returns_the_texel() -> None:
    planes = torch.arange(3 * 16, dtype=torch.float32).view(1, 3, 1, 4, 4)
    axis = torch.as_tensor(conventions.texel_centres(4)).float()
    x, y, z = 1, 2, 3
    value = triplane.sample(planes, torch.stack((axis[x], axis[y], axis[z])).view(1, 1, 3))
    expected = planes[0, 0, 0, y, x] + planes[0, 1, 0, z, x] + planes[0, 2, 0, y, z]
    assert value.item() == pytest.approx(expected.item())


def test_three_planes_see_three_axis_pairs() -> None:
    """EG3D's published code repeats a pair: a plane must ignore exactly one axis, each another."""
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(1, 50, 3, generator=generator) - 0.5
    ignored = []
    for plane in range(3):
        planes = torch.zeros(1, 3, 2, 8, 8)
        planes[:, plane] = torch.randn(1, 2, 8, 8, generator=generator)
        before = triplane.sample(planes, points)
        blind = []
        for axis in range(3):
            moved = points.clone()
            moved[..., axis] += 0.3
            blind.append(torch.equal(triplane.sample(planes, moved), before))
        assert sum(blind) == 1
        ignored.append(blind.index(True))
    assert ignored == [2, 1, 0]


def test_zero_outside() -> None:
    planes = torch.ones(1, 3, 1, 8, 8)
    far = torch.tensor([[[1.3, 1.3, 1.3], [-9.0, 5.0, 2.0]]])
    assert triplane.sample(planes, far).abs().max() == 0
    edge = triplane.sample(planes, torch.tensor([[[1.0, 0.0, 0.0]]]))
    assert edge.item() == pytest.approx(2.0)  # half in uv, half in wu, all of vw


def test_backward_gives_the_same_bytes_twice() -> None:
    generator = torch.Generator().manual_seed(4)
    planes = torch.randn(1, 3, 16, 32, 32, generator=generator).requires_grad_()
    points = torch.rand(1, 5000, 3, generator=generator) * 2 - 1
    first, second = (
        torch.autograd.grad(triplane.sample(planes, points).square().sum(), planes)[0]
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_no_points() -> None:
    assert triplane.sample(torch.ones(1, 3, 2, 4, 4), torch.zeros(1, 0, 3)).shape == (1, 0, 2)


def test_roll_out_round_trip_and_order() -> None:
    planes = torch.arange(2 * 3 * 2 * 4 * 5, dtype=torch.float32).view(2, 3, 2, 4, 5)
    image = triplane.roll_out(planes)
    assert image.shape == (2, 2, 4, 15)
    assert torch.equal(image[..., 5:10], planes[:, 1])
    assert torch.equal(triplane.unroll(image), planes)


def test_resize_is_per_plane_and_antialiased() -> None:
    planes = torch.zeros(1, 3, 1, 32, 32)
    planes[:, 1] = 1
    small = triplane.resize(planes, 8)
    assert small[:, 1].min() == pytest.approx(1.0) and small[:, (0, 2)].abs().max() == 0
    stripes = torch.ones(1, 3, 1, 32, 32)
    stripes[..., ::2] = -1
    assert triplane.resize(stripes, 8).abs().max() < 0.3  # plain bilinear would keep +-1
    assert torch.equal(triplane.resize(planes, 32), planes)


def test_wrong_shapes_are_named() -> None:
    planes = torch.zeros(1, 3, 2, 4, 4)
    with pytest.raises(ValueError, match=r"points are \(5, 3\)"):
        triplane.sample(planes, torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"pass \(B, 3, C, H, W\)"):
        triplane.sample(planes[0], torch.zeros(1, 5, 3))
    with pytest.raises(ValueError, match="roll-out"):
        triplane.unroll(torch.zeros(1, 2, 4, 10))
    with pytest.raises(ValueError, match="size is 0"):
        triplane.resize(planes, 0)
