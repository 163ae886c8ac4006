"""The refiner: identity when untrained, its losses, its images; and views that agree or not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rodin import cameras, perceptual
from rodin.consistency import consistency, warp
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.patches import PatchSettings, draw_patches
from rodin.nn.refiner import FeatureDiscriminator, RefinerNet, RefinerNetSettings
from rodin.refiner import RefinerSettings, RefinerSystem, render_refined
from rodin.render import render_image
from rodin.training import Trainer, TrainSettings, step_generator
from rodin.validation import losses_by_noise
from tests.rodin import scenes

CHANNELS = 4
SMALL = RefinerSettings(
    net=RefinerNetSettings(factor=2, width=16, blocks=1),
    patch=PatchSettings(size=16, samples=8, occupancy=8),
    perceptual_weight=0.0,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decoder() -> TriplaneDecoder:
    return TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))


def make_batch(count: int = 2) -> dict[str, Tensor]:
    """Smooth planes, and views with a colour and an outline that no render of them has."""
    coarse = torch.randn(count * 3, CHANNELS, 4, 4, generator=generator())
    planes = functional.interpolate(coarse, (16, 16), mode="bilinear").unflatten(0, (count, 3))
    views = torch.zeros(count, 2, 4, 32, 32)
    views[:, :, 0] = 1
    views[:, :, 3, 6:30, 10:22] = 1
    matrix = cameras.orbit(torch.tensor([0.0, 40.0]), torch.tensor([0.0, 10.0]))
    intrinsics = cameras.intrinsics_from_fov(32, 32)
    return {
        "planes": planes,
        "views": views,
        "camera_to_world": matrix.expand(count, 2, 4, 4),
        "intrinsics": intrinsics.expand(count, 2, 3, 3),
    }


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_untrained_network_is_bilinear_upsampling(factor: int) -> None:
    net = RefinerNet(RefinerNetSettings(factor=factor, width=8, blocks=1))
    rgb, alpha = torch.rand(2, 3, 8, 8), torch.rand(2, 8, 8)
    fine, coverage = net(rgb, alpha, torch.rand(2, 8, 8))
    expected = functional.interpolate(
        torch.cat([rgb, alpha[:, None]], 1), (8 * factor, 8 * factor), mode="bilinear"
    )
    assert torch.equal(fine, expected[:, :3]) and torch.equal(coverage, expected[:, 3])
    with pytest.raises(ValueError, match="refiner got rgb"):
        net(rgb[:, :2], alpha, alpha)


def test_untrained_refined_image_is_the_smaller_render_resized() -> None:
    planes, system = make_batch()["planes"][0], RefinerSystem(SMALL)
    camera, intrinsics = cameras.orbit(20.0, 5.0), cameras.intrinsics_from_fov(32, 32)
    small = intrinsics.clone()
    small[:2] /= 2
    grid = torch.ones(4, 4, 4, dtype=torch.bool)
    out = render_image(planes, decoder(), camera, small, 16, 16, samples=8, occupancy=grid)
    expected = functional.interpolate(out.rgb.permute(2, 0, 1)[None], (32, 32), mode="bilinear")
    rgb, alpha = render_refined(
        planes, decoder(), system, camera, intrinsics, 32, 32, samples=8, occupancy=grid, chunk=100
    )
    assert torch.allclose(rgb, expected[0].permute(1, 2, 0), atol=1e-5)
    assert alpha.shape == (32, 32)
    odd, _ = render_refined(planes, decoder(), system, camera, intrinsics, 33, 31)
    assert odd.shape == (33, 31, 3), "no multiple of the factor"


def test_strided_patches_look_through_the_middle_of_their_pixels() -> None:
    batch = make_batch(1)
    fine = draw_patches(batch, 1, PatchSettings(size=16), generator(3))
    coarse = draw_patches(batch, 1, PatchSettings(size=16), generator(3), stride=2)
    assert torch.equal(fine.rgb, coarse.rgb), "the target keeps its size"
    assert coarse.directions.shape == (1, 64, 3)
    blocks = fine.directions.view(8, 2, 8, 2, 3).mean((1, 3))
    middle = functional.normalize(blocks, dim=-1).view(64, 3)
    assert torch.allclose(coarse.directions[0], middle, atol=1e-4)


def test_depth_reaches_the_network_where_asked() -> None:
    rgb, alpha = torch.rand(1, 3, 8, 8), torch.rand(1, 8, 8)
    for wanted in (True, False):
        net = RefinerNet(RefinerNetSettings(width=8, blocks=1, depth_input=wanted))
        torch.nn.init.normal_(net.head.weight)
        near, far = net(rgb, alpha, alpha)[0], net(rgb, alpha, -alpha)[0]
        assert torch.equal(near, far) != wanted


def test_loss_has_its_parts_and_its_sides_do_not_mix() -> None:
    torch.manual_seed(0)
    plain = RefinerSystem(SMALL, decoder())
    assert set(plain.loss(make_batch(), generator())) == {"loss", "pixel"}
    assert "discriminator" not in " ".join(plain.state_dict())
    settings = dataclasses.replace(SMALL, adversarial_weight=0.1, perceptual_weight=0.2)
    system = RefinerSystem(settings, decoder())
    parts = system.loss(make_batch(), generator())
    assert set(parts) == {"loss", "pixel", "perceptual", "adversarial", "real_or_refined"}
    total = parts["pixel"] + 0.2 * parts["perceptual"] + 0.1 * parts["adversarial"]
    assert torch.allclose(parts["loss"], total + parts["real_or_refined"])
    assert system.discriminator is not None
    judge = list(system.discriminator.parameters())
    (head,) = (system.net.head.weight,)
    for name, moves_net, moves_judge in (
        ("adversarial", True, False),
        ("real_or_refined", False, True),
    ):
        found = torch.autograd.grad(parts[name], [head, *judge], retain_graph=True,
                                    allow_unused=True)  # fmt: skip
        moved = [g is not None and bool(g.any()) for g in found]
        assert moved[0] == moves_net, name
        assert any(moved[1:]) == moves_judge, name
    used = system.to_use()
    assert used.discriminator is None and "heads" not in " ".join(used.state_dict())
    assert all(torch.equal(v, used.net.state_dict()[k]) for k, v in system.net.state_dict().items())
    held_out = losses_by_noise(plain, make_batch())
    assert held_out == {"val_loss": plain.loss(make_batch(), step_generator(0, 0))["loss"].item()}
    with pytest.raises(ValueError, match="no decoder"):
        RefinerSystem(SMALL).loss(make_batch(), generator())
    with pytest.raises(ValueError, match="multiple"):
        dataclasses.replace(SMALL, patch=PatchSettings(size=15))


@pytest.mark.parametrize("adversarial", [0.0, 0.02])
def test_learns_what_renders_lack(adversarial: float) -> None:
    torch.manual_seed(0)
    whole = dataclasses.replace(SMALL.patch, size=32)
    settings = dataclasses.replace(SMALL, patch=whole, adversarial_weight=adversarial)
    trainer = Trainer(
        RefinerSystem(settings, decoder()),
        TrainSettings(learning_rate=4e-3, warmup_samples=10, batch_size=2),
    )
    batch = make_batch()

    def pixel() -> float:
        return trainer.system.loss(batch, generator(99))["pixel"].item()

    before = pixel()
    for _ in range(40):
        trainer.step(batch)
    assert pixel() < 0.6 * before


def test_discriminator_learns_to_tell_sharp_pictures_from_blurred_ones() -> None:
    torch.manual_seed(0)
    network = perceptual.load()
    sharp = (torch.rand(8, 3, 64, 64) > 0.5).float()
    blurred = functional.avg_pool2d(sharp, 3, stride=1, padding=1)
    real, fake = network.features(sharp), network.features(blurred)
    judge = FeatureDiscriminator([each.shape[1] for each in real])
    optimiser = torch.optim.Adam(judge.parameters(), 2e-3)

    def apart() -> Tensor:
        pairs = zip(judge(real), judge(fake), strict=True)
        return torch.stack([(a - b).mean() for a, b in pairs]).mean()

    before = apart().item()
    for _ in range(15):
        optimiser.zero_grad()
        (-apart()).backward()
        optimiser.step()
    assert abs(before) < 0.5 and apart() > 1


def test_pictures_of_other_sizes_are_refined_at_that_of_the_views() -> None:
    settings = dataclasses.replace(SMALL, view_size=32)
    torch.manual_seed(0)
    system = RefinerSystem(settings, decoder())
    torch.nn.init.normal_(system.net.head.weight, std=0.01)
    planes, made = make_batch()["planes"][0], decoder()

    def seen(height: int, width: int) -> Tensor:
        return render_refined(
            planes, made, system, cameras.orbit(20.0, 5.0),
            cameras.intrinsics_from_fov(width, height), height, width, samples=8,
        )[0]  # fmt: skip

    own = seen(32, 32)
    for size in (64, 33):  # 33: no multiple of the factor
        resized = functional.interpolate(
            own.movedim(-1, 0)[None], (size, size), mode="bicubic", antialias=True
        )
        assert torch.allclose(seen(size, size), resized[0].movedim(0, -1).clamp(0, 1), atol=1e-2)
    assert seen(64, 96).shape == (64, 96, 3)
    with pytest.raises(ValueError, match="views are 32 px"):
        RefinerSystem(dataclasses.replace(SMALL, view_size=48), decoder()).loss(
            make_batch(), generator()
        )
    with pytest.raises(ValueError, match="view_size is 31"):
        dataclasses.replace(SMALL, view_size=31)


def head_views(count: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """rgb over white, depth, cameras of a head from a few degrees to either side of the front."""
    matrix = cameras.orbit(torch.linspace(-12, 12, count), 5.0)
    intrinsics = cameras.intrinsics_from_fov(size, size)
    views = scenes.render(
        scenes.head(0), matrix, intrinsics.expand(count, 3, 3).clone(), size, samples=3
    )
    rgba = torch.from_numpy(views.rgba).float() / 255
    rgb = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    assert views.depth is not None
    return rgb, torch.from_numpy(views.depth), matrix, intrinsics


def test_views_of_a_solid_head_agree_and_spoilt_ones_do_not() -> None:
    rgb, depth, matrix, intrinsics = head_views(4, 64)
    good, share = consistency(rgb, depth, matrix, intrinsics)
    assert good > 24 and 0.7 < share <= 1
    noise = 0.2 * torch.randn(rgb.shape, generator=generator())
    bad, _ = consistency((rgb + noise).clamp(0, 1), depth, matrix, intrinsics)
    assert bad < good - 6
    mixed, _ = consistency(rgb, depth, matrix.flip(0), intrinsics, 0.05)
    assert mixed < good - 2, "cameras in the wrong order do not fit"
    with pytest.raises(ValueError, match="at least 2"):
        consistency(rgb[:1], depth[:1], matrix[:1], intrinsics)
    with pytest.raises(ValueError, match="seen by two"):
        consistency(rgb, depth * 0, matrix, intrinsics)


def test_warp_by_the_same_camera_is_the_image() -> None:
    rgb, depth, matrix, intrinsics = head_views(2, 32)
    camera = (matrix[0], intrinsics)
    warped, valid = warp(rgb[0], depth[0], depth[0], camera, camera, 0.01)
    assert torch.equal(valid, depth[0] > 0)
    assert torch.allclose(warped[valid], rgb[0][valid], atol=1e-4)
