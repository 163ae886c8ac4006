"""`rodin dataset`: what it prints, what it writes, and one line for each mistake."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.dataset import open_dataset
from infra.storage import FileStore
from pipelines import dataset
from rodin.decoder import DecoderConfig, TriplaneDecoder
from tests.infra import people


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with tri-planes of eight people and their true decoder."""
    root = tmp_path_factory.mktemp("run")
    decoder = TriplaneDecoder(DecoderConfig(channels=4))
    decoder.save(root / "decoder.safetensors")
    store = FileStore(root / "triplanes")
    people.make(
        store,
        people.keys_of(0, 8),
        decoder=(root / "decoder.safetensors").read_bytes(),
        digest=decoder.digest(),
    )
    return root


@pytest.fixture(scope="module")
def planes(run_folder: Path) -> str:
    return str(run_folder / "triplanes")


def test_verify_passes_and_fails(
    planes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.main(["verify", planes, "--decode"])
    out = capsys.readouterr().out
    assert "sound; 8 samples" in out and "MB/s" in out
    shutil.copytree(planes, tmp_path / "copy")
    copy = FileStore(tmp_path / "copy")
    other = TriplaneDecoder(DecoderConfig(channels=4))
    other.density.bias.data += 0.5
    other.save(copy.root / "decoder.safetensors")
    shard = next(key for key in copy.list("train/") if key.endswith(".tar"))
    data = bytearray(copy.read(shard))
    data[700] ^= 1
    copy.write(shard, bytes(data))
    with pytest.raises(SystemExit) as caught:
        dataset.main(["verify", str(copy.root)])
    out = capsys.readouterr().out
    assert caught.value.code == 1
    assert f"damaged: {shard}" in out and "damaged: decoder.safetensors: is decoder" in out


def test_samples_that_break_the_schema_are_named(planes: str) -> None:
    data = open_dataset(FileStore(planes))
    key = data.keys()[0]
    members = data.read(key)
    decoder = data.info["lineage"]["decoder"]
    look = dataset.checker("triplanes", True, decoder)
    look(key, members)
    for name, change, words in (
        ("meta.json", b"{", "is not JSON"),
        ("meta.json", members["meta.json"].replace(decoder.encode(), b"zz"), "decoder is zz"),
        ("meta.json", members["meta.json"].replace(b'"schema_version":1', b'"schema_version":9'),
         "schema_version is 9"),
        ("view000.webp", b"RIFF", "no WebP"),
        ("triplane.npy", b"x" * 99, "no npy"),
        ("triplane.npy", members["triplane.npy"][:-2], "needs"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            look(key, {**members, name: change})
    with pytest.raises(ValueError, match="key is"):
        look("somebody", members)


def test_looking_around(planes: str, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.main(["ls", planes])
    out = capsys.readouterr().out
    assert "triplanes, 8 samples" in out and "train/000000-" in out
    dataset.main(["head", planes, "--count", "2"])
    out = capsys.readouterr().out
    assert out.count("attr_age = ") == 2 and "triplane.npy: " in out
    dataset.main(["card", planes])
    assert capsys.readouterr().out.startswith("# Rodin triplanes")


def test_choose_grow_and_join(
    planes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, some = tmp_path / "grown", tmp_path / "some"
    shutil.copytree(planes, old)
    dataset.main(["filter", planes, "age>23 and glasses!=none"])
    assert "1 of 8 samples" in capsys.readouterr().out
    dataset.main(["filter", planes, "age>23", "--out", str(some)])
    assert len(open_dataset(FileStore(some))) == 4
    dataset.main(["verify", str(some)])
    more = FileStore(tmp_path / "more")
    digest = open_dataset(FileStore(planes)).info["lineage"]["decoder"]
    weights = FileStore(planes).read("decoder.safetensors")
    people.make(more, people.keys_of(1000, 3), decoder=weights, digest=digest)
    dataset.main(["extend", str(old), str(more.root)])
    assert "new shards" in capsys.readouterr().out
    dataset.main(["extend", str(old), str(more.root)])
    assert "nothing to do" in capsys.readouterr().out
    dataset.main(["merge", str(some), str(more.root), "--out", str(tmp_path / "all")])
    assert len(open_dataset(FileStore(tmp_path / "all"))) == 7
    dataset.main(["verify", str(tmp_path / "all")])


def test_mistakes_are_one_line(
    run_folder: Path, planes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, text in (
        (["ls", str(tmp_path)], "no dataset at"),
        (["ls", str(run_folder)], f"name one of its data sets: {run_folder}/triplanes"),
        (["ls", "gs://x"], "unknown scheme 'gs'"),
        (["ls"], "DATASET"),
        (["list", planes], "list"),
        (["head", planes, "--count", "0"], "--count is 0"),
        (["filter", planes, "aeg>4"], "did you mean age?"),
        (["filter", planes, "age>400", "--out", str(tmp_path / "x")], "no sample of"),
        (["merge", planes, "--out", str(tmp_path / "x")], "two data sets or more"),
        (["merge", planes, planes, "--out", str(tmp_path / "x")], "keys are in two"),
        (["extend", planes], "one or more to add"),
    ):
        with pytest.raises(SystemExit) as caught:
            dataset.main(words)
        assert caught.value.code == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and text in error, error


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dataset.main(["filter", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "years>40 and glasses!=none" in text and "EXPRESSION" in text
