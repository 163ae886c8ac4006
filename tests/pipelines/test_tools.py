"""`rodin fit-one` and `rodin export`, from the command line to the files; and their refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from pipelines import export, fit_one
from rodin import cameras
from rodin.decoder import DecoderConfig, TriplaneDecoder
from rodin.plane_file import PlaneFile, PlaneFileError
from tests.rodin import scenes

SIZE = 40
FAST = [
    "--engine.resolution", "32", "--engine.base-resolution", "16", "--engine.held-out", "2",
    "--engine.steps", "30", "--engine.decoder-steps", "60", "--engine.rays-per-step", "512",
    "--engine.occupancy-size", "32", "--engine.render-samples", "48",
    "--mesh-size", "48", "--frames", "3",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analytic head as a folder of posed images."""
    path = tmp_path_factory.mktemp("head")
    views = scenes.views(seed=5, count=10, size=SIZE, samples=2)
    frames = []
    for i in range(len(views)):
        Image.fromarray(views.rgba[i]).save(path / f"{i}.png")
        matrix = views.camera_to_world[i] * np.array([1, -1, -1, 1])
        frames.append({"file_path": f"{i}.png", "transform_matrix": matrix.tolist()})
    angle = float(2 * np.arctan(SIZE / 2 / cameras.intrinsics_from_fov(SIZE, SIZE)[0, 0]))
    content = {"camera_angle_x": angle, "frames": frames}
    (path / "transforms.json").write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def fitted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "one"
    fit_one.main([str(folder), "--train-decoder", "--out", str(out), *FAST])
    return out


def test_fit_one_leaves_all_files(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = json.loads((fitted / "metrics.json").read_text())
    assert numbers["metrics"]["psnr"] > 15
    assert numbers["placement"]["scale"] == pytest.approx(0.98, abs=0.01)
    assert "up is y" in numbers["how placed"]
    decoder = TriplaneDecoder.load(fitted / "decoder.safetensors")
    file = PlaneFile.load(fitted / "triplane.npz")
    file.check(decoder)
    assert file.planes.shape == (3, 16, 32, 32) and file.planes.dtype == np.float16
    assert file.facts["metrics"] == numbers["metrics"]
    for name in ("mesh.glb", "mesh.ply"):
        shape = trimesh.load(fitted / name, force="mesh", process=False)
        assert shape.is_watertight and 0.1 < shape.extents.max() < 0.51  # metres
    with Image.open(fitted / "turntable.webp") as film:
        assert film.n_frames == 3 and film.size == (SIZE, SIZE)
    with Image.open(fitted / "sheet.png") as sheet:
        assert sheet.width == 2 * 3 * 256  # two held-out views: truth, fit, error


def test_fit_one_with_a_given_decoder(
    folder: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(folder), "--decoder", str(fitted), "--out", str(tmp_path / "two"), *FAST]
    words += ["--scale", "auto"]
    fit_one.main(words)
    first, second = (
        json.loads((path / "metrics.json").read_text()) for path in (fitted, tmp_path / "two")
    )
    assert first["decoder"] == second["decoder"]
    assert second["metrics"]["psnr"] > 15 and "psnr_base" in second["metrics"]
    assert "10 views of 40 x 40 px; up is y" in capsys.readouterr().out


def mistake(main, words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and text in error, error


def test_fit_one_refusals(
    folder: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = ["--decoder", str(fitted)]
    out = ["--out", str(tmp_path / "none")]
    for words, text in (
        ([str(folder)], "either --decoder"),
        ([str(tmp_path), *decoder], "transforms.json does not exist"),
        ([str(folder), "--decoder", str(tmp_path)], "holds no decoder.safetensors"),
        ([str(folder), *decoder, "--engine.decoder.channels", "8"], "16 channels"),
        ([str(folder), *decoder, "--convention", "opencv"], "look away"),
        ([str(folder), *decoder, "--scale", "0"], "scale is 0"),
        ([str(folder), *decoder, "--engine.held-out", "7"], "fewer than 4"),
        ([str(folder), *decoder, "--engine.stepz", "7"], "stepz"),
    ):
        mistake(fit_one.main, [*words, *out], text, capsys)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["a.glb", "a.ply", "a.webp", "a.mp4", "a.png"])
def test_export_writes_what_the_suffix_says(fitted: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    words = [str(fitted / "triplane.npz"), "--out", str(out), "--size", "48", "--count", "2"]
    export.main([*words, "--samples", "32"])
    assert out.stat().st_size > 500
    if name == "a.png":
        assert Image.open(out).size == (96, 48)


def test_export_refusals(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    npz = str(fitted / "triplane.npz")
    other, wide = tmp_path / "other.safetensors", tmp_path / "wide.safetensors"
    TriplaneDecoder(DecoderConfig(channels=16)).save(other)
    TriplaneDecoder(DecoderConfig(channels=32)).save(wide)
    out = ["--out", str(tmp_path / "x.glb")]
    for words, text in (
        ([npz, "--out", "x.obj"], ".glb"),
        ([npz, *out, "--decoder", str(other)], "belong to decoder"),
        ([npz, *out, "--decoder", str(wide)], "takes 32"),
        ([npz, *out, "--sigma", "1e9"], "pass a lower sigma"),
        ([npz, *out, "--size", "-1"], "--size is -1"),
        ([str(tmp_path / "no.npz"), *out], "does not exist"),
        ([str(tmp_path), *out], "no dataset at"),
    ):
        mistake(export.main, words, text, capsys)


def test_plane_files_keep_what_they_hold(tmp_path: Path) -> None:
    planes = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)).numpy()
    PlaneFile(planes, "abc", {"seed": 0}).save(tmp_path / "a.npz")
    found = PlaneFile.load(tmp_path / "a.npz")
    assert np.array_equal(found.planes, planes.astype(np.float16))
    assert found.decoder == "abc" and found.facts == {"seed": 0}
    with pytest.raises(PlaneFileError, match="float16 cannot"):
        PlaneFile(planes * 1e9, "abc").save(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"damaged")
    with pytest.raises(PlaneFileError, match="is no tri-plane file"):
        PlaneFile.load(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", planes=planes, decoder="x", facts="{}")
    with pytest.raises(PlaneFileError, match=r"float32 \(3, 2, 4, 4\)"):
        PlaneFile.load(tmp_path / "d.npz")
