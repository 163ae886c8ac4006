"""Generation from seeds, and both systems learn one tiny batch by heart."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rodin.decoder import TriplaneDecoder
from rodin.diffusion.patches import PatchSettings
from rodin.diffusion.sampling import SamplerSettings
from rodin.generate import GenerateSettings, encode_portraits, generate
from rodin.render import render_image
from rodin.training import Trainer, TrainSettings
from tests.rodin.systems import (
    CHANNELS,
    UPSAMPLER,
    base_system,
    generator,
    make_batch,
    upsampler_system,
)


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
    system, name = (base_system(), "loss") if stage == "base" else (upsampler, "plane")
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
