"""Eigenfaces and the ridge regression on them: against numpy, sklearn, and their own limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from rodin.diffusion.base import BaseSystem
from rodin.diffusion.sampling import SamplerSettings
from rodin.generate import GenerateSettings, generate
from rodin.nn import eigenfaces
from rodin.nn.eigenfaces import Eigenfaces, ridge
from rodin.nn.encoder import EIGENFACES, EncoderSettings, PortraitEncoder
from tests.rodin.systems import BASE, MEAN, STD, generator, make_batch

FROZEN = dataclasses.replace(BASE.encoder, frozen=EIGENFACES, size=8)
QUICK = GenerateSettings(base=SamplerSettings(steps=2))
LED = dataclasses.replace(BASE, encoder=FROZEN, output="x0", lead=True)


def test_components_are_those_of_numpy() -> None:
    pixels = torch.rand(20, 30, generator=generator())
    faces = Eigenfaces(30, 5)
    faces.measure(pixels)
    found = faces(pixels)
    left, sizes, _ = np.linalg.svd((pixels - pixels.mean(0)).numpy(), full_matrices=False)
    wanted = torch.from_numpy(left[:, :5] * 20**0.5)
    assert torch.allclose(found.abs(), wanted.abs(), atol=1e-4)
    assert torch.allclose(found.square().mean(0), torch.ones(5), atol=1e-4)
    assert np.allclose((1 / faces.basis.norm(dim=0)).numpy() * 20**0.5, sizes[:5], rtol=1e-4)


def test_few_people_leave_components_empty() -> None:
    encoder = PortraitEncoder(FROZEN)
    portraits = list(torch.rand(4, 4, 20, 20, generator=generator()))
    encoder.measure([*portraits, portraits[0]])
    latents = encoder(torch.stack(portraits))
    assert latents[:, :3].abs().min() > 0 and not latents[:, 4:].any()
    assert encoder.deviations[0] == 1 and not encoder.deviations[4:].any()
    with pytest.raises(ValueError, match="only eigenfaces are measured"):
        PortraitEncoder(EncoderSettings(latent_dim=8, size=8)).measure(portraits)


def test_ridge_is_that_of_sklearn_and_leaves_whole_people_out() -> None:
    g = generator()
    latents, truth = torch.randn(40, 6, generator=g), torch.randn(6, 9, generator=g)
    targets = latents @ truth + 0.1 * torch.randn(40, 9, generator=g)
    found = ridge(latents, targets, list(range(40)), torch.ones(6))
    unit = float((latents @ latents.T).diagonal().mean())
    wanted = Ridge(alpha=min(eigenfaces.PENALTIES) * unit, fit_intercept=False).fit(
        latents.numpy(), targets.numpy()
    )
    assert np.allclose(found.numpy(), wanted.coef_.T, atol=1e-3)
    assert not ridge(latents[:9], targets[:9], list(range(9)), torch.ones(6)).any()

    # Noise alone: who is left out with the twin shows that nothing can be guessed.
    noise = torch.randn(21, 9, generator=g)
    twins = torch.randn(21, 30, generator=g).repeat(2, 1), noise.repeat(2, 1)
    apart = ridge(*twins, [i % 21 for i in range(42)], torch.ones(30))
    fooled = ridge(*twins, list(range(42)), torch.ones(30))
    assert apart.norm() < 0.5 * fooled.norm()


def people(count: int = 24) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Portraits of one colour, and planes that follow the colour."""
    colour = torch.rand(count, 3, generator=generator())
    portraits = colour[:, :, None, None].expand(-1, -1, 16, 16)
    planes = (colour @ torch.randn(3, 3 * 4 * 64, generator=generator(1))).view(-1, 3, 4, 8, 8)
    return list(portraits), list(planes)


def test_an_untrained_base_with_a_lead_guesses_what_is_linear() -> None:
    portraits, planes = people()
    torch.manual_seed(0)
    system = BaseSystem(LED, torch.stack(planes).mean(0), STD)
    system.measure(portraits[:20], planes[:20], range(20))
    latents = system.encode(torch.stack(portraits[20:]))
    made = generate(system, None, [1, 2, 3, 4], latents=latents, settings=QUICK)
    wanted, mean = torch.stack(planes[20:]), torch.stack(planes[:20]).mean(0)
    assert (made - wanted).norm() < 0.2 * (wanted - mean).norm()
    copy = BaseSystem(LED, MEAN, STD)
    copy.load_state_dict(system.state_dict())
    again = generate(copy, None, [1, 2, 3, 4], latents=latents, settings=QUICK)
    assert torch.equal(made, again)


def test_the_loss_counts_what_the_lead_leaves() -> None:
    portraits, planes = people()
    losses = []
    for measured in (False, True):
        torch.manual_seed(0)
        system = BaseSystem(
            dataclasses.replace(LED, latent_dropout=0.0), torch.stack(planes).mean(0), STD
        )
        if measured:
            system.measure(portraits, planes, range(24))
        batch = {"planes": torch.stack(planes), "portrait": torch.stack(portraits)}
        losses.append(system.loss(batch, generator())["loss"].item())
    assert losses[1] < 0.1 * losses[0]


def test_a_base_without_a_lead_has_the_old_state() -> None:
    assert "lead" not in BaseSystem(BASE, MEAN, STD).state_dict()
    assert BaseSystem(BASE, MEAN, STD).loss(make_batch(), generator())["loss"] > 0


@pytest.mark.parametrize("change", [{"output": "eps"}, {"encoder": BASE.encoder}])
def test_a_lead_needs_clean_planes_and_a_fixed_encoder(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"base\.lead is True"):
        dataclasses.replace(LED, **change)
