"""Averages put together afterwards against the same ones tracked in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rodin.ema import combine, exponent, mix, power_decay

STEPS, BATCH = 600, 4


def test_the_exponent_has_the_width_asked_for() -> None:
    """By the profile's own moments on a fine grid; the two values that the paper quotes."""
    s = (np.arange(200_000) + 0.5) / 200_000
    for width in (0.05, 0.1, 0.2):
        g = exponent(width)
        p = (g + 1) * s**g / len(s)
        mean = (p * s).sum()
        assert np.sqrt((p * (s - mean) ** 2).sum()) == pytest.approx(width, rel=1e-3)
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent(0.1) == pytest.approx(6.94, abs=0.01)
    for wrong in (0.0, 0.3):
        with pytest.raises(ValueError, match=r"0 < width < 0\.289"):
            exponent(wrong)


def walk() -> list[Tensor]:
    """Weights of a training: they come to rest, and shake while they do."""
    generator = torch.Generator().manual_seed(0)
    shake = torch.randn(STEPS, 50, generator=generator).cumsum(0) / 20
    return list(shake + 3 * torch.exp(-torch.arange(STEPS) / 150.0)[:, None])


def tracked(width: float, weights: list[Tensor]) -> list[Tensor]:
    average, found = weights[0], []
    for step, now in enumerate(weights, start=1):
        decay = power_decay(width, step * BATCH, BATCH)
        average = decay * average + (1 - decay) * now
        found.append(average)
    return found


@pytest.mark.parametrize("width", [0.06, 0.08, 0.12, 0.05])
@pytest.mark.parametrize("at", [STEPS, 450])
def test_put_together_equals_tracked(width: float, at: int) -> None:
    weights = walk()
    narrow, wide = tracked(0.05, weights), tracked(0.1, weights)
    steps = range(30, STEPS + 1, 30)
    stored = [(step * BATCH, each) for step in steps for each in (0.05, 0.1)]
    states = [{"w": kind[step - 1]} for step in steps for kind in (narrow, wide)]
    found = combine(mix(stored, at * BATCH, width), states)["w"]
    wanted = tracked(width, weights)[at - 1]
    scale = (weights[at - 1] - wanted).square().mean().sqrt()  # what averaging changed
    error = (found - wanted).square().mean().sqrt() / scale
    assert error < 0.03, float(error)
    # not because all averages are alike
    assert (narrow[at - 1] - wide[at - 1]).square().mean().sqrt() > 0.2 * scale


def test_what_cannot_be_put_together() -> None:
    with pytest.raises(ValueError, match="at 500 samples or later"):
        mix([(400, 0.05)], 500, 0.07)
    with pytest.raises(ValueError, match="before 0"):
        mix([], 1, 0.07)
    found = combine([0.5, 0.5], [{"n": torch.tensor(1)}, {"n": torch.tensor(2)}])
    assert found == {"n": torch.tensor(2)}
