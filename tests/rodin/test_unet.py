"""The tri-plane U-Net: what may depend on what, its size at paper scale, bad input."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from rodin.nn.encoder import EncoderSettings, PortraitEncoder, over_white
from rodin.nn.unet import TriplaneUNet, UNetSettings

SMALL = UNetSettings(
    plane_channels=4,
    width=16,
    multipliers=(1, 2),
    blocks=1,
    attention_levels=(),
    head_channels=16,
    aware_levels=(),
    latent_dim=8,
)


def awake(settings: UNetSettings, seed: int = 0) -> TriplaneUNet:
    """A U-Net whose zero-initialised layers have weights too, as after training."""
    torch.manual_seed(seed)
    net = TriplaneUNet(settings).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return net


def seen_planes(settings: UNetSettings, target: int) -> list[bool]:
    """Which input planes the output of one plane depends on."""
    net = awake(settings)
    x = torch.randn(1, 3, 4, 8, 8, requires_grad=True)
    out = net(x, torch.tensor([0.3]), torch.randn(1, 8))[0, target].square().sum()
    return torch.autograd.grad(out, x)[0][0].abs().flatten(1).sum(1).gt(0).tolist()


@pytest.mark.parametrize("target", [0, 1, 2])
def test_nothing_leaks_between_planes_without_attention_or_aware_convolution(target: int) -> None:
    assert seen_planes(SMALL, target) == [plane == target for plane in range(3)]
    patched = dataclasses.replace(SMALL, patch=2, position_octaves=2, latent_map=2)
    assert seen_planes(patched, target) == [plane == target for plane in range(3)]


@pytest.mark.parametrize("change", [{"aware_levels": (0,)}, {"attention_levels": (1,)}])
def test_attention_and_aware_convolution_join_the_planes(change: dict) -> None:
    """The leak test above can fail: these settings do join the planes."""
    assert seen_planes(dataclasses.replace(SMALL, **change), 0) == [True] * 3


STACK = dataclasses.replace(SMALL, arrangement="stack")


@pytest.mark.parametrize("target", [0, 1, 2])
def test_stacked_planes_see_each_other_at_the_same_texels_alone(target: int) -> None:
    assert seen_planes(STACK, target) == [True] * 3
    shallow = awake(dataclasses.replace(STACK, multipliers=(1,)))
    for norm in [m for m in shallow.modules() if isinstance(m, nn.GroupNorm)]:
        norm.forward = lambda x: x  # its mean over all texels would join them
    x = torch.randn(1, 3, 4, 24, 24, requires_grad=True)
    out = shallow(x, torch.tensor([0.3]), torch.randn(1, 8))[0, target, :, 0, 0].square().sum()
    reached = torch.autograd.grad(out, x)[0][0].abs().sum(1).gt(0)
    # five blocks of two convolutions, stem and head: each reaches a texel further
    assert reached[:, :13, :13].flatten(1).any(1).all()
    assert not reached[:, 13:].any() and not reached[..., 13:].any()


def test_a_stack_has_the_trunk_of_the_rollout_and_gives_each_plane_its_own_head() -> None:
    rolled, stacked = TriplaneUNet(SMALL), TriplaneUNet(STACK)
    ends = ("stem.", "head.", "embed_plane")
    trunks = [
        {n: p.shape for n, p in net.named_parameters() if not n.startswith(ends)}
        for net in (rolled, stacked)
    ]
    assert trunks[0] == trunks[1]
    full = dataclasses.replace(
        STACK, condition_channels=4, learned_variance=True, patch=2, latent_map=2,
        position_octaves=2, attention_levels=(1,),
    )  # fmt: skip
    net = awake(full)
    inputs = (
        torch.randn(2, 3, 4, 8, 8),
        torch.rand(2),
        torch.randn(2, 8),
        torch.randn(2, 3, 4, 4, 4),
    )
    out = net(*inputs)
    assert out.shape == (2, 3, 8, 8, 8)
    with torch.no_grad():
        assert net.head.bias is not None
        net.head.bias.view(3, -1)[1] += 1
    changed = net(*inputs) - out
    assert torch.allclose(changed[:, 1], torch.ones(()), atol=1e-5)
    assert not changed[:, [0, 2]].any()
    with pytest.raises(ValueError, match=r"aware_levels is \(0,\) with arrangement 'stack'"):
        dataclasses.replace(STACK, aware_levels=(0,))
    with pytest.raises(ValueError, match="use 'rollout' or 'stack'"):
        dataclasses.replace(SMALL, arrangement="pile")


@pytest.mark.parametrize("latent_map", [0, 2])
def test_depends_on_latent_time_and_plane(latent_map: int) -> None:
    net = awake(dataclasses.replace(SMALL, latent_map=latent_map))
    x = torch.randn(1, 1, 4, 8, 8).expand(2, 3, 4, 8, 8)
    t = torch.tensor([0.1, 0.9])
    z = torch.randn(2, 8)
    out = net(x, t, z)
    assert not torch.allclose(out[0], out[1])
    assert not torch.allclose(out[:, 0], out[:, 1]), "equal planes must be told apart"
    assert not torch.allclose(out, net(x, t, None))
    assert torch.equal(net(x, t, None), net(x, t, torch.zeros(2, 8))), "no latent is a zero latent"


def test_untrained_output_is_zero_and_latent_reaches_every_block() -> None:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, attention_levels=(0, 1), aware_levels=(0,))
    net = TriplaneUNet(settings)
    assert not net(torch.randn(1, 3, 4, 8, 8), torch.tensor([0.5])).any()
    net = awake(settings)
    modulated = [m for name, m in net.named_modules() if name.endswith("modulation")]
    assert len(modulated) == 1 + 1 + 1 + 2 + 2 + 1 + 2
    net(torch.randn(1, 3, 4, 8, 8), torch.tensor([0.5]), torch.randn(1, 8)).sum().backward()
    assert all(m.weight.grad is not None and m.weight.grad.any() for m in modulated)


@pytest.mark.parametrize("plane_size", [8, 16])
def test_shapes_with_condition_variance_patch_and_dropout(plane_size: int) -> None:
    settings = dataclasses.replace(
        SMALL,
        condition_channels=4,
        strength_input=True,
        learned_variance=True,
        patch=2,
        dropout=0.1,
        attention_levels=(1,),
    )
    net = awake(settings)
    x = torch.randn(2, 3, 4, plane_size, plane_size)
    out = net(x, torch.rand(2), torch.randn(2, 8), torch.randn(2, 3, 4, 4, 4), torch.rand(2))
    assert out.shape == (2, 3, 8, plane_size, plane_size)


def test_recomputing_blocks_changes_no_gradient() -> None:
    x, t = torch.randn(1, 3, 4, 8, 8), torch.tensor([0.5])
    grads = []
    for recompute in (False, True):
        net = awake(dataclasses.replace(SMALL, checkpointing=recompute)).train()
        net(x, t).square().sum().backward()
        grads.append([p.grad for p in net.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_bfloat16_autocast_in_channels_last_is_close() -> None:
    net = awake(dataclasses.replace(SMALL, aware_levels=(0,), attention_levels=(1,)))
    x, t, z = torch.randn(2, 3, 4, 8, 8), torch.rand(2), torch.randn(2, 8)
    exact = net(x, t, z)
    net = net.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, t, z).float()
    assert (rough - exact).norm() < 0.05 * exact.norm()


def test_paper_size_has_about_357_million_parameters() -> None:
    with torch.device("meta"):
        net = TriplaneUNet(UNetSettings())
        out = net(torch.empty(1, 3, 32, 64, 64), torch.empty(1), torch.empty(1, 512))
    assert out.shape == (1, 3, 32, 64, 64)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(357e6, rel=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"multipliers": ()}, "multipliers"),
        ({"width": 0}, "width"),
        ({"attention_levels": (2,)}, "levels run from 0 to 1"),
        ({"aware_levels": (-1,)}, "aware_levels"),
        ({"head_channels": 24, "attention_levels": (1,)}, "divide"),
        ({"dropout": 1.0}, "dropout"),
        ({"latent_map": 4, "latent_dim": 0}, "latent_map"),
    ],
)
def test_settings_are_checked(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
    ("x", "latent", "condition", "words"),
    [
        ((1, 3, 5, 8, 8), None, None, "expected"),
        ((1, 3, 4, 9, 9), None, None, "multiple of 2"),
        ((1, 3, 4, 8, 8), (1, 7), None, "latent"),
        ((1, 3, 4, 8, 8), None, (1, 3, 4, 8, 8), "condition"),
    ],
)
def test_bad_input_is_named(x: tuple, latent: tuple, condition: tuple, words: str) -> None:
    def tensor(shape: tuple | None) -> Tensor | None:
        return None if shape is None else torch.zeros(shape)

    with pytest.raises(ValueError, match=words):
        TriplaneUNet(SMALL)(torch.zeros(x), torch.zeros(1), tensor(latent), tensor(condition))


def test_encoder_reads_over_white_and_normalises() -> None:
    torch.manual_seed(0)
    encoder = PortraitEncoder(EncoderSettings(latent_dim=16, width=8, size=32))
    portrait = torch.rand(2, 4, 48, 48)
    latent = encoder(portrait)
    assert latent.shape == (2, 16)
    assert torch.allclose(latent.mean(1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(latent.var(1, unbiased=False), torch.ones(2), atol=1e-2)
    assert torch.allclose(latent, encoder(over_white(portrait)), atol=1e-6)
    hidden = portrait.clone()
    hidden[:, :3] = torch.where(hidden[:, 3:] > 0.5, hidden[:, :3], 0.123)
    hidden[:, 3:] = (hidden[:, 3:] > 0.5).float()
    other = hidden.clone()
    other[:, :3] = torch.where(other[:, 3:] > 0.5, other[:, :3], 0.987)
    assert torch.equal(encoder(hidden), encoder(other)), "colour under alpha 0 is no input"
    with pytest.raises(ValueError, match="expected"):
        encoder(torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="times 2, 4, 8"):
        EncoderSettings(size=48, final_size=32)


def test_groups_are_never_single_channels() -> None:
    net = TriplaneUNet(dataclasses.replace(SMALL, width=24, head_channels=24))
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            assert module.num_channels // module.num_groups >= 4
