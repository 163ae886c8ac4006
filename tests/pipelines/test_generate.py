"""`rodin generate` on a small untrained bundle, and `rodin pack` on runs that have nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import generate, pack
from rodin import model
from rodin.bundle import Bundle
from rodin.decoder import DecoderConfig, TriplaneDecoder
from tests.rodin.systems import BASE, CHANNELS, base_system, upsampler_system

QUICK = ["--steps", "1", "--size", "16"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    decoder = TriplaneDecoder(DecoderConfig(channels=CHANNELS, hidden=16, density_bias=0.0))
    latents = torch.randn(5, BASE.encoder.latent_dim, generator=torch.Generator().manual_seed(0))
    parts = Bundle(decoder, base_system(), latents, upsampler_system())
    return str(parts.save(tmp_path_factory.mktemp("bundle")))


def test_files_of_every_avatar(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    generate.main([bundle, "--out", str(out), "--seed", "3", "--count", "2", *QUICK, "--files",
                   "png", "npz"])  # fmt: skip
    names = {"seed-000003", "seed-000004"}
    assert {p.name for p in out.iterdir()} == {
        "sheet.png", "generate.json", "decoder.safetensors",
        *(f"{name}.{suffix}" for name in names for suffix in ("png", "npz")),
    }  # fmt: skip
    assert Image.open(out / "sheet.png").size == (5 * 16, 2 * 32)
    assert set(json.loads((out / "generate.json").read_text())) == names
    assert "wrote 2 avatars" in capsys.readouterr().out
    alone = tmp_path / "alone"
    generate.main([bundle, "--out", str(alone), "--seed", "4", *QUICK, "--files", "npz"])
    both = [np.load(f / "seed-000004.npz")["planes"] for f in (out, alone)]
    assert np.array_equal(*both)


def test_what_is_written_by_default(bundle: str, tmp_path: Path) -> None:
    generate.main([bundle, "--out", str(tmp_path), "--voxels", "24", *QUICK])
    assert {p.name for p in tmp_path.iterdir()} == {
        "sheet.png", "generate.json", "decoder.safetensors",
        "seed-000000.glb", "seed-000000.webp", "seed-000000.npz",
    }  # fmt: skip
    with Image.open(tmp_path / "seed-000000.webp") as film:
        assert (film.n_frames, film.size) == (36, (16, 16))  # type: ignore[attr-defined]


def test_a_portrait_gives_its_name(bundle: str, tmp_path: Path) -> None:
    image = np.zeros((40, 40, 4), np.uint8)
    image[10:, 5:35] = [120, 80, 60, 255]
    Image.fromarray(image).save(tmp_path / "ada.png")
    generate.main([bundle, "--out", str(tmp_path / "x"), "--portrait", str(tmp_path / "ada.png"),
                   *QUICK, "--files", "npz"])  # fmt: skip
    assert (tmp_path / "x" / "ada-000000.npz").exists()
    generate.main([bundle, "--out", str(tmp_path / "y"), "--portrait", str(tmp_path / "ada.png"),
                   "--match", *QUICK, "--files", "npz"])  # fmt: skip
    loose, close = (np.load(tmp_path / d / "ada-000000.npz")["planes"] for d in "xy")
    assert loose.shape == close.shape and not np.array_equal(loose, close)
    facts = json.loads((tmp_path / "y" / "generate.json").read_text())["ada-000000"]
    assert facts["matched"] and facts["from"] == "portrait"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count", "65"], "--count is 65; use 1 to 64"),
        (["--text", "x", "--portrait", "y"], "--text and --portrait exclude each other"),
        (["--match"], "--match brings an avatar nearer to a portrait; give --portrait too"),
        (["--text", "an old man"], "trained without texts"),
        (["--portrait", "/nowhere.png"], "/nowhere.png: no such file"),
        (["--steps", "0"], "steps is 0"),
        (["--files", "obj"], "obj"),
    ],
)
def test_wishes_that_cannot_be_met(
    bundle: str, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        generate.main([bundle, "--out", str(tmp_path), *words])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_a_package_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: str
) -> None:
    monkeypatch.setattr(model, "BUILTIN", tmp_path / "weights")
    monkeypatch.setattr(generate, "BUILTIN", tmp_path / "weights")
    with pytest.raises(SystemExit) as stop:
        generate.main(["--out", str(tmp_path / "x"), *QUICK])
    assert stop.value.code == 2
    assert "this package has no weights of its own; name a bundle or a run" in (
        capsys.readouterr().err
    )
    shutil.copytree(bundle, tmp_path / "weights")
    generate.main(["--out", str(tmp_path / "x"), *QUICK, "--files", "npz"])
    assert (tmp_path / "x" / "seed-000000.npz").exists()


def test_a_folder_without_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for main in (generate.main, pack.main):
        with pytest.raises(SystemExit) as stop:
            main([str(tmp_path), "--out", str(tmp_path / "x")])
        assert stop.value.code == 2
        assert "decoder.safetensors is missing; run pipelines.fit first" in capsys.readouterr().err
