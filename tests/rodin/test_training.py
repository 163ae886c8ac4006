"""The trainer: exact resume, float32 average, learning rate, guard against non-finite losses."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from rodin.training import Trainer, TrainingError, TrainSettings, draw_indices, step_generator

SETTINGS = TrainSettings(
    total_samples=400, batch_size=4, learning_rate=1e-2, warmup_samples=16, decay="cosine"
)


class Toy(nn.Module):
    """Noisy regression with dropout: every source of randomness that a system has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        x = batch["x"]
        noise = torch.randn(x.shape, generator=generator)
        target = self.scale * x.sum(1, keepdim=True)
        return {"loss": (self.net(x + 0.1 * noise) - target).square().mean()}


DATA = torch.randn(10, 4, generator=torch.Generator().manual_seed(1))


def run(trainer: Trainer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        picked = draw_indices(10, 4, seed=trainer.seed, samples_seen=trainer.samples_seen)
        losses.append(trainer.step({"x": DATA[picked]})["loss"])
    return losses


def test_stop_and_go_on_equals_going_straight() -> None:
    straight = Trainer(Toy(), SETTINGS)
    losses = run(straight, 10)
    first = Trainer(Toy(), SETTINGS)
    run(first, 5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    torch.manual_seed(99)  # the global generator is none of its business
    second = Trainer(Toy(), SETTINGS)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.samples_seen == 20
    assert run(second, 5) == losses[5:]
    for kind in ("system", "ema"):
        a, b = straight.state_dict()[kind], second.state_dict()[kind]
        assert set(a) == set(b)
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_resume_test_can_fail() -> None:
    """Another seed gives other losses: the equality above is not vacuous."""
    assert run(Trainer(Toy(), SETTINGS), 3) != run(Trainer(Toy(), SETTINGS, seed=1), 3)


def test_step_leaves_the_global_generator_alone() -> None:
    trainer = Trainer(Toy(), SETTINGS)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(trainer, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_average_is_float32_and_lags_by_its_halflife() -> None:
    settings = TrainSettings(batch_size=4, learning_rate=1e-2, warmup_samples=0,
                             ema_halflife=40.0, ema_ramp=0.0, precision="bfloat16")  # fmt: skip
    trainer = Trainer(Toy(), settings)
    expected = None
    decay = 0.5 ** (4 / 40)
    for step in range(6):
        run(trainer, 1)
        weight = trainer.system.net[0].weight.detach().clone()
        expected = weight if step == 0 else decay * expected + (1 - decay) * weight
    averaged = trainer.ema.net[0].weight
    assert averaged.dtype == torch.float32
    assert not averaged.requires_grad
    assert torch.allclose(averaged, expected, atol=1e-6)
    assert torch.equal(trainer.ema.scale, trainer.system.scale)


def test_float16_parameters_are_refused() -> None:
    """In half precision the average would stop moving: 1 - 1e-4 of a weight rounds to it."""
    with pytest.raises(ValueError, match="float32"):
        Trainer(Toy().half(), SETTINGS)


@pytest.mark.parametrize("poison", ["planes", "gradient"])
def test_non_finite_stops_before_the_step(poison: str) -> None:
    class Poisoned(Toy):
        def forward(
            self, batch: dict[str, Tensor], generator: torch.Generator
        ) -> dict[str, Tensor]:
            parts = super().forward(batch, generator)
            if poison == "gradient" and batch["x"].mean() > 50:
                weight = self.net[0].weight
                parts["loss"] = parts["loss"] + (weight * 0).sum().abs().sqrt()
            return parts

    trainer = Trainer(Poisoned(), SETTINGS)
    run(trainer, 2)
    before = {key: value.clone() for key, value in trainer.state_dict()["system"].items()}
    bad = torch.full((4, 4), float("nan") if poison == "planes" else 100.0)
    with pytest.raises(TrainingError, match=r"at step 2 \(8 samples seen\)") as caught:
        trainer.step({"x": bad})
    assert "loss nan" in str(caught.value) or poison == "gradient"
    assert "\n" not in str(caught.value)
    after = trainer.state_dict()
    assert all(torch.equal(before[key], after["system"][key]) for key in before)
    assert after["samples_seen"] == 8
    run(trainer, 1)


def test_learning_rate_follows_samples_not_steps() -> None:
    assert SETTINGS.rate(0) == pytest.approx(1e-2 * 4 / 20)
    assert SETTINGS.rate(16) == pytest.approx(1e-2)
    assert SETTINGS.rate(208) == pytest.approx(0.5e-2)
    assert SETTINGS.rate(400) == pytest.approx(0)
    trainer = Trainer(Toy(), SETTINGS)
    assert [trainer.step({"x": DATA[:4]})["rate"] for _ in range(2)] == [
        SETTINGS.rate(0),
        SETTINGS.rate(4),
    ]
    assert not trainer.done


def test_gradient_is_clipped() -> None:
    trainer = Trainer(Toy(), SETTINGS)
    norm = trainer.step({"x": 100 * DATA[:4]})["grad_norm"]
    assert norm > 1, "the norm reported is the one before clipping"
    grads = [p.grad for p in trainer.system.parameters()]
    assert torch.cat([g.flatten() for g in grads]).norm().item() == pytest.approx(1, rel=1e-3)


class Plain(Toy):
    """Neither noise nor dropout: the loss of a batch is the mean over its samples."""

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        x = batch["x"]
        out = self.net[3](self.net[1](self.net[0](x)))
        return {"loss": (out - self.scale * x.sum(1, keepdim=True)).square().mean()}


@pytest.mark.parametrize("parts", [2, 3])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts: int) -> None:
    whole = Trainer(Plain(), SETTINGS)
    pieces = Trainer(Plain(), dataclasses.replace(SETTINGS, accumulate=parts))
    batch = {"x": DATA[:7]}
    for _ in range(3):
        a, b = whole.step(batch), pieces.step(batch)
        assert a == pytest.approx(b, rel=1e-5)
    for p, q in zip(whole.system.parameters(), pieces.system.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)
    with pytest.raises(ValueError, match="accumulate is 5"):
        Trainer(Plain(), dataclasses.replace(SETTINGS, accumulate=5)).step({"x": DATA[:4]})


def test_workers_exchange_gradients_once_a_step() -> None:
    exchanged: list[bool] = []

    class Wrapper(nn.Module):
        quiet = False

        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            self.quiet = True
            yield
            self.quiet = False

        def forward(self, *args: object) -> dict[str, Tensor]:
            exchanged.append(not self.quiet)
            return self.module(*args)

    settings = dataclasses.replace(SETTINGS, accumulate=3)
    Trainer(Plain(), settings, wrap=Wrapper).step({"x": DATA[:6]})
    assert exchanged == [False, False, True]


def test_wrap_is_called_in_place_of_the_system() -> None:
    calls = []

    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args: object) -> dict[str, Tensor]:
            calls.append(1)
            return self.module(*args)

    trainer = Trainer(Toy(), SETTINGS, wrap=Wrapper, workers=2)
    trainer.step({"x": DATA[:4]})
    assert calls == [1]
    assert trainer.samples_seen == 8
    assert not any(key.startswith("module") for key in trainer.state_dict()["system"])


def test_state_of_another_run_is_refused() -> None:
    state = Trainer(Toy(), SETTINGS).state_dict()
    with pytest.raises(ValueError, match="version 0"):
        Trainer(Toy(), SETTINGS).load_state_dict({**state, "version": 0})
    with pytest.raises(ValueError, match="seed 0 but the run has 1"):
        Trainer(Toy(), SETTINGS, seed=1).load_state_dict(state)
    other = Toy()
    other.net[0] = nn.Linear(4, 17)
    with pytest.raises(ValueError, match="another network"):
        Trainer(other, SETTINGS).load_state_dict(state)


def test_batches_visit_every_sample_once_an_epoch() -> None:
    seen: list[int] = []
    while len(seen) < 40:
        seen += draw_indices(10, 4, seed=0, samples_seen=len(seen))
    for epoch in range(4):
        assert sorted(seen[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert seen[:10] != seen[10:20]
    assert draw_indices(10, 7, seed=0, samples_seen=12) == seen[12:19], "whatever the batch size"
    with pytest.raises(ValueError, match="empty"):
        draw_indices(0, 4, seed=0, samples_seen=0)


def test_step_generators_differ_by_seed_samples_and_rank() -> None:
    draws = {
        torch.rand((), generator=step_generator(*key)).item()
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert len(draws) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"decay": "step"}, "decay"),
        ({"precision": "fp8"}, "precision"),
        ({"beta2": 1.0}, "beta2"),
    ],
)
def test_train_settings_are_checked(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainSettings(**change)
