"""The prior's data and its training: latents beside the shards, captions, a run that makes both."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from infra.manifest import Dataset, open_dataset
from infra.storage import open_store
from pipelines import latents, models, pack, train
from pipelines.options import Options
from pipelines.presets import PRESETS, TINY
from pipelines.settings import PriorStage
from rodin.generate import encode_portraits
from rodin.model import Model
from rodin.nn.encoder import EncoderSettings, PortraitEncoder
from rodin.prior import LatentPrior
from rodin.text import open_encoder
from rodin.training import Trainer
from tests.pipelines import small_run
from tests.rodin import scenes


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_run.make(tmp_path / "run")


def shards(run: Path) -> Dataset:
    return open_dataset(open_store(str(run)).child("triplanes"))


def sources(run: Path, *folders: str) -> list[latents.Source]:
    """The data sets of a run and the one table of latents that each has."""
    found = []
    for name in ("triplanes", *folders):
        (table,) = (run / name / "latents").iterdir()
        found.append((open_dataset(open_store(str(run / name))), f"latents/{table.name}"))
    return found


def trained(run: Path, stage: PriorStage) -> Path:
    """Trains the prior in this process as `rodin train` does on Ray."""
    settings = dataclasses.replace(TINY, prior=stage)
    options = Options(preset="tiny", out=str(run), tracking="none")
    context = train.open_context(options, settings)
    planes, identity = train.prepare(context, "prior")
    views = train.views_of(context.store, stage.views)
    tables = train.people_of(context, [planes] if views is None else [planes, views], stage)
    tracking = {"uri": "none", "experiment": "", "run_name": ""}
    job = train.Job(str(run), "prior", stage, identity, 1, tracking, None, tables=tables)
    store = context.child("models/prior")
    people, system = train.begun(job, planes, store)
    trainer = Trainer(system, stage.train, seed=stage.seed)
    train.run(job, trainer, store, people, 0, 1)
    return run / "models/prior"


def test_latents_stand_beside_the_shards(run: Path) -> None:
    planes = shards(run)
    decoder = models.load_decoder(planes.store)
    base = models.load_system(open_store(str(run)), "base", decoder, "cpu")
    name = latents.ensure_table(planes, base)
    rows = latents.read_table(planes.store, name)
    assert rows["key"] == small_run.TRAIN + small_run.VAL
    told = small_run.captions(small_run.TRAIN[1])
    assert rows["captions"][1][: len(told)] == told
    people = latents.LatentSamples([(planes, name)], "val", None)
    sample = train.data.TriplaneSamples(planes, "val")[0]
    torch.testing.assert_close(
        people[0]["latent"], encode_portraits(base, sample["portrait"][None])[0]
    )
    twice = latents.LatentSamples([(planes, name)], "train", None, mirror=True)
    assert len(twice) == 2 * len(small_run.TRAIN)
    seen = train.data.TriplaneSamples(planes, "train", mirror=True)[1 + len(small_run.TRAIN)]
    torch.testing.assert_close(
        twice[1 + len(small_run.TRAIN)]["latent"],
        encode_portraits(base, seen["portrait"][None])[0],
    )
    # Made once; another encoder gets another table, a damaged or older one is made again.
    before = (run / "triplanes" / name).stat().st_mtime_ns
    assert latents.ensure_table(planes, base) == name
    assert (run / "triplanes" / name).stat().st_mtime_ns == before
    with torch.no_grad():
        next(base.encoder.parameters()).add_(1)
    other = latents.ensure_table(planes, base)
    assert other != name
    assert latents.read_table(planes.store, other)["latent"] != rows["latent"]


def test_a_prior_is_trained_packed_and_read(run: Path) -> None:
    folder = trained(run, TINY.prior)
    curve = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in curve] == [16, 32, 48, 64]
    assert {"loss", "val_loss", "val_loss_t12"} <= set(curve[-1])
    decoder = models.load_decoder(shards(run).store)
    prior = models.load_system(open_store(str(run)), "prior", decoder, "cpu")
    assert isinstance(prior, LatentPrior)
    people = latents.LatentSamples(sources(run), "train", open_store(str(folder)))
    torch.testing.assert_close(prior.mean, people.latents.mean(0))
    said = open_encoder("minilm")(small_run.captions(small_run.TRAIN[1]))
    torch.testing.assert_close(people[1]["text"], said, atol=1e-3, rtol=0)
    bundle = pack.bundle_of(open_store(str(run)))
    model = Model(bundle)
    woman, man = (model.draw_latents([3], f"a {who}")[0] for who in ("woman", "man"))
    assert woman.shape == (16,) and not torch.equal(woman, man)


def test_models_are_trained_with_mirror_images_too(run: Path) -> None:
    """Twice the latents with the same texts."""
    folder = trained(run, dataclasses.replace(TINY.prior, mirror=True))
    people = latents.LatentSamples(sources(run), "train", open_store(str(folder)), mirror=True)
    count = len(small_run.TRAIN)
    assert people.texts is not None and torch.equal(people.texts[:count], people.texts[count:])
    assert not torch.equal(people.latents[:count], people.latents[count:])
    decoder = models.load_decoder(shards(run).store)
    prior = models.load_system(open_store(str(run)), "prior", decoder, "cpu")
    torch.testing.assert_close(prior.mean, people.latents.mean(0))


def test_people_without_planes_are_learned_too(run: Path) -> None:
    """A data set of views beside the tri-planes: its portraits and what is said of them."""
    small_run.portraits(run, ["000000011", "000000012"], ["000000013"])
    folder = trained(run, dataclasses.replace(TINY.prior, views="portraits/views", mirror=True))
    both = sources(run, "portraits/views")
    kept = open_store(str(folder))
    people = latents.LatentSamples(both, "train", kept, mirror=True)
    count = len(small_run.TRAIN) + 2
    assert (people.people, len(people)) == (count, 2 * count)
    decoder = models.load_decoder(shards(run).store)
    base = models.load_system(open_store(str(run)), "base", decoder, "cpu")
    portrait = train.data.image(scenes.views(seed=12, count=1, size=32, samples=1).rgba[0])
    last = people[count - 1]
    torch.testing.assert_close(last["latent"], encode_portraits(base, portrait[None])[0])
    said = open_encoder("minilm")(small_run.captions("000000012"))
    torch.testing.assert_close(last["text"][: len(said)], said, atol=1e-3, rtol=0)
    # those held out come from both, each with what is said of it
    held_out = people.held_out(9)
    assert held_out is not None and len(held_out["latent"]) == len(small_run.VAL) + 1
    said = open_encoder("minilm")(small_run.captions("000000013"))
    torch.testing.assert_close(held_out["text"][-1, : len(said)], said, atol=1e-3, rtol=0)
    prior = models.load_system(open_store(str(run)), "prior", decoder, "cpu")
    torch.testing.assert_close(prior.mean, people.latents.mean(0))
    assert json.loads((folder / "traits.json").read_text()) == people.traits()


def test_noise_is_as_large_as_what_it_changes_of_a_portrait(run: Path) -> None:
    base = models.load_system(
        open_store(str(run)), "base", models.load_decoder(shards(run).store), "cpu"
    )
    assert latents.scale_of(base, torch.ones(16)) is None, "known of eigenfaces alone"
    faces = PortraitEncoder(EncoderSettings(latent_dim=16, size=8, frozen="eigenfaces"))
    generator = torch.Generator().manual_seed(0)
    faces.measure(torch.rand(12, 3, 8, 8, generator=generator) * torch.linspace(0, 1, 8))
    base.encoder = faces
    std = torch.rand(16, generator=generator) + 0.5
    scale = latents.scale_of(base, std)
    assert scale is not None and float(scale.square().mean()) == pytest.approx(1, abs=1e-3)
    assert faces.faces is not None
    # a deviation of number k moves the pixels by as much as it says, up to a common factor
    moved = [float(torch.linalg.pinv(faces.faces.basis)[k].norm() * std[k]) for k in range(11)]
    torch.testing.assert_close(scale[:11] / scale[0], torch.tensor(moved) / moved[0])
    assert (scale[11:] == 1e-3).all(), "numbers that were not measured"


def test_sampling_draws_from_the_prior_where_told(run: Path) -> None:
    store, decoder = open_store(str(run)), models.load_decoder(shards(run).store)
    drawn = {}
    for kind in ("gaussian", "prior", "none"):
        stage = dataclasses.replace(TINY.sample, latent=kind)
        drawn[kind] = latents.LatentSource(store, stage, decoder)(3)
    assert not drawn["none"].any()
    assert not torch.equal(drawn["prior"], drawn["gaussian"])
    prior = models.load_system(store, "prior", decoder, "cpu")
    assert torch.equal(drawn["prior"], prior.draw([3], None, latents.PRIOR_SAMPLER)[0])
    (run / "models/prior/model.json").unlink()
    with pytest.raises(models.ModelError, match=r"no trained prior; run .*--stage prior"):
        latents.LatentSource(store, dataclasses.replace(TINY.sample, latent="prior"), decoder)


def sized(**change: int) -> PriorStage:
    return dataclasses.replace(TINY.prior, model=dataclasses.replace(TINY.prior.model, **change))


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (lambda: sized(latent_dim=12), "latent_dim=12, but the base's latents have 16"),
        (lambda: sized(text_dim=100), "text_dim=100, but minilm gives 384"),
        (lambda: sized(text_dim=0), "text='minilm' with model.text_dim=0"),
    ],
)
def test_sizes_that_do_not_fit(run: Path, stage: Callable[[], PriorStage], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trained(run, stage())


def test_people_without_captions_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "captions_of", lambda meta: [])
    with pytest.raises(models.ModelError, match=r"no captions; train without texts: --prior.text"):
        trained(run, TINY.prior)
    free = dataclasses.replace(sized_free(), train=TINY.prior.train)
    assert (trained(run, free) / "model.json").exists()


def sized_free() -> PriorStage:
    model = dataclasses.replace(TINY.prior.model, text_dim=0)
    return dataclasses.replace(TINY.prior, text="", model=model)


def test_older_data_have_one_caption() -> None:
    assert latents.captions_of({"caption": "a"}) == ["a"]
    assert latents.captions_of({"caption": "a", "captions": ["b", "c"]}) == ["b", "c"]
    assert latents.captions_of({}) == []


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_their_priors(name: str) -> None:
    settings = PRESETS[name]
    assert settings.prior.model.latent_dim == settings.base.model.encoder.latent_dim


def test_what_is_linear_in_texts_is_found_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(200, 2, 8, generator=generator)
    texts[:, 1] = texts[:, 0]
    words = torch.nn.functional.normalize(texts, dim=-1)
    known = words[:, 0] @ torch.randn(8, 3, generator=torch.Generator().manual_seed(5))
    told = latents.measure_texts(known, texts)
    torch.testing.assert_close(told.mean, words.reshape(-1, 8).mean(0))
    torch.testing.assert_close(told.std, words.reshape(-1, 8).std(0, correction=0))
    guess = ((words[:, 0] - told.mean) / told.std) @ told.lead
    right = (known - known.mean(0)) / known.std(0, correction=0)
    assert (guess - right).square().mean() < 0.01
    chance = latents.measure_texts(torch.randn(200, 3, generator=generator), texts)
    assert chance.lead.norm() < 0.1 * told.lead.norm()
    assert not latents.measure_texts(known[:9], texts[:9]).lead.any()
