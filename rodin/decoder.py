"""The shared decoder G: tri-plane feature to colour and density.

Source: Rodin (arXiv 2212.06135) section 3.1, (c, sigma) = G(y_p, xi(y_p), d): xi is a Fourier
embedding of the sampled *feature* y_p, d the view direction. RodinHD's decoder has 72 k parameters;
this one is smaller, since speed on a CPU is what limits the fitting here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class DecoderError(ValueError):
    """A decoder file or setting that does not fit."""


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of the decoder; what is stored in its file."""

    channels: int = 16  # channels of the planes
    hidden: int = 32  # width of the hidden layers
    layers: int = 2  # hidden layers
    frequencies: int = 0  # octaves of xi, the Fourier embedding of the feature; 0: none
    direction_frequencies: int = 0  # octaves of the view direction; 0: colour ignores it
    activation: Literal["relu", "silu"] = "relu"  # of the hidden layers
    density_scale: float = 40.0  # sigma = scale * softplus(raw), per box unit
    density_bias: float = -4.0  # added to raw: planes of zeros are empty space

    def __post_init__(self) -> None:
        for name, low in (("channels", 1), ("hidden", 1), ("layers", 1), ("frequencies", 0),
                          ("direction_frequencies", 0)):  # fmt: skip
            if getattr(self, name) < low:
                raise DecoderError(f"decoder {name} is {getattr(self, name)}; use at least {low}")
        if self.density_scale <= 0:
            raise DecoderError(f"decoder density_scale is {self.density_scale}; use more than 0")
        if self.activation not in ("relu", "silu"):
            raise DecoderError(f"decoder activation is {self.activation!r}; use 'relu' or 'silu'")


def fourier(values: Tensor, octaves: int) -> Tensor:
    """xi: (..., C) -> (..., C * (1 + 2 * octaves)): the values, then sin and cos of 2^k values."""
    parts = [values]
    for k in range(octaves):
        scaled = values * 2.0**k
        parts += [scaled.sin(), scaled.cos()]
    return torch.cat(parts, dim=-1) if octaves else values


class TriplaneDecoder(nn.Module):
    """G of Rodin section 3.1. Weights come from `generator` (None: a generator seeded with 0).

    `start` (3, C, r, r) is the mean of the planes that the decoder was trained with: where the
    fitting of one more avatar begins. It is empty until `fit_decoder` sets it.
    """

    start: Tensor

    def __init__(
        self, config: DecoderConfig | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or DecoderConfig()
        generator = generator or torch.Generator().manual_seed(0)
        width = config.channels * (1 + 2 * config.frequencies)
        sizes = [width, *[config.hidden] * config.layers]
        with torch.device("cpu"):
            self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
            extra = 6 * config.direction_frequencies + 3 if config.direction_frequencies else 0
            self.density = nn.Linear(config.hidden, 1)
            self.colour = nn.Linear(config.hidden + extra, 3)
        for layer in (*self.hidden, self.density, self.colour):
            assert isinstance(layer, nn.Linear)
            bound = (3.0 / layer.in_features) ** 0.5 * (2.0**0.5 if layer in self.hidden else 1.0)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.zeros_(layer.bias)
        self.register_buffer("start", torch.zeros(3, config.channels, 0, 0))

    def forward(self, features: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """features (..., C), unit directions (..., 3) -> rgb (..., 3) in [0, 1], sigma (...).

        sigma is a density per box unit. directions may be None when the config ignores them.
        Raises DecoderError when C is not the decoder's.
        """
        hidden, sigma = self._trunk(features)
        if self.config.direction_frequencies:
            if directions is None:
                raise DecoderError("this decoder depends on the view: pass directions (..., 3)")
            embedded = fourier(directions.to(hidden.dtype), self.config.direction_frequencies)
            hidden = torch.cat((hidden, embedded), dim=-1)
        return self.colour(hidden).sigmoid(), sigma

    def sigma(self, features: Tensor) -> Tensor:
        """The density alone: features (..., C) -> sigma (...)."""
        return self._trunk(features)[1]

    def _trunk(self, features: Tensor) -> tuple[Tensor, Tensor]:
        if features.shape[-1] != self.config.channels:
            raise DecoderError(
                f"features have {features.shape[-1]} channels and the decoder takes"
                f" {self.config.channels}; use the planes that belong to this decoder"
            )
        relu = self.config.activation == "relu"
        hidden = fourier(features, self.config.frequencies)
        for layer in self.hidden:
            hidden = layer(hidden)
            hidden = hidden.relu_() if relu else functional.silu(hidden)
        raw = self.density(hidden)[..., 0] + self.config.density_bias
        return hidden, self.config.density_scale * functional.softplus(raw)

    def digest(self) -> str:
        """sha256 (hex) of config and weights: what planes name as the decoder they belong to."""
        sha = hashlib.sha256(self._config_json().encode())
        for name, tensor in sorted(self.state_dict().items()):
            sha.update(f"{name} {tuple(tensor.shape)}".encode())
            sha.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write a safetensors file that holds the weights and the config."""
        from safetensors.torch import save

        tensors = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        # By way of bytes: save_file makes files that only their owner can read.
        Path(path).write_bytes(save(tensors, metadata={"decoder": self._config_json()}))

    @classmethod
    def load(cls, path: Path | str) -> TriplaneDecoder:
        """Read a file of `save`. Raises DecoderError when it is no decoder."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = (file.metadata() or {}).get("decoder")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, FileNotFoundError) as error:
            raise DecoderError(f"{path} is no decoder file ({error}); fit one first") from error
        if metadata is None:
            raise DecoderError(
                f"{path} holds no decoder config; write it with TriplaneDecoder.save"
            )
        try:
            decoder = cls(DecoderConfig(**json.loads(metadata)))
            start = tensors.get("start", decoder.start)
            decoder.start = torch.zeros_like(start)
            decoder.load_state_dict(tensors)
        except (TypeError, RuntimeError, json.JSONDecodeError) as error:
            text = str(error).splitlines()[0]
            raise DecoderError(
                f"{path} does not fit this version ({text}); fit it again"
            ) from error
        return decoder

    def _config_json(self) -> str:
        return json.dumps(dataclasses.asdict(self.config), sort_keys=True)
