"""What of planes is seen: the estimate against whole Jacobians, and losses with it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion import sight
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.sight import Sight, measure_sight
from rodin.diffusion.statistics import PlaneStatistics, measure_planes
from tests.rodin.systems import (
    BASE,
    CHANNELS,
    MEAN,
    STD,
    UPSAMPLER,
    generator,
    make_batch,
    upsampler_system,
)

SIZE = 4


def people(count: int) -> Tensor:
    return torch.randn(count, 3, CHANNELS, SIZE, SIZE, generator=generator())


def decoder() -> TriplaneDecoder:
    """Blind to the last channel."""
    torch.manual_seed(0)
    made = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    first = next(p for p in made.parameters() if p.ndim == 2 and p.shape[1] >= CHANNELS)
    first.data[:, CHANNELS - 1] = 0
    return made


def measured(planes: Tensor, seed: int = 0) -> tuple[Sight, PlaneStatistics]:
    statistics = PlaneStatistics(*measure_planes(planes), CHANNELS, SIZE)
    return measure_sight(planes, decoder(), statistics, seed), statistics


def test_it_is_the_square_of_the_jacobian(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many random sums give what every pixel's own gradient gives, summed."""
    monkeypatch.setattr(sight, "VIEWS", 1)
    monkeypatch.setattr(sight, "SIGNS", 400)
    planes = people(2)[:1] * 1.0
    statistics = PlaneStatistics(torch.zeros(CHANNELS), torch.ones(CHANNELS), CHANNELS, SIZE)
    found = measure_sight(planes, decoder(), statistics)

    def picture(raw: Tensor) -> Tensor:
        return sight._picture(raw, decoder(), generator(0)).flatten()

    slopes = torch.autograd.functional.jacobian(picture, planes)[:, 0]
    channels = torch.einsum("npchw,npdhw->cd", slopes, slopes)
    error = found.channels / found.channels.trace() - channels / channels.trace()
    assert error.abs().max() < 0.03
    texels = torch.nn.functional.avg_pool2d(
        slopes.square().sum((0, 2))[None], 3, 1, 1, count_include_pad=False
    )[0]
    assert (found.texels / found.texels.mean() - texels / texels.mean()).abs().max() < 0.2


def test_what_the_decoder_does_not_see_counts_for_nothing() -> None:
    planes = people(6)
    found, statistics = measured(planes)
    error = torch.zeros(1, 3, CHANNELS, SIZE, SIZE)
    error[:, :, CHANNELS - 1] = 1
    assert found(error).item() < 1e-8
    error[:, :, 0] = 1
    assert found(error).item() > 0.01
    torch.testing.assert_close(found(statistics.normalise(planes)).mean(), torch.tensor(1.0))


def test_the_same_seed_gives_the_same_metric() -> None:
    one, two, other = (measured(people(3), seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one.channels, two.channels) and torch.equal(one.texels, two.texels)
    assert not torch.equal(one.texels, other.texels)


def test_nothing_to_see_is_refused() -> None:
    statistics = PlaneStatistics(MEAN, STD, CHANNELS, SIZE)
    with pytest.raises(ValueError, match="0 planes show nothing"):
        measure_sight([], decoder(), statistics)


def test_the_loss_of_the_base() -> None:
    """With the identity for a metric the loss is the plain one; shares mix the two."""
    torch.manual_seed(0)
    plain = BaseSystem(BASE, MEAN, STD)
    seen = BaseSystem(dataclasses.replace(BASE, sight=0.75), MEAN, STD)
    seen.load_state_dict(plain.state_dict())
    batch, t = make_batch(), torch.tensor([0.3, 0.6])

    def loss(system: BaseSystem) -> Tensor:
        return system.loss(batch, generator(), t)["loss"]

    with pytest.raises(ValueError, match="nothing was measured"):
        loss(seen)
    texels = torch.ones(3, BASE.size, BASE.size)
    identity = torch.eye(CHANNELS) / CHANNELS
    seen.attach(Sight(identity * CHANNELS, texels / CHANNELS))
    torch.testing.assert_close(loss(seen), loss(plain))
    seen.attach(Sight(identity, 3 * texels))
    torch.testing.assert_close(loss(seen), (0.25 + 0.75 * 3) * loss(plain))
    assert set(seen.state_dict()) == set(plain.state_dict())  # no part of the weights


def test_the_loss_of_the_upsampler() -> None:
    """As the base's; what was measured of small planes serves larger ones."""
    plain = dataclasses.replace(UPSAMPLER, patch_weight=0.0, perceptual_weight=0.0)
    seen = upsampler_system(dataclasses.replace(plain, sight=0.75))
    batch = make_batch()
    with pytest.raises(ValueError, match=r"upsampler\.sight is 0\.75, and nothing was measured"):
        seen.loss(batch, generator())
    assert seen._frozen is not None
    low = Sight(torch.eye(CHANNELS) / CHANNELS, 3 * torch.ones(3, 8, 8))
    seen.attach(seen._frozen[0], sight=low)
    wanted = upsampler_system(plain).loss(batch, generator())["loss"]
    torch.testing.assert_close(seen.loss(batch, generator())["loss"], (0.25 + 0.75 * 3) * wanted)
    assert set(seen.state_dict()) == set(upsampler_system(plain).state_dict())


def test_a_sight_of_another_size() -> None:
    """Texels keep their places and their mean."""
    texels = torch.zeros(3, 8, 8)
    texels[1, 2, 5] = 4.0
    large = Sight(torch.eye(2), texels).resized(16)
    assert large.texels.shape == (3, 16, 16)
    assert large.texels.mean().item() == pytest.approx(texels.mean().item())
    assert not large.texels[0].any() and not large.texels[2].any()
    row, column = divmod(int(large.texels[1].argmax()), 16)
    assert row // 2 == 2 and column // 2 == 5
    assert torch.equal(Sight(torch.eye(2), texels).resized(8).texels, texels)


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"upsampler.sight is -1"):
        dataclasses.replace(UPSAMPLER, sight=-1)
    with pytest.raises(ValueError, match=r"base.sight is 1.0; it lies in \[0, 1\)"):
        dataclasses.replace(BASE, sight=1.0)
