"""The base system: statistics, loss in every output, noise levels, dropout, guidance."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rodin import triplane
from rodin.diffusion.base import BaseSystem
from rodin.diffusion.statistics import PlaneStatistics, measure_planes, spread_times
from rodin.diffusion.targets import WeightSettings
from rodin.diffusion.upsampler import UpsamplerSystem
from rodin.training import step_generator
from rodin.validation import losses_by_noise
from tests.rodin.systems import (
    BASE,
    CHANNELS,
    MEAN,
    STD,
    UNET,
    UPSAMPLER,
    base_system,
    generator,
    make_batch,
    upsampler_system,
)


def test_statistics_normalise_and_invert() -> None:
    planes = make_batch()["planes"]
    for mean, std in ((MEAN, STD), (MEAN.expand(3, -1), STD.expand(3, -1))):
        statistics = PlaneStatistics(mean, std, CHANNELS, 16)
        normal = statistics.normalise(planes)
        assert torch.allclose(normal[:, 1, 2], (planes[:, 1, 2] - MEAN[2]) / STD[2])
        assert torch.allclose(statistics.denormalise(normal), planes, atol=1e-5)
        assert set(statistics.state_dict()) == {"mean", "std"}


def test_mean_map_leaves_what_differs_between_avatars() -> None:
    planes = make_batch(5)["planes"]
    mean, std = measure_planes(planes)
    assert torch.allclose(mean, planes.mean(0), atol=1e-6)
    assert torch.allclose(std, (planes - mean).square().mean((0, 3, 4)).sqrt(), atol=1e-5)
    normal = PlaneStatistics(mean, std, CHANNELS, 16).normalise(planes)
    assert normal.mean(0).abs().max() < 1e-5
    assert torch.allclose(normal.std((0, 3, 4), unbiased=False), torch.ones(3, CHANNELS), atol=1e-4)
    torch.manual_seed(0)
    system = BaseSystem(BASE, mean, std)
    assert system.prepare(planes).mean(0).abs().max() < 1e-5, "the map is resized with the planes"
    upsampler = UpsamplerSystem(UPSAMPLER, mean, std)
    low = triplane.resize(planes, 8)
    expected = triplane.resize(upsampler.statistics.normalise(planes), 8)
    assert torch.allclose(upsampler._normalise_low(low), expected, atol=1e-5)
    other = BaseSystem(BASE, MEAN, STD)
    other.load_state_dict(system.state_dict())
    assert torch.equal(other.prepare(planes), system.prepare(planes)), "built with any statistics"
    with pytest.raises(ValueError, match="no planes"):
        measure_planes([])
    assert measure_planes(planes[:1])[1].min() > 0, "one avatar alone can be trained on"


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ([0.0], [1.0] * 4, "expected"),
        ([0.0] * 4, [1.0, 1.0, 0.0, 1.0], "std"),
        ([0.0, float("nan"), 0.0, 0.0], [1.0] * 4, "finite"),
    ],
)
def test_bad_statistics_are_named(mean: list, std: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PlaneStatistics(mean, std, CHANNELS, 16)


def test_times_are_spread_over_the_whole_range() -> None:
    t = spread_times(10, generator(), torch.device("cpu"))
    assert sorted((t * 10).floor().int().tolist()) == list(range(10))


@pytest.mark.parametrize("output", ["eps", "v", "x0"])
@pytest.mark.parametrize("learned", [False, True])
def test_base_loss_of_an_untrained_network(output: str, learned: bool) -> None:
    unet = dataclasses.replace(UNET, learned_variance=learned)
    system = base_system(dataclasses.replace(BASE, output=output, unet=unet))
    parts = system.loss(make_batch(4), generator())
    assert set(parts) == {"loss"} | ({"simple", "vlb"} if learned else set())
    simple = "simple" if learned else "loss"
    if output == "eps":  # it predicts zeros; the target has unit variance
        assert parts[simple].item() == pytest.approx(1, abs=0.1)
    assert all(value.isfinite() for value in parts.values())
    light = dataclasses.replace(
        BASE, output=output, unet=unet, weight=WeightSettings("min_snr", limit=1e-3)
    )
    assert base_system(light).loss(make_batch(4), generator())[simple] < 0.5 * parts[simple]
    again = base_system(dataclasses.replace(BASE, output=output, unet=unet))
    assert torch.equal(again.loss(make_batch(4), generator())["loss"], parts["loss"])


def test_bound_vanishes_for_a_perfect_reverse_step() -> None:
    system = base_system(
        dataclasses.replace(BASE, unet=dataclasses.replace(UNET, learned_variance=True))
    )
    clean = torch.randn(2, 3, CHANNELS, 8, 8)
    t = torch.tensor([0.3, 0.8], dtype=torch.float64)
    noisy = system.schedule.add_noise(clean, torch.randn_like(clean), t)
    none = torch.zeros_like(clean)
    assert system._bound(clean, noisy, clean, none, t).item() == pytest.approx(0, abs=1e-6)
    assert system._bound(clean, noisy, clean, none + 1, t) > 0
    assert system._bound(clean, noisy, clean + 1, none, t) > 0


@pytest.mark.parametrize("output", ["eps", "v", "x0"])
def test_clean_planes_come_back_from_the_true_output(output: str) -> None:
    system = base_system(dataclasses.replace(BASE, output=output))
    clean, noise = torch.randn(2, 2, 3, CHANNELS, 8, 8).unbind(0)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    alpha, sigma = system.schedule.alpha_sigma(t, clean.ndim)
    noisy = system.schedule.add_noise(clean, noise, t)
    true = {"eps": noise, "v": alpha * noise - sigma * clean, "x0": clean}[output]
    assert torch.allclose(system._clean(noisy, true, t), clean, atol=1e-3)


def test_losses_by_noise_are_those_at_their_times() -> None:
    system, batch = base_system(), make_batch(3)
    found = losses_by_noise(system, batch, seed=4)
    levels = [f"val_loss_t{level}" for level in (12, 37, 62, 87)]
    assert list(found) == ["val_loss", *levels]
    assert found["val_loss"] == pytest.approx(sum(found[name] for name in levels) / 4)
    t = torch.full((3,), 0.625, dtype=torch.float64)
    at = system.loss(batch, step_generator(4, 2), t)["loss"].item()
    assert found["val_loss_t62"] == pytest.approx(at)
    assert found == losses_by_noise(system, batch, seed=4), "no chance between two calls"
    plain = dataclasses.replace(UPSAMPLER, patch_weight=0.0, perceptual_weight=0.0)
    assert set(losses_by_noise(upsampler_system(plain), batch)) == set(found)


def test_latent_dropout_rate_and_encoder_gradient() -> None:
    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor, t: Tensor, latent: Tensor) -> Tensor:
            self.seen.append(latent)
            return x

    system = base_system()
    spy = Spy()
    system.unet = spy  # type: ignore[assignment]
    batch = {
        "planes": torch.zeros(500, 3, CHANNELS, 8, 8),
        "latent": torch.ones(500, 16),
    }
    for seed in range(8):
        system.loss(batch, generator(seed))
    dropped = (torch.cat(spy.seen) == 0).all(1).float().mean().item()
    assert dropped == pytest.approx(0.2, abs=0.025)
    assert ((torch.cat(spy.seen) == 0).all(1) | (torch.cat(spy.seen) == 1).all(1)).all()

    system = base_system()
    torch.nn.init.normal_(system.unet.head.weight, std=0.1)
    for module in system.unet.modules():
        if hasattr(module, "conv_out"):
            for parameter in module.conv_out.parameters():
                torch.nn.init.normal_(parameter, std=0.1)
    system.loss(make_batch(4), generator())["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in system.encoder.project.parameters())


def test_guidance_of_one_equals_conditional_and_zero_unconditional() -> None:
    system = base_system()
    torch.nn.init.normal_(system.unet.head.weight, std=0.1)
    noisy, t = torch.randn(1, *system.plane_shape), torch.tensor([0.5], dtype=torch.float64)
    latent = torch.randn(1, 16)
    with torch.no_grad():
        conditional = system.denoiser(latent)(noisy, t).clean
        assert torch.equal(system.denoiser(latent, 1.0)(noisy, t).clean, conditional)
        without = system.denoiser(None)(noisy, t).clean
        assert torch.equal(system.denoiser(latent, 0.0)(noisy, t).clean, without)


def test_missing_key_is_named() -> None:
    with pytest.raises(ValueError, match="portrait"):
        base_system().loss({"planes": make_batch()["planes"]}, generator())
