"""The diffusion over latents and the sentences that lead it."""

from __future__ import annotations

import pytest
import torch

from rodin import text as texts
from rodin.diffusion.sampling import SamplerSettings
from rodin.prior import PRIOR_SAMPLER, LatentPrior, PriorSettings, TextStatistics, measure_latents
from rodin.training import Trainer, TrainSettings

SMALL = {"latent_dim": 4, "text_dim": 3, "width": 32, "blocks": 2, "dropout": 0.0}
FAST = SamplerSettings(method="dpm2m", steps=12)


def groups(count: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (N, 4) around three points, and texts (N, 2, 3) that say which one."""
    generator = torch.Generator().manual_seed(0)
    which = torch.arange(count) % 3
    centres = 5 * torch.eye(3, 4) + 2
    latents = centres[which] + 0.1 * torch.randn(count, 4, generator=generator)
    said = torch.eye(3)[which]
    return latents, torch.stack([said, 2 * said], dim=1)


def trained(text_dim: int = 3, steps: int = 400) -> LatentPrior:
    latents, said = groups()
    torch.manual_seed(0)
    prior = LatentPrior(PriorSettings(**{**SMALL, "text_dim": text_dim}), *measure_latents(latents))
    settings = TrainSettings(
        total_samples=96 * steps, batch_size=96, learning_rate=3e-3, warmup_samples=0,
        ema_halflife=2000,
    )  # fmt: skip
    trainer = Trainer(prior, settings)
    for _ in range(steps):
        trainer.step({"latent": latents, "text": said})
    ema = trainer.ema
    assert isinstance(ema, LatentPrior)
    return ema


@pytest.fixture(scope="module")
def prior() -> LatentPrior:
    return trained()


def nearest(latents: torch.Tensor) -> torch.Tensor:
    return torch.cdist(latents, 5 * torch.eye(3, 4) + 2).argmin(1)


def test_a_text_leads_to_its_people(prior: LatentPrior) -> None:
    for which in range(3):
        drawn = prior.draw(range(16), torch.eye(3)[which], FAST)
        assert (nearest(drawn) == which).all()
        off = drawn - (5 * torch.eye(3, 4)[which] + 2)
        assert off.norm(dim=1).median() < 1.0


def test_without_a_text_all_kinds_come(prior: LatentPrior) -> None:
    found = nearest(prior.draw(range(48), None, FAST)).bincount(minlength=3)
    assert (found >= 6).all()


def test_guidance_of_zero_forgets_the_text(prior: LatentPrior) -> None:
    free = prior.draw([0, 1], None, FAST)
    zero = SamplerSettings(method="dpm2m", steps=12, guidance=0.0)
    assert torch.equal(prior.draw([0, 1], torch.eye(3)[1], zero), free)


def test_a_latent_depends_on_its_seed_and_text_alone(prior: LatentPrior) -> None:
    said = torch.eye(3)
    together = prior.draw([5, 6, 7], said, FAST)
    torch.testing.assert_close(prior.draw([6], said[1], FAST)[0], together[1])
    assert not torch.equal(prior.draw([8], said[1], FAST)[0], together[1])


SCALE = torch.tensor([1.9, 0.6, 0.1, 0.05])


def test_the_loss_is_that_of_its_formula() -> None:
    """Against the definition, one sample at a time: no text dropped, no jitter in evaluation."""
    latents, said = groups(6)
    settings = PriorSettings(**SMALL, text_dropout=0.0)
    prior = LatentPrior(settings, *measure_latents(latents), scale=SCALE).eval()
    torch.nn.init.normal_(prior.leave[1].weight)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    found = prior.loss({"latent": latents, "text": said}, torch.Generator().manual_seed(3), t)
    clean = (latents - prior.mean) / prior.std * SCALE
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    losses = []
    for i in range(6):
        alpha, sigma = (float(x) for x in prior.schedule.alpha_sigma(t[i : i + 1]))
        noisy = alpha * clean[i : i + 1] + sigma * noise[i : i + 1]
        # Both descriptions have one direction: it does not matter which was drawn.
        guess = prior.denoiser(said[i, :1])(noisy, t[i : i + 1]).clean
        open_still = 1 / (1 / SCALE**2 + alpha**2 / sigma**2)
        losses.append(((guess - clean[i]).square() / (open_still + 0.02)).mean())
    torch.testing.assert_close(found["loss"], torch.stack(losses).mean())


@pytest.mark.parametrize("scale", [None, SCALE])
def test_before_training_the_guess_is_the_gaussian_one(scale: torch.Tensor | None) -> None:
    """E[x0 | xt] of x0 ~ N(scale lead, scale^2): the posterior's definition, number by number."""
    latents, said = groups()
    lead = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    known = TextStatistics(torch.full((3,), 0.2), torch.full((3,), 0.5), lead)
    prior = LatentPrior(PriorSettings(**SMALL), *measure_latents(latents), known, scale).eval()
    own = torch.ones(4) if scale is None else scale
    noisy = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    t = torch.linspace(0.0, 1.0, 6, dtype=torch.float64)
    found = prior.denoiser(said[:6, 1])(noisy, t).clean
    free = prior.denoiser(None)(noisy, t).clean
    for i in range(6):
        alpha, sigma = (float(x) for x in prior.schedule.alpha_sigma(t[i : i + 1]))
        centre = own * (((said[i, 0] - 0.2) / 0.5) @ lead)
        precision = 1 / own**2 + alpha**2 / sigma**2
        expected = (centre / own**2 + alpha / sigma**2 * noisy[i]) / precision
        torch.testing.assert_close(found[i], expected, rtol=1e-3, atol=1e-3)
        expected = alpha / sigma**2 * noisy[i] / precision
        torch.testing.assert_close(free[i], expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"lead is \(4, 3\); expected \(3, 4\)"):
        wrong = TextStatistics(known.mean, known.std, lead.T)
        LatentPrior(PriorSettings(**SMALL), *measure_latents(latents), wrong)


def test_an_untrained_prior_draws_the_gaussian_of_its_people() -> None:
    """Whatever the scales of the numbers: they say in which order noise drowns them, no more."""
    latents, _ = groups()
    mean, std = measure_latents(latents)
    for scale in (None, SCALE):
        prior = LatentPrior(PriorSettings(**SMALL), mean, std, scale=scale)
        drawn = prior.draw(range(400), None, PRIOR_SAMPLER)
        torch.testing.assert_close((drawn.mean(0) - mean) / std, torch.zeros(4), atol=0.2, rtol=0)
        torch.testing.assert_close(drawn.std(0) / std, torch.ones(4), atol=0.1, rtol=0)


def test_a_step_moves_what_is_drawn_and_the_network_has_its_say(prior: LatentPrior) -> None:
    """Of a Gaussian's latents each takes the step, no more; of people's none leaves its group."""
    latents, _ = groups()
    step = torch.tensor([1.0, -0.5, 0.2, 0.1])
    for scale in (None, SCALE):
        free = LatentPrior(PriorSettings(**SMALL), *measure_latents(latents), scale=scale)
        drawn, moved = (free.draw(range(8), None, PRIOR_SAMPLER, toward=x) for x in (None, step))
        torch.testing.assert_close(moved - drawn, step.expand(8, -1), atol=0.02, rtol=0)
    centres = 5 * torch.eye(3, 4) + 2
    toward = (centres[1] - prior.mean).detach()
    drawn = prior.draw(range(32), None, FAST, toward=toward)
    assert (nearest(drawn) == 1).float().mean() > 0.8
    away = torch.cdist(drawn, centres).amin(1).median()
    later = prior.draw(range(32), None, FAST) + toward
    assert away < 0.5 * torch.cdist(later, centres).amin(1).median()


def test_errors_in_much_noise_count() -> None:
    """There a text decides: a weight that falls with the SNR would leave it unlearned."""
    latents, said = groups(6)
    prior = LatentPrior(PriorSettings(**SMALL), *measure_latents(latents)).eval()
    batch = {"latent": latents + 3 * prior.std, "text": said}
    some, most = (
        prior.loss(batch, torch.Generator().manual_seed(3), torch.full((6,), t))["loss"]
        for t in (0.5, 0.999)
    )
    assert most > 0.5 * some


def test_what_does_not_fit_is_refused() -> None:
    mean, std = torch.zeros(4), torch.ones(4)
    with pytest.raises(ValueError, match=r"latent mean is \(3,\); expected \(4,\)"):
        LatentPrior(PriorSettings(**SMALL), mean[:3], std)
    with pytest.raises(ValueError, match=r"latent scale is \(3,\); expected \(4,\)"):
        LatentPrior(PriorSettings(**SMALL), mean, std, scale=std[:3])
    free = LatentPrior(PriorSettings(**{**SMALL, "text_dim": 0}), mean, std)
    with pytest.raises(ValueError, match="trained without texts"):
        free.draw([0], torch.ones(3))
    with pytest.raises(ValueError, match="batch lacks text"):
        LatentPrior(PriorSettings(**SMALL), mean, std).loss(
            {"latent": torch.zeros(2, 4)}, torch.Generator()
        )
    with pytest.raises(ValueError, match="text_dropout is 1"):
        PriorSettings(text_dropout=1.0)
    with pytest.raises(ValueError, match=r"expected \(N, D\)"):
        measure_latents(torch.zeros(0, 4))


def test_sentences_near_in_meaning_lie_near() -> None:
    encoder = texts.open_encoder("minilm")
    said = encoder(["a bald old man", "an elderly man without hair", "a girl with a green hat"])
    assert said.shape == (3, encoder.dim)
    torch.testing.assert_close(said.norm(dim=1), torch.ones(3))
    assert said[0] @ said[1] > said[0] @ said[2] + 0.2
    assert torch.equal(encoder(["a  bald old\nman"])[0], encoder(["a bald old man"])[0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bert", "is not known; use minilm or clip:MODEL:FILE"),
        ("clip:ViT-B-32", "is not known"),
        ("minilm:/nowhere", "/nowhere holds no sentence-transformers model"),
    ],
)
def test_encoders_that_are_not_there(name: str, said: str) -> None:
    with pytest.raises(texts.TextError, match=said):
        texts.open_encoder(name)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 501])
def test_descriptions_that_say_nothing_or_too_much(text: str) -> None:
    with pytest.raises(texts.TextError, match="the description"):
        texts.check_text(text)
