"""CLIP by open_clip: a real network of its code, small and untrained, with weights from a file."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rodin import text as texts
from rodin.clip import ClipError, ClipPortraits
from rodin.nn.encoder import EncoderSettings
from tests.rodin import systems

SIZE = 16
MODEL = "rodin-test-clip"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a CLIP with embeddings of 16 numbers."""
    import open_clip

    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": SIZE,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1,
        },
    }  # fmt: skip
    (folder / f"{MODEL}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{MODEL}.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model(MODEL).state_dict(), folder / "clip.safetensors")
    return str(folder / "clip.safetensors")


def test_texts_are_read_by_clip(weights: str) -> None:
    encoder = texts.open_encoder(f"clip:{MODEL}:{weights}")
    said = encoder(["a bald man", "a woman  with\na hat", "a woman with a hat"])
    assert said.shape == (3, SIZE) and encoder.dim == SIZE and encoder.name == f"clip:{MODEL}"
    torch.testing.assert_close(said.norm(dim=1), torch.ones(3))
    assert torch.equal(said[1], said[2]) and not torch.allclose(said[0], said[1])


def test_portraits_are_read_by_clip_in_the_base(weights: str) -> None:
    """Frozen, shared by copies, in no state; what trains is the rest."""
    encoder = EncoderSettings(latent_dim=SIZE, frozen=f"clip:{MODEL}:{weights}")
    base = systems.base_system(dataclasses.replace(systems.BASE, encoder=encoder))
    batch = systems.make_batch()
    latents = base.encode(batch["portrait"])
    assert latents.shape == (2, SIZE) and not torch.allclose(*latents)
    torch.testing.assert_close(latents.mean(1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.var(1, correction=0), torch.ones(2), atol=1e-3, rtol=0)
    assert not [name for name in base.state_dict() if name.startswith("encoder")]
    assert base.encoder.clip is not None
    assert copy.deepcopy(base).encoder.clip is base.encoder.clip
    base.loss(batch, systems.generator())["loss"].backward()
    assert any(p.grad is not None and p.grad.any() for p in base.unet.parameters())
    assert all(p.grad is None for p in base.encoder.clip.net.parameters())
    assert len(base.encoder.clip.digest) == 64
    wide = ClipPortraits(f"clip:{MODEL}:{weights}", 512)
    with pytest.raises(ClipError, match="gives 16 numbers and the latent has 512; set"):
        wide(torch.zeros(1, 3, 8, 8))


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return eval, (f"open({str(self.path)!r}, 'w').write('pwned')",)


def test_files_that_are_no_weights(weights: str, tmp_path: Path) -> None:
    with pytest.raises(texts.TextError, match=r"nowhere\.pt: no such file; download"):
        texts.open_encoder(f"clip:{MODEL}:/nowhere.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Evil(tmp_path / "pwned")}))
    torch.save({"x": Evil(tmp_path / "pwned")}, tmp_path / "evil2.pt")
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("evil.pt", "evil2.pt", "other.safetensors"):
        with pytest.raises(texts.TextError, match=f"{name} does not fit open_clip's {MODEL}"):
            texts.open_encoder(f"clip:{MODEL}:{tmp_path / name}")
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(ClipError, match="names no CLIP; use clip:MODEL:FILE"):
        EncoderSettings(frozen="dino:x")
    # Nothing is opened before it is needed: a bundle on another machine still makes seeds.
    ClipPortraits(f"clip:{MODEL}:/nowhere.pt", 16)
