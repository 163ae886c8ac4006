"""The decomposed 3D-aware convolution against the obvious concatenated one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rodin.nn.aware_conv import TriplaneConv2d


def concatenated(planes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """method: concatenate own plane and both pooled planes, then convolve (the slow twin)."""
    uv, wu, vw = planes.unbind(1)

    def columns(line: Tensor) -> Tensor:
        return line[..., None, :].expand_as(uv)

    def rows(line: Tensor) -> Tensor:
        return line[..., None].expand_as(uv)

    stacked = torch.stack(
        [
            torch.cat([uv, columns(wu.mean(-2)), rows(vw.mean(-1))], 1),
            torch.cat([wu, columns(uv.mean(-2)), rows(vw.mean(-2))], 1),
            torch.cat([vw, rows(uv.mean(-1)), columns(wu.mean(-1))], 1),
        ],
        1,
    )
    out = functional.conv2d(stacked.flatten(0, 1), weight, bias, padding=weight.shape[-1] // 2)
    return out.unflatten(0, (-1, 3))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 16])
def test_equals_concatenated_form(kernel: int, size: int) -> None:
    g = torch.Generator().manual_seed(kernel * 100 + size)
    layer = TriplaneConv2d(5, 7, kernel)
    planes = torch.randn(2, 3, 5, size, size, generator=g).requires_grad_()
    probe = torch.randn(2, 3, 7, size, size, generator=g)
    fast = layer(planes)
    slow = concatenated(planes, layer.weight, layer.bias)
    assert relative(fast, slow) < 1e-5
    inputs = [planes, layer.weight, layer.bias]
    for a, b in zip(
        torch.autograd.grad((fast * probe).sum(), inputs),
        torch.autograd.grad((slow * probe).sum(), inputs),
        strict=True,
    ):
        assert relative(a, b) < 1e-5


def test_equality_at_working_width_in_channels_last() -> None:
    g = torch.Generator().manual_seed(0)
    layer = TriplaneConv2d(32, 48, 3)
    planes = torch.randn(6, 32, 32, 32, generator=g).to(memory_format=torch.channels_last)
    fast = layer(planes.unflatten(0, (2, 3)))
    assert (
        relative(fast, concatenated(planes.unflatten(0, (2, 3)), layer.weight, layer.bias)) < 1e-5
    )


# What an output texel (r, c) of each plane may see: per source plane, which of its
# axes must match, and against which of the target's coordinates (None: any).
VISIBLE = {
    0: {0: ("r", "c"), 1: (None, "c"), 2: ("r", None)},
    1: {1: ("r", "c"), 0: (None, "c"), 2: (None, "r")},
    2: {2: ("r", "c"), 0: ("r", None), 1: ("c", None)},
}


@pytest.mark.parametrize("target", [0, 1, 2])
def test_dependency_is_neighbourhood_and_matching_lines_only(target: int) -> None:
    size, place = 9, {"r": 2, "c": 6}
    planes = torch.randn(1, 3, 2, size, size, dtype=torch.float64, requires_grad=True)
    layer = TriplaneConv2d(2, 3, 3).double()
    out = layer(planes)[0, target, :, place["r"], place["c"]].sum()
    seen = torch.autograd.grad(out, planes)[0][0].abs().sum(1) > 1e-15
    near = {k: (torch.arange(size) - v).abs() <= 1 for k, v in place.items()}
    anywhere = torch.ones(size, dtype=torch.bool)
    for source in range(3):
        row_key, column_key = VISIBLE[target][source]
        rows = anywhere if row_key is None else near[row_key]
        columns = anywhere if column_key is None else near[column_key]
        assert torch.equal(seen[source], rows[:, None] & columns[None, :]), (target, source)


def test_dependency_test_can_fail() -> None:
    """A roll-out convolution, which leaks over the seams, does not pass the same check."""
    planes = torch.randn(1, 2, 9, 27, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3)
    out = functional.conv2d(planes, weight, padding=1)[0, :, 4, 8].sum()
    seen = torch.autograd.grad(out, planes)[0][0].abs().sum(0) > 0
    assert seen[:, 9:].any()


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 3, 4, 8, 6), "square"), ((1, 3, 5, 8, 8), "expected"), ((3, 4, 8, 8), "expected")],
)
def test_bad_shapes_are_named(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TriplaneConv2d(4, 4, 3)(torch.zeros(shape))


def test_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        TriplaneConv2d(4, 4, 2)
