"""Base and upsampler systems, condition augmentation, patches, perceptual distance, generation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rodin import cameras, perceptual, triplane
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.augment import AugmentSettings, augment, blur
from rodin.diffusion.base import BaseSettings, BaseSystem
from rodin.diffusion.patches import PatchSettings, draw_patches
from rodin.diffusion.sampling import SamplerSettings
from rodin.diffusion.statistics import PlaneStatistics, measure_planes, spread_times
from rodin.diffusion.targets import WeightSettings, target
from rodin.diffusion.upsampler import UpsamplerSettings, UpsamplerSystem
from rodin.generate import GenerateSettings, encode_portraits, generate
from rodin.nn.encoder import EncoderSettings
from rodin.nn.unet import UNetSettings
from rodin.render import render_image
from rodin.training import Trainer, TrainSettings, step_generator
from rodin.validation import losses_by_noise

CHANNELS = 4
UNET = UNetSettings(
    plane_channels=CHANNELS,
    width=16,
    multipliers=(1, 2),
    blocks=1,
    attention_levels=(1,),
    head_channels=16,
    aware_levels=(0,),
    latent_dim=16,
)
BASE = BaseSettings(
    size=8, unet=UNET, encoder=EncoderSettings(latent_dim=16, width=8, size=16), output="eps"
)
UPSAMPLER = UpsamplerSettings(
    size=16,
    low_size=8,
    unet=dataclasses.replace(
        UNET, latent_dim=0, condition_channels=CHANNELS, strength_input=True, attention_levels=()
    ),
    patch=PatchSettings(size=16, samples=8, occupancy=8),
)
MEAN, STD = torch.linspace(-1, 1, CHANNELS), torch.linspace(0.5, 2, CHANNELS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_batch(count: int = 2, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    """Smooth random planes with a portrait each, and two views from real cameras."""
    g = generator(seed)
    coarse = torch.randn(count * 3, CHANNELS, 4, 4, generator=g)
    planes = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    planes = planes.unflatten(0, (count, 3)) * STD[:, None, None] + MEAN[:, None, None]
    matrix = cameras.orbit(torch.tensor([0.0, 40.0]), torch.tensor([0.0, 10.0]))
    intrinsics = cameras.intrinsics_from_fov(24.0, 32, 32)
    views = torch.rand(count, 2, 4, 32, 32, generator=g)
    views[:, :, 3] = 0
    views[:, :, 3, 6:30, 10:22] = 1
    return {
        "planes": planes,
        "portrait": views[:, 0],
        "views": views,
        "camera_to_world": matrix.expand(count, 2, 4, 4),
        "intrinsics": intrinsics.expand(count, 2, 3, 3),
    }


def base_system(settings: BaseSettings = BASE) -> BaseSystem:
    torch.manual_seed(0)
    return BaseSystem(settings, MEAN, STD)


def upsampler_system(settings: UpsamplerSettings = UPSAMPLER) -> UpsamplerSystem:
    torch.manual_seed(0)
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    return UpsamplerSystem(settings, MEAN, STD, decoder)


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
    assert set(parts) == {"loss", "simple"} | ({"vlb"} if learned else set())
    if output == "eps":  # it predicts zeros; the target has unit variance
        assert parts["simple"].item() == pytest.approx(1, abs=0.1)
    assert all(value.isfinite() for value in parts.values())
    light = dataclasses.replace(
        BASE, output=output, unet=unet, weight=WeightSettings("min_snr", limit=1e-3)
    )
    assert base_system(light).loss(make_batch(4), generator())["simple"] < 0.5 * parts["simple"]
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


def test_augmentation_bounds() -> None:
    planes = torch.nn.functional.interpolate(
        torch.randn(32, 3, CHANNELS, 16, generator=generator()).flatten(0, 1), 16
    )
    planes = planes.unflatten(0, (32, 3))[..., None].expand(-1, -1, -1, -1, 16).contiguous()
    settings = AugmentSettings(blur_probability=1.0)
    assert torch.equal(augment(planes, torch.zeros(32), settings, generator()), planes)
    errors = []
    for strength in (0.2, 0.6, 1.0):
        spoilt = augment(planes, torch.full((32,), strength), settings, generator(1))
        errors.append((spoilt - planes).square().mean().sqrt().item())
    assert errors[0] < errors[1] < errors[2]
    quiet = AugmentSettings(noise=0.0, blur_probability=1.0)
    spoilt = augment(planes, torch.ones(32), quiet, generator(1))
    assert spoilt.min() >= planes.min() - 1e-5, "averages stay within the values averaged"
    assert spoilt.max() <= planes.max() + 1e-5
    noisy = AugmentSettings(blur_probability=0.0, shrink=0.0)
    difference = augment(planes, torch.ones(32), noisy, generator(1)) - planes
    assert difference.std().item() == pytest.approx(noisy.noise, rel=0.02)


def test_blur_keeps_constants_and_spreads_by_sigma() -> None:
    assert torch.allclose(blur(torch.full((1, 3, 1, 9, 9), 2.0), 1.3), torch.tensor(2.0))
    point = torch.zeros(1, 3, 1, 21, 21)
    point[..., 10, 10] = 1
    spread = blur(point, 1.5)[0, 0, 0].sum(0)
    place = torch.arange(21) - 10.0
    assert (spread * place**2).sum().sqrt().item() == pytest.approx(1.5, rel=0.02)


def test_patches_lie_on_the_avatar_and_match_full_rays() -> None:
    batch = make_batch()
    settings = PatchSettings(size=8, face_share=1.0)
    origins, directions = cameras.rays(batch["camera_to_world"], batch["intrinsics"], 32, 32)
    found = 0
    for seed in range(5):
        patches = draw_patches(batch, 2, settings, generator(seed))
        assert patches.rgb.shape == (2, 3, 8, 8)
        assert (patches.alpha.flatten(1).sum(1) > 0).all()
        centre = patches.directions[0].view(8, 8, 3)
        for view in range(2):
            windows = directions[0, view].unfold(0, 8, 1).unfold(1, 8, 1).permute(0, 1, 3, 4, 2)
            same = (windows - centre).abs().amax((-3, -2, -1)) < 1e-6
            for top, left in same.nonzero().tolist():
                found += 1
                assert 2 <= top + 4 <= 18, "upper half of rows 6 to 29"
                rgba = batch["views"][0, view, :, top : top + 8, left : left + 8]
                over_white = rgba[:3] * rgba[3:] + 1 - rgba[3:]
                assert torch.allclose(patches.rgb[0], over_white, atol=1e-6)
                assert torch.allclose(patches.origins[0], origins[0, view, 0, 0].expand(64, 3))
    assert found >= 5
    with pytest.raises(ValueError, match=r"patch\.size is 64"):
        draw_patches(batch, 1, PatchSettings(size=64), generator())


def test_upsampler_loss_and_untrained_identity() -> None:
    system = upsampler_system()
    parts = system.loss(make_batch(), generator())
    assert set(parts) == {"loss", "plane", "patch", "perceptual"}
    weighted = parts["plane"] + parts["patch"] + 0.5 * parts["perceptual"]
    assert torch.allclose(parts["loss"], weighted)
    parts["loss"].backward()
    assert system.unet.head.weight.grad is not None and system.unet.head.weight.grad.any()
    assert "decoder" not in " ".join(system.state_dict())
    low = make_batch(size=8)["planes"]
    noisy, t = torch.randn(2, *system.plane_shape), torch.full((2,), 0.9, dtype=torch.float64)
    with torch.no_grad():
        clean = system.statistics.denormalise(system.denoiser(low)(noisy, t).clean)
    expected = torch.nn.functional.interpolate(low.flatten(0, 1), (16, 16), mode="bilinear")
    assert torch.allclose(clean.flatten(0, 1), expected, atol=1e-5)


@pytest.mark.parametrize("output", ["eps", "v"])
def test_upsampler_of_other_outputs(output: str) -> None:
    """The loss is the output's own, and the denoiser turns a perfect output into clean planes."""
    settings = dataclasses.replace(
        UPSAMPLER, output=output, patch_weight=0.0, perceptual_weight=0.0
    )
    system = upsampler_system(settings)
    parts = system.loss(make_batch(4), generator())
    if output == "eps":  # it predicts zeros; the target has unit variance
        assert parts["plane"].item() == pytest.approx(1, abs=0.1)
    heavy = dataclasses.replace(settings, weight=WeightSettings("min_snr", limit=1e-3))
    assert upsampler_system(heavy).loss(make_batch(4), generator())["plane"] < parts["plane"]
    clean, noise = torch.randn(2, 2, *system.plane_shape).unbind(0)
    t = torch.tensor([0.1, 0.3], dtype=torch.float64)
    noisy = system.schedule.add_noise(clean, noise, t)
    true = target(system.schedule, clean, noise, t, output)
    system.unet.forward = lambda *_: true  # type: ignore[method-assign]
    found = system.denoiser(make_batch(size=8)["planes"])(noisy, t).clean
    assert torch.allclose(found, clean, atol=1e-4)


