"""The upsampler: condition augmentation, patches, image losses, perceptual distance."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rodin import cameras, perceptual
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.augment import AugmentSettings, augment, blur
from rodin.diffusion.patches import PatchSettings, draw_patches
from rodin.diffusion.sampling import SamplerSettings
from rodin.diffusion.statistics import rand
from rodin.diffusion.targets import WeightSettings, target
from rodin.diffusion.upsampler import UpsamplerSystem
from rodin.generate import GenerateSettings, generate
from rodin.nn.encoder import EncoderSettings
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


def test_the_upsampler_learns_from_what_the_base_makes() -> None:
    """All samples, some, or none start from the base's planes, as sampling hands them over."""
    plain = dataclasses.replace(UPSAMPLER, patch_weight=0.0, perceptual_weight=0.0)
    batch, base = make_batch(16), base_system()
    low = torch.zeros(16, 3, CHANNELS, 8, 8)
    for share, least, most in ((0.0, 0, 0), (0.5, 3, 13), (1.0, 16, 16)):
        system = upsampler_system(dataclasses.replace(plain, from_base=share))
        system.attach(system._frozen[0], base=base)  # type: ignore[index]
        made = system._of_base(low, batch, generator())
        again = system._of_base(low, batch, generator())
        assert torch.equal(made, again) and not made.requires_grad
        assert least <= made.flatten(1).any(1).sum() <= most
    seed = int(torch.randint(2**62, (16,), generator=after_draw(16))[3])
    found = generate(
        base, None, [seed], latents=base.encode(batch["portrait"][3:4]),
        settings=GenerateSettings(base=SamplerSettings(steps=2)),
    )  # fmt: skip
    assert torch.allclose(made[3:4], system._normalise_low(found), rtol=1e-3, atol=1e-3)
    weights = {name: value.clone() for name, value in base.state_dict().items()}
    base.requires_grad_(True)
    system.attach(system._frozen[0], base=base)  # type: ignore[index]
    system.loss(batch, generator())["loss"].backward()
    assert all(p.grad is None for p in base.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in base.state_dict().items())
    assert not any("base" in name for name in system.state_dict())


def after_draw(count: int) -> torch.Generator:
    """The generator of a loss once it has drawn who starts from the base."""
    g = generator()
    rand(count, g, torch.device("cpu"))
    return g


def test_upsampler_says_what_it_lacks() -> None:
    torch.manual_seed(0)
    system = UpsamplerSystem(UPSAMPLER, MEAN, STD)
    with pytest.raises(ValueError, match="attach"):
        system.loss(make_batch(), generator())
    with pytest.raises(ValueError, match="channels"):
        system.attach(TriplaneDecoder(DecoderConfig(channels=5)))
    with pytest.raises(ValueError, match="low_size"):
        dataclasses.replace(UPSAMPLER, low_size=16)
    hungry = upsampler_system(dataclasses.replace(UPSAMPLER, from_base=0.5))
    with pytest.raises(ValueError, match="has no base to start from"):
        hungry.loss(make_batch(), generator())
    with pytest.raises(ValueError, match="16 texels and 4 channels"):
        hungry.attach(hungry._frozen[0], base=base_system(dataclasses.replace(BASE, size=16)))
    for name, value in (("from_base", 1.5), ("base_steps", 0)):
        with pytest.raises(ValueError, match=rf"upsampler\.{name} is {value}"):
            dataclasses.replace(UPSAMPLER, **{name: value})
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
