"""Portraits met by rendering: the front comes nearer, what no portrait shows stays."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rodin import cameras, metrics
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.sampling import Noise
from rodin.fit import FitSettings, Views, fit_decoder
from rodin.inversion import InversionSettings, front, invert_latent, invert_planes, resized
from rodin.render import render_image
from tests.rodin import scenes
from tests.rodin.systems import BASE, CHANNELS, base_system

SETTINGS = InversionSettings(latent_steps=25, latent_size=16, latent_samples=24, size=48)


def seen(planes: Tensor, decoder: TriplaneDecoder, azimuth: float, size: int = 48) -> Tensor:
    pose, lens = cameras.orbit(azimuth, 0.0), cameras.intrinsics_from_fov(size, size)
    return render_image(planes, decoder, pose, lens, size, size).rgb


@pytest.fixture(scope="module")
def heads() -> tuple[TriplaneDecoder, list[Tensor], list[Views]]:
    engine = FitSettings(
        decoder=DecoderConfig(channels=8, hidden=24), resolution=32, base_resolution=16,
        held_out=2, decoder_steps=250, subjects_per_step=2, rays_per_step=768, empty_points=384,
        compact_points=128, occupancy_size=32, depth_band=0.2, surface_band=0.1,
    )  # fmt: skip
    subjects = [scenes.views(seed, count=14, size=48, samples=2) for seed in range(2)]
    decoder, planes = fit_decoder(subjects, engine, seed=0)
    return decoder, planes, subjects


def test_planes_meet_the_portrait_and_keep_their_back(
    heads: tuple[TriplaneDecoder, list[Tensor], list[Views]],
) -> None:
    """Another head's portrait: the worst case of a latent that missed."""
    decoder, (start, _), subjects = heads
    portrait = torch.from_numpy(subjects[1].rgba[0]).movedim(-1, 0) / 255
    target = metrics.over(portrait.movedim(0, -1))
    found = invert_planes(start, decoder, portrait, SETTINGS)
    before, after = (metrics.psnr(seen(p, decoder, 0.0), target) for p in (start, found))
    assert float(after) > float(before) + 4
    back, side = (
        metrics.psnr(seen(found, decoder, angle), seen(start, decoder, angle))
        for angle in (180.0, 90.0)
    )
    assert float(back) > 24 and float(side) > float(before)
    again = invert_planes(start, decoder, portrait, SETTINGS)
    assert torch.equal(again, found)
    none = dataclasses.replace(SETTINGS, plane_steps=0)
    assert torch.equal(invert_planes(start, decoder, portrait, none), start)


def test_the_latent_of_a_picture_is_found_again() -> None:
    """A picture that the base itself made from another latent."""
    base = base_system(dataclasses.replace(BASE, output="x0"))
    generator = torch.Generator().manual_seed(0)
    for parameter in base.parameters():
        if not parameter.any():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    base.eval()
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    wanted, start = torch.randn(2, base.settings.encoder.latent_dim, generator=generator)

    def planes_of(latent: Tensor) -> Tensor:
        noise = Noise([3], "cpu")(base.plane_shape)
        with torch.no_grad():
            clean = base.denoiser(latent[None])(noise, torch.ones(1)).clean
        return base.statistics.denormalise(clean)[0]

    camera, lens = front(16)
    shot = render_image(planes_of(wanted), decoder, camera, lens, 16, 16, background=0.0)
    colour = shot.rgb / shot.alpha[..., None].clamp_min(1e-4)
    portrait = torch.cat((colour, shot.alpha[..., None]), -1).movedim(-1, 0)
    flags = [p.requires_grad for p in base.parameters()]
    settings = dataclasses.replace(SETTINGS, latent_rate=0.1, latent_pull=0.0)
    told: list[tuple[str, int, int]] = []
    found = invert_latent(
        base, decoder, portrait, start, settings, seed=3,
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    assert told[-1] == ("latent", 25, 25)
    assert [p.requires_grad for p in base.parameters()] == flags
    assert all(p.grad is None for p in base.parameters())
    target = shot.rgb + 1 - shot.alpha[..., None]
    before, after = (
        float((seen(planes_of(z), decoder, 0.0, 16) - target).square().mean())
        for z in (start, found)
    )
    assert after < 0.5 * before
    held = invert_latent(
        base, decoder, portrait, start, dataclasses.replace(settings, latent_pull=100.0), seed=3
    )
    assert (held - start).norm() < 0.3 * (found - start).norm()


def test_portraits_are_resized_by_what_they_cover() -> None:
    portrait = torch.zeros(4, 8, 8)
    portrait[0, :, :4] = portrait[3, :, :4] = 1  # red on the left, black and clear on the right
    small = resized(portrait, 2)
    torch.testing.assert_close(small[:, 0, 0], torch.tensor([1.0, 0.0, 0.0, small[3, 0, 0]]))
    assert small[3, 0, 0] > 0.8 and small[3, 0, 1] < 0.2


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="plane_steps is -1; use at least 0"):
        InversionSettings(plane_steps=-1)