def test_upsampler_render_gradient_reaches_the_planes_alone() -> None:
    settings = dataclasses.replace(UPSAMPLER, plane_weight=0.0, perceptual_weight=0.0)
    system = upsampler_system(settings)
    system.loss(make_batch(), generator())["loss"].backward()
    assert system.unet.head.weight.grad is not None and system.unet.head.weight.grad.any()
    assert system._frozen is not None
    assert all(p.grad is None for p in system._frozen[0].parameters())


def test_upsampler_says_what_it_lacks() -> None:
    torch.manual_seed(0)
    system = UpsamplerSystem(UPSAMPLER, MEAN, STD)
    with pytest.raises(ValueError, match="attach"):
        system.loss(make_batch(), generator())
    with pytest.raises(ValueError, match="channels"):
        system.attach(TriplaneDecoder(DecoderConfig(channels=5)))
    with pytest.raises(ValueError, match="low_size"):
        dataclasses.replace(UPSAMPLER, low_size=16)
    with pytest.raises(ValueError, match="condition_channels"):
        dataclasses.replace(UPSAMPLER, unet=UNET)
    with pytest.raises(ValueError, match="latent_dim"):
        dataclasses.replace(BASE, encoder=EncoderSettings(latent_dim=8, size=16))


def test_perceptual_distance_orders_changes() -> None:
    distance = perceptual.load()
    ramp = torch.linspace(0, 1, 64).expand(2, 3, 64, 64).clone()
    ramp[:, :, 20:40, 20:40] = 0.9
    ramp.requires_grad_()
    shifted = torch.roll(ramp.detach(), 1, -1)
    noise = torch.rand(2, 3, 64, 64, generator=generator())
    assert distance(ramp, ramp.detach()).abs().max() < 1e-6
    near, far = distance(ramp, shifted), distance(ramp, noise)
    assert near.shape == (2,)
    assert (near < far).all()
    gradient = torch.autograd.grad(far.sum(), ramp)[0]
    assert gradient.isfinite().all() and gradient.any()
    assert not distance.train().training
    with pytest.raises(ValueError, match="at least 16"):
        distance(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_vgg_weights_that_are_missing_or_wrong_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not exist"):
        perceptual.load(tmp_path / "none.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="state dict"):
        perceptual.load(tmp_path / "wrong.pth")


def test_vgg_weights_are_used(tmp_path: Path) -> None:
    """Weights of the right shapes load, and the distance is LPIPS over them."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in vgg16().features.state_dict().items()}
    state = {f"features.{k}": 0.05 * torch.randn(shape) for k, shape in shapes.items()}
    torch.save(state, tmp_path / "vgg.pth")
    distance = perceptual.load(tmp_path / "vgg.pth")
    image, other = torch.rand(2, 2, 3, 32, 32).unbind(0)
    found = distance(image, other)
    assert found.shape == (2,)
    assert (found > 0).all()
    assert torch.equal(distance(image, image), torch.zeros(2))


def test_generate_gives_each_seed_its_avatar_whatever_the_batch() -> None:
    base, upsampler = base_system(), upsampler_system()
    for unet in (base.unet, upsampler.unet):
        torch.nn.init.normal_(unet.head.weight, std=0.02)
    latents = encode_portraits(base, make_batch(3)["portrait"])
    steps = SamplerSettings(steps=3)
    calls: list[tuple[str, int, int]] = []
    settings = GenerateSettings(
        base=dataclasses.replace(steps, guidance=2.0), upsampler=steps, batch=2
    )
    planes = generate(
        base, upsampler, [5, 6, 7], latents=latents, settings=settings,
        progress=lambda *call: calls.append(call),
    )  # fmt: skip
    assert planes.shape == (3, 3, CHANNELS, 16, 16)
    assert calls[-1] == ("upsampler", 9, 9)
    alone = generate(base, upsampler, [7], latents=latents[2:], settings=settings)
    assert torch.allclose(planes[2], alone[0], atol=1e-4)
    assert generate(base, None, [5], settings=settings).shape == (1, 3, CHANNELS, 8, 8)
    with pytest.raises(ValueError, match="2 latents for 1 seeds"):
        generate(base, upsampler, [5], latents=latents[:2])
    other = upsampler_system(dataclasses.replace(UPSAMPLER, low_size=4))
    with pytest.raises(ValueError, match="trained for each other"):
        generate(base, other, [5])


def rendered_batch(decoder: TriplaneDecoder) -> dict[str, Tensor]:
    """A batch whose views are renders of its planes, which have detail that low ones lack."""
    batch = make_batch()
    checks = 1 - 2 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2)
    planes = batch["planes"] + 0.5 * checks
    for i, view in ((i, view) for i in range(2) for view in range(2)):
        camera = batch["camera_to_world"][i, view], batch["intrinsics"][i, view]
        out = render_image(planes[i], decoder, *camera, 32, 32, samples=8)
        colour = (out.rgb - 1 + out.alpha[..., None]) / out.alpha[..., None].clamp_min(1e-3)
        rgba = torch.cat([colour, out.alpha[..., None]], -1).clamp(0, 1)
        batch["views"][i, view] = rgba.permute(2, 0, 1)
    return {**batch, "planes": planes}


@pytest.mark.parametrize("stage", ["base", "upsampler"])
def test_overfits_one_tiny_batch(stage: str) -> None:
    patch = PatchSettings(size=8, samples=4, occupancy=0)
    upsampler = upsampler_system(dataclasses.replace(UPSAMPLER, patch=patch, perceptual_weight=0.0))
    assert upsampler._frozen is not None
    batch = rendered_batch(upsampler._frozen[0])
    system, name = (base_system(), "simple") if stage == "base" else (upsampler, "plane")
    settings = TrainSettings(learning_rate=3e-3, warmup_samples=10, batch_size=2)
    trainer = Trainer(system, settings)

    def score() -> dict[str, float]:
        with torch.no_grad():
            parts = [trainer.system(batch, generator(seed)) for seed in range(8)]
        return {key: sum(part[key].item() for part in parts) / 8 for key in parts[0]}

    before = score()
    for _ in range(50):
        trainer.step(batch)
    after = score()
    assert after[name] < 0.75 * before[name], (before, after)
    assert after["loss"] < 0.75 * before["loss"], (before, after)
