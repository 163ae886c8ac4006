"""Distances of sets of images: against closed forms, and in the order that eyes have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rodin.distances import FEATURES, embed, nearest, set_distances, spread
from rodin.perceptual import load


def normal(count: int, mean: float, std: float, seed: int) -> Tensor:
    return mean + std * torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def test_frechet_distance_of_two_gaussians() -> None:
    """|mean difference|^2 + sum (std difference)^2, over 4 independent features."""
    a, b = normal(4000, 0.0, 1.0, 0), normal(4000, 1.0, 2.0, 1)
    found = set_distances(a, b)
    assert found[f"fd_{FEATURES}"] == pytest.approx(4 * 1 + 4 * 1, rel=0.06)
    assert found[f"kd_{FEATURES}"] > 0.1
    same = set_distances(a[:2000], a[2000:])
    assert same[f"fd_{FEATURES}"] < 0.05
    assert abs(same[f"kd_{FEATURES}"]) < 0.1
    assert same == set_distances(a[:2000], a[2000:]), "no chance between two calls"


def test_precision_is_of_the_generated_and_recall_of_the_real() -> None:
    real = torch.cat([normal(60, 0, 1, 0), normal(60, 40, 1, 1)])
    half = normal(60, 0, 1, 2)
    found = set_distances(half, real)
    assert found[f"precision_{FEATURES}"] > 0.8, "all generated are like real ones"
    assert found[f"recall_{FEATURES}"] == pytest.approx(0.5, abs=0.1), "half of the real are missed"
    other = set_distances(normal(60, 90, 1, 3), real)
    assert other[f"precision_{FEATURES}"] == other[f"recall_{FEATURES}"] == 0
    with pytest.raises(ValueError, match="at least 4"):
        set_distances(half[:3], real)


def test_spread_and_nearest() -> None:
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    assert spread(corners) == pytest.approx((3 + 4 + 5) / 3)
    distance, index = nearest(torch.tensor([[0.0, 3.0]]), corners)
    assert (distance.item(), index.item()) == (1.0, 2)
    with pytest.raises(ValueError, match="at least 2"):
        spread(corners[:1])


def test_features_see_spoilt_images() -> None:
    g = torch.Generator().manual_seed(0)
    network = load()
    base = torch.nn.functional.interpolate(
        torch.rand(12, 3, 6, 6, generator=g), (48, 48), mode="bicubic"
    ).clamp(0, 1)
    clean = embed(base, network)
    assert clean.shape[0] == 12
    small = embed((base + 0.02 * torch.randn(base.shape, generator=g)).clamp(0, 1), network)
    large = embed((base + 0.2 * torch.randn(base.shape, generator=g)).clamp(0, 1), network)
    name = f"fd_{FEATURES}"
    assert set_distances(small, clean)[name] < 0.5 * set_distances(large, clean)[name]
    assert torch.allclose(embed(base, network, batch=5), clean, atol=1e-4)
