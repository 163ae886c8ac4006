"""CLIP by open_clip (arXiv 2103.00020), which the paper uses where text shall steer (Rodin, section
4.4), with weights from a file. Nothing is downloaded and nothing is unpickled.

`clip:MODEL:FILE` names one: `clip:ViT-B-32:/models/vit_b_32.safetensors`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class ClipError(ValueError):
    """CLIP that cannot be used; says what to do."""


def parts(name: str) -> tuple[str, str]:
    """(MODEL, FILE) of `clip:MODEL:FILE`; ClipError for another form."""
    kind, _, rest = name.partition(":")
    model, _, file = rest.partition(":")
    if kind != "clip" or not model or not file:
        raise ClipError(f"{name!r} names no CLIP; use clip:MODEL:FILE, as clip:ViT-B-32:/x.pt")
    return model, file


def open_net(model: str, file: Path | str) -> Any:
    """open_clip's network of a model, with the weights of a file. Raises ClipError."""
    try:
        import open_clip
    except ImportError:
        raise ClipError("CLIP needs the package open_clip_torch; pip install it") from None
    if not Path(file).is_file():
        raise ClipError(
            f"{file}: no such file; download open_clip's weights of {model} and give their path"
        )
    try:
        return open_clip.create_model(model, pretrained=str(file), weights_only=True).eval()
    except Exception as error:  # of open_clip, torch or safetensors, as the file has it
        first = next(iter(f"{error}".strip().splitlines()), type(error).__name__)
        raise ClipError(f"{file} does not fit open_clip's {model} ({first[:200]})") from None


class ClipPortraits:
    """Portrait (B, 3, P, P) RGB in [0, 1] -> (B, D): CLIP's image embedding, each of zero mean and
    unit variance over its D numbers as the trained encoder's latents are.

    Opened at the first portrait: who generates from seeds or texts needs no weights of CLIP. Copies
    share one network, and no state holds it.
    """

    def __init__(self, name: str, size: int) -> None:
        """`size` is that of the latent: what CLIP's embedding must have. ClipError."""
        self.name, self.size = name, size
        self.model, self.file = parts(name)

    def __deepcopy__(self, _: dict[int, Any]) -> ClipPortraits:
        return self

    @cached_property
    def net(self) -> Any:  # open_clip.CLIP
        net = open_net(self.model, self.file).requires_grad_(False)
        found = int(net.visual.output_dim)
        if found != self.size:
            raise ClipError(
                f"{self.model} gives {found} numbers and the latent has {self.size}; set"
                f" unet.latent_dim and encoder.latent_dim to {found}"
            )
        return net

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the weights' file."""
        self.net  # noqa: B018  (the error for a missing file)
        with open(self.file, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

        net = self.net.to(image.device)
        side = net.visual.image_size
        side = side if isinstance(side, int) else side[0]
        image = functional.interpolate(
            image, (side, side), mode="bicubic", antialias=True, align_corners=False
        ).clamp(0, 1)
        mean, std = (
            torch.tensor(numbers, device=image.device)[:, None, None]
            for numbers in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        )
        found = net.encode_image((image - mean) / std).float()
        return functional.layer_norm(found, found.shape[-1:])
