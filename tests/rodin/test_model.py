"""Bundles, and the avatars that are made with them."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rodin
from rodin.avatar import Avatar, AvatarError
from rodin.bundle import Bundle, BundleError
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.diffusion.sampling import SamplerSettings
from rodin.generate import GenerateSettings, generate
from rodin.model import NAMED, Model
from rodin.nn.refiner import RefinerNetSettings
from rodin.plane_file import PlaneFile
from rodin.prior import PRIOR_SAMPLER, LatentPrior, PriorSettings
from rodin.refiner import RefinerSettings, RefinerSystem
from rodin.text import TextError
from tests.rodin.systems import BASE, CHANNELS, base_system, upsampler_system

LATENT = BASE.encoder.latent_dim


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Untrained, but for weights that were zero: what it makes depends on latent and text."""
    generator = torch.Generator().manual_seed(0)
    upsampler = upsampler_system()
    base = base_system()
    prior = LatentPrior(
        PriorSettings(latent_dim=LATENT, width=16, blocks=1),
        torch.zeros(LATENT),
        torch.ones(LATENT),
    )
    refiner = RefinerSystem(RefinerSettings(net=RefinerNetSettings()))
    for system in (base, upsampler, prior):
        for parameter in system.parameters():
            if not parameter.any():
                parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    latents = torch.randn(6, LATENT, generator=generator)
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    return Bundle(decoder, base, latents, upsampler, refiner, prior, {"text_encoder": "minilm"})


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.save(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return rodin.load(folder)


def test_a_bundle_is_what_was_saved(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    again = Bundle.load(folder)
    assert again.decoder.digest() == bundle.decoder.digest()
    assert again.facts == bundle.facts
    assert set(again.systems) == {"base", "upsampler", "refiner", "prior"}
    for name, system in bundle.systems.items():
        found = again.systems[name].state_dict()
        assert getattr(again, name).settings == getattr(bundle, name).settings
        for key, value in system.state_dict().items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-6)
    whole = Bundle.load(bundle.save(tmp_path, half=False))
    assert all(
        torch.equal(whole.base.state_dict()[k], v) for k, v in bundle.base.state_dict().items()
    )
    size = {f: sum(p.stat().st_size for p in f.glob("base*")) for f in (folder, tmp_path)}
    assert size[folder] < 0.55 * size[tmp_path]


def test_parts_that_are_not_there_are_none(bundle: Bundle, tmp_path: Path) -> None:
    less = Bundle(bundle.decoder, bundle.base, bundle.latents)
    again = Bundle.load(less.save(tmp_path))
    assert (again.upsampler, again.refiner, again.prior) == (None, None, None)
    assert Model(again).generate(seed=1).planes.shape[-1] == BASE.size
    with pytest.raises(TextError, match="trained without texts"):
        Model(again).generate(text="a man")


def test_a_bundle_says_how_it_is_sampled(bundle: Bundle) -> None:
    said = {"base": {"steps": 3}, "upsampler": {"method": "dpm2m", "steps": 2}, "strength": 0.3}
    model = Model(dataclasses.replace(bundle, facts={"sampling": said}))
    how = dataclasses.replace(
        GenerateSettings(SamplerSettings(steps=3), SamplerSettings("dpm2m", 2), 0.3), batch=1
    )
    avatar = model.generate(seed=1)
    assert avatar.latent is not None
    planes = generate(bundle.base, bundle.upsampler, [1], latents=avatar.latent[None], settings=how)
    assert torch.equal(avatar.planes, planes[0])
    assert not torch.equal(avatar.planes, model.generate(seed=1, steps=2).planes)
    for wrong, error in (
        ({"base": {"steps": "many"}}, "sampling.base.steps: Input should be a valid integer"),
        ({"base": {"steps": 1001}}, "asks for 1001 steps, past 1000"),
    ):
        with pytest.raises(BundleError, match=error):
            Model(dataclasses.replace(bundle, facts={"sampling": wrong})).generate(seed=1)


def damage(folder: Path, how: str) -> None:
    """One thing that goes wrong with a copied folder."""
    path = folder / "bundle.json"
    meta = json.loads(path.read_text())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_text(path.read_text()[:-30])
    elif how == "huge":
        path.write_bytes(b" " * ((1 << 20) + 1))
    elif how == "nested":
        path.write_text("[" * 100_000)
    elif how == "flipped":
        data = bytearray((folder / "base.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "base.safetensors").write_bytes(data)
    elif how == "short":
        data = (folder / "base.safetensors").read_bytes()
        (folder / "base.safetensors").write_bytes(data[:-4])
    elif how == "no weights":
        (folder / "prior.safetensors").unlink()
    else:
        {
            "version": lambda: meta.update(version=99),
            "part": lambda: meta["parts"].update(extra={}),
            "climb": lambda: meta["parts"].update({"../base": meta["parts"]["base"]}),
            "setting": lambda: meta["parts"]["base"]["settings"]["unet"].update(width="wide"),
            "network": lambda: meta["parts"]["base"]["settings"]["unet"].update(width=32),
        }[how]()
        path.write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("gone", "make one with rodin pack"),
        ("cut", "is damaged; copy the bundle again"),
        ("huge", "bytes, past 1048576"),
        ("nested", "is damaged"),
        ("version", "has version '99', this code reads 1"),
        ("part", "lists parts that no bundle has"),
        ("climb", "lists parts that no bundle has"),
        ("flipped", "its sha256 differs"),
        ("short", "bytes, bundle.json says"),
        ("no weights", "prior.safetensors is missing"),
        ("setting", "base.unet.width: Input should be a valid integer"),
        ("network", "base.safetensors does not fit its settings"),
    ],
)
def test_damaged_bundles_are_refused(bundle: Bundle, tmp_path: Path, how: str, said: str) -> None:
    bundle.save(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(BundleError, match=said):
        rodin.load(tmp_path)


def test_weights_that_half_cannot_hold(bundle: Bundle, tmp_path: Path) -> None:
    big = Bundle(bundle.decoder, bundle.base, 1e6 * bundle.latents)
    with pytest.raises(BundleError, match="save with half=False"):
        big.save(tmp_path)


def test_the_same_wish_gives_the_same_planes(model: Model) -> None:
    first, second = model.generate_many([3, 0], steps=2)
    assert torch.equal(model.generate(seed=3, steps=2).planes, first.planes)
    assert torch.equal(model.generate(seed=0, steps=2).planes, second.planes)
    assert not torch.allclose(first.planes, second.planes)


def test_a_portrait_decides_the_latent(model: Model) -> None:
    generator = np.random.default_rng(0)
    for_two = []
    for colour in (40, 200):
        image = np.zeros((48, 48, 4), np.uint8)
        image[12:, 8:40] = [colour, 90, 90, 255]
        image[..., :3] += generator.integers(0, 9, image[..., :3].shape, dtype=np.uint8)
        for_two.append(model.generate(seed=1, portrait=image, steps=2))
    assert not torch.allclose(for_two[0].planes, for_two[1].planes)
    assert for_two[0].facts["from"] == "portrait"


def test_a_text_decides_the_latent_and_edits(model: Model) -> None:
    man = model.generate(seed=1, text="an old man with a beard", steps=2)
    girl = model.generate(seed=1, text="a girl with green hair", steps=2)
    assert man.latent is not None and not torch.allclose(man.planes, girl.planes)
    same = man.edit("with glasses", strength=0.0)
    assert same.latent is not None
    torch.testing.assert_close(same.latent, man.latent)
    torch.testing.assert_close(same.planes, man.planes)
    worn = man.edit("with glasses", strength=0.7)
    step = model.direction("with glasses")
    assert worn.latent is not None and worn.seed == man.seed
    torch.testing.assert_close(worn.latent, man.latent + 0.7 * step)


def test_samples_along_a_ray_follow_the_planes(model: Model) -> None:
    avatar = model.generate(1)
    for side, still, film in ((16, 32, 32), (64, 96, 48), (256, 128, 96)):
        sized = dataclasses.replace(avatar, planes=torch.zeros(3, CHANNELS, side, side))
        assert (sized.samples(), sized.samples(96, 0.75)) == (still, film)
    few, many = (np.asarray(avatar.render(size=32, samples=count)) for count in (2, 32))
    assert np.array_equal(many, np.asarray(avatar.render(size=32))) and (few != many).any()


def test_between_two(model: Model) -> None:
    a, b = model.generate(seed=1, steps=2), model.generate(seed=2, steps=2)
    torch.testing.assert_close(a.towards(b, 0.0).planes, a.planes)
    half = a.towards(b, 0.5)
    assert half.latent is not None and a.latent is not None and b.latent is not None
    torch.testing.assert_close(half.latent, (a.latent + b.latent) / 2)


@pytest.mark.parametrize("name", ["x.npz", "x.webp", "x.png"])
def test_saved_files(model: Model, tmp_path: Path, name: str) -> None:
    from PIL import Image

    avatar = model.generate(seed=2, steps=1)
    path = avatar.save(tmp_path / "new" / name, size=16)
    if name == "x.npz":
        file = PlaneFile.load(path)
        file.check(TriplaneDecoder.load(path.parent / "decoder.safetensors"))
        assert file.facts["seed"] == 2
        np.testing.assert_allclose(file.planes, avatar.planes.numpy(), rtol=1e-3, atol=1e-3)
    elif name == "x.webp":
        assert Image.open(path).n_frames == 36  # type: ignore[attr-defined]
    else:
        assert Image.open(path).size == (6 * 16, 16)


def test_views_are_those_of_the_camera(model: Model) -> None:
    avatar = model.generate(seed=2, steps=1)
    front = avatar.render(size=32)
    assert front.size == (32, 32)

    def off(azimuth: float) -> float:
        other = np.array(avatar.render(azimuth=azimuth, size=32), np.float32)
        return float(np.abs(other - np.array(front, np.float32)).mean())

    assert off(360) < 1
    assert off(90) > 5


def test_pictures_and_films_are_refined_where_the_model_can(bundle: Bundle, tmp_path: Path) -> None:
    from PIL import Image

    assert bundle.refiner is not None
    sharp = copy.deepcopy(bundle.refiner)
    torch.nn.init.normal_(
        sharp.net.head.weight, std=0.05, generator=torch.Generator().manual_seed(0)
    )
    avatar = Model(dataclasses.replace(bundle, refiner=sharp)).generate(seed=2, steps=1)
    alone = Model(dataclasses.replace(bundle, refiner=None)).generate(seed=2, steps=1)
    assert torch.equal(avatar.planes, alone.planes)

    def pixels(picture: Any) -> np.ndarray:
        return np.array(picture, np.float32)

    def off(one: Any, other: Any) -> float:
        return float(np.abs(pixels(one) - pixels(other)).mean())

    refined, plain = avatar.render(size=32), alone.render(size=32)
    assert off(refined, plain) > 2
    assert off(avatar.render(size=32, refine=True), refined) == 0
    assert off(avatar.render(size=32, refine=False), plain) == 0
    with pytest.raises(AvatarError, match="has no refiner"):
        alone.render(size=32, refine=True)
    for name in ("x.png", "x.webp"):
        pair = [Image.open(one.save(tmp_path / str(i) / name, size=32)).convert("RGB")
                for i, one in enumerate((avatar, alone))]  # fmt: skip
        assert off(*pair) > 1, name
    dark = pixels(avatar.render(size=32, background=0.0))
    assert dark.mean() < pixels(refined).mean() - 20


def test_a_known_label_is_one_step_and_other_texts_are_drawn(bundle: Bundle) -> None:
    steps = {name: [float(i)] * LATENT for i, name in enumerate(("glasses: yes", "glasses: no"), 1)}
    words = {
        "glasses: yes": ["wearing glasses", "with sunglasses"],
        "glasses: no": ["without glasses"],
    }
    traits = {name: {"texts": words[name], "step": steps[name]} for name in steps}
    model = Model(dataclasses.replace(bundle, facts={**bundle.facts, "traits": traits}))
    for text, name in (
        ("wearing sunglasses", "glasses: yes"), ("with no glasses", "glasses: no"),
        ("a purple mohawk", ""),
    ):  # fmt: skip
        assert model.traits(text) == [name] * bool(name)
        if name:
            assert model.direction(text).tolist() == steps[name]
    avatar = model.generate(seed=1, steps=1)
    assert avatar.latent is not None
    edited = avatar.edit("wearing glasses", 0.5)
    assert edited.latent is not None and torch.allclose(edited.latent, avatar.latent + 0.5)
    drawn = Model(bundle)
    assert drawn.traits("wearing glasses") == [], "this bundle knows no labels"
    more = {**traits, "hat: yes": {"texts": ["wearing a hat"], "step": [3.0] * LATENT}}
    two = Model(dataclasses.replace(bundle, facts={**bundle.facts, "traits": more}))
    pair = "person wearing a hat and wearing glasses"
    assert set(two.traits(pair)) == {"hat: yes", "glasses: yes"}

    def stepped(seed: int, text: str, step: float) -> torch.Tensor:
        """What the prior draws of a text when all numbers shall have taken a step."""
        assert bundle.prior is not None
        how = dataclasses.replace(PRIOR_SAMPLER, guidance=1.25)
        toward = torch.full((LATENT,), step)
        return bundle.prior.draw([seed], drawn.texts([text])[0], how, toward)

    moved = two.draw_latents([3], pair)
    assert torch.equal(moved, stepped(3, pair, (1 + 3) * NAMED * 2**-0.75))
    suit = {
        "clothes: blue": {"texts": ["wearing blue clothes"], "step": [4.0] * LATENT},
        "garment: suit": {"texts": ["wearing a suit"], "step": [5.0] * LATENT},
    }
    dressed = Model(dataclasses.replace(bundle, facts={**bundle.facts, "traits": more | suit}))
    assert set(dressed.traits("a blue suit")) == set(suit), "one part of a text can name two"
    assert dressed.traits("wearing a suit") == ["garment: suit"]
    both = "wearing glasses, without spectacles"
    assert len(model.traits(both)) == 1, "nobody has glasses and none"
    sentence = "old man with a long nose, wearing sunglasses"
    assert model.traits(sentence) == ["glasses: yes"]
    moved = model.draw_latents([3, 4], sentence)
    assert torch.equal(moved, torch.cat([stepped(seed, sentence, NAMED) for seed in (3, 4)]))
    assert (moved - drawn.draw_latents([3, 4], sentence)).abs().mean() > 0.1
    assert torch.equal(*(one.draw_latents([3], sentence, guidance=0.0) for one in (model, drawn)))
    for text in ("a purple mohawk", "wearing glasses"):
        other = drawn.direction(text)
        assert other.std() > 0 and (
            text != "a purple mohawk" or torch.equal(other, model.direction(text))
        )
    traits["glasses: no"]["step"] = [1.0]
    with pytest.raises(BundleError, match=f"'glasses: no' has 1 numbers, latents have {LATENT}"):
        model = Model(dataclasses.replace(bundle, facts={**bundle.facts, "traits": traits}))
        model.direction("wearing glasses")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"steps": 0}, "steps is 0; use 1 to 1,000"),
        ({"guidance": -1}, "guidance is -1; use 0 to 20"),
        ({"seed": -1}, "seed -1"),
        ({"text": "a man", "portrait": "x.png"}, "not both"),
    ],
)
def test_wishes_that_cannot_be_met(model: Model, wish: dict, said: str) -> None:
    with pytest.raises(AvatarError, match=said):
        model.generate(**wish)


def test_other_wishes_that_cannot_be_met(model: Model, tmp_path: Path) -> None:
    avatar = model.generate(seed=0, steps=1)
    with pytest.raises(AvatarError, match="1 to 64 at a time"):
        model.generate_many(range(65))
    with pytest.raises(AvatarError, match="size is 4096 px; use 16 to 2048"):
        avatar.render(size=4096)
    with pytest.raises(AvatarError, match="unknown suffix"):
        avatar.save(tmp_path / "x.obj")
    with pytest.raises(AvatarError, match=r"strength is 9; it lies in \[0, 3\]"):
        avatar.edit("old", strength=9)
    alone = Avatar(avatar.planes, avatar.decoder)
    with pytest.raises(AvatarError, match="cannot be edited"):
        alone.edit("old")
    with pytest.raises(AvatarError, match="must come from a model"):
        avatar.towards(alone, 0.5)
