"""A checkpoint is whole or not there; damage falls back; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from infra.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from infra.storage import FileStore


def state_of(samples: int) -> dict:
    generator = torch.Generator().manual_seed(samples)
    return {
        "model": {"weight": torch.randn(4, 3, generator=generator)},
        "optimizer": {"state": {0: {"step": torch.tensor(2.0)}}, "groups": [{"lr": 1e-3}]},
        "rng": generator.get_state(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "python": (samples, None, True, "x", b"bytes", [1, 2]),
    }


def save(store, samples: int, **kwargs) -> str:
    return save_checkpoint(store, state_of(samples), {"samples": samples, "loss": 0.5}, **kwargs)


def damage(store: FileStore, name: str) -> None:
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    store.write(name, bytes(data))


def test_round_trip(any_store) -> None:
    assert load_checkpoint(any_store) is None
    for samples in (8, 16, 24):
        save(any_store, samples)
    state, meta = load_checkpoint(any_store)
    assert meta == {"samples": 24, "loss": 0.5}
    torch.testing.assert_close(state["model"]["weight"], state_of(24)["model"]["weight"])
    assert torch.equal(state["rng"], state_of(24)["rng"])
    assert state["python"] == state_of(24)["python"] and state["half"].dtype == torch.bfloat16
    assert state["optimizer"]["state"][0]["step"] == 2.0
    assert [key[:12] for key in any_store.list() if key.endswith(".pt")] == [
        "000000000016", "000000000024",
    ]  # fmt: skip


def test_the_same_state_has_the_same_name(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert save(store, 8) == save(store, 8)
    assert len(list(store.list())) == 2


def test_damage_falls_back_and_says_so(tmp_path: Path, capsys) -> None:
    store = FileStore(tmp_path)
    names = [save(store, samples) for samples in (8, 16)]
    damage(store, names[1])
    assert load_checkpoint(store)[1]["samples"] == 8
    assert names[1] in (text := capsys.readouterr().err) and "damaged" in text
    store.delete(names[1])
    assert load_checkpoint(store)[1]["samples"] == 8
    damage(store, names[0])
    with pytest.raises(CheckpointError, match="delete this folder to start the training over"):
        load_checkpoint(store)


def test_a_save_that_was_cut_off_changes_nothing(tmp_path: Path) -> None:
    class Dies(FileStore):
        def write(self, key: str, data: bytes) -> None:
            raise KeyboardInterrupt

    store = FileStore(tmp_path)
    save(store, 8)
    with pytest.raises(KeyboardInterrupt):
        save(Dies(tmp_path), 16)
    assert load_checkpoint(store)[1]["samples"] == 8
    save(store, 24)
    assert load_checkpoint(store)[1]["samples"] == 24
    assert len([key for key in store.list() if key.endswith(".pt")]) == 2


def test_a_damaged_list_is_worked_around(tmp_path: Path, capsys) -> None:
    store = FileStore(tmp_path)
    for samples in (8, 16):
        save(store, samples)
    store.write("latest.json", b"{")
    assert load_checkpoint(store)[1]["samples"] == 16
    assert "latest.json: damaged" in capsys.readouterr().err


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    store = FileStore(tmp_path / "store")
    name = save(store, 8)
    torch.save({"state": Evil(), "meta": {}}, tmp_path / "evil.pt")
    for data in ((tmp_path / "evil.pt").read_bytes(), pickle.dumps(Evil()), b"no checkpoint"):
        evil = f"000000000099-{hashlib.sha256(data).hexdigest()[:16]}.pt"
        store.write(evil, data)
        store.write("latest.json", json.dumps({"entries": [{"name": evil}]}).encode())
        assert load_checkpoint(store)[1]["samples"] == 8
    assert name in list(store.list())
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("state", "meta", "words"),
    [
        ({"a": {"b": np.ones(2)}}, {"samples": 1}, r"state\['a'\]\['b'\] is a ndarray"),
        ({"a": [object()]}, {"samples": 1}, r"state\['a'\]\[0\] is a object"),
        ({("t",): 1}, {"samples": 1}, "str or int keys"),
        ({}, {}, "pass the samples seen"),
        ({}, {"samples": -1}, "pass the samples seen"),
        ({}, {"samples": 1, "x": float("inf")}, "plain JSON"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, state, meta, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        save_checkpoint(FileStore(tmp_path), state, meta)
    assert list(tmp_path.iterdir()) == []
