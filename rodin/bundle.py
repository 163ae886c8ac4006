"""All that makes avatars, in one folder that can be copied: weights, settings, statistics.

A run of the stages is large and grows; a bundle is what is left when only generating matters. It
holds `bundle.json` (settings, facts, the files' digests) and safetensors files in half or single
precision. Nothing in it is ever unpickled.

Legend: N people the models were trained on, D latent.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rodin.decoder import TriplaneDecoder
from rodin.diffusion.base import BaseSettings, BaseSystem
from rodin.diffusion.upsampler import UpsamplerSettings, UpsamplerSystem
from rodin.prior import LatentPrior, PriorSettings
from rodin.refiner import RefinerSettings, RefinerSystem

BUNDLE_VERSION = 1
_MAX_JSON = 1 << 20  # bytes of bundle.json that are read
_SETTINGS: dict[str, type] = {
    "base": BaseSettings,
    "upsampler": UpsamplerSettings,
    "refiner": RefinerSettings,
    "prior": PriorSettings,
}


class BundleError(ValueError):
    """A folder that holds no usable bundle; says what to do."""


@dataclass(frozen=True)
class Bundle:
    """The parts of a generator."""

    decoder: TriplaneDecoder
    base: BaseSystem
    latents: Tensor  # (N, D) of the training portraits: where people are, without a prior
    upsampler: UpsamplerSystem | None = None
    refiner: RefinerSystem | None = None
    prior: LatentPrior | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # plain JSON: data, metrics, text encoder

    @property
    def systems(self) -> dict[str, nn.Module]:
        """The trained parts by name, those that are there."""
        found = {name: getattr(self, name) for name in _SETTINGS}
        return {name: system for name, system in found.items() if system is not None}

    def save(self, folder: Path | str, *, half: bool = True) -> Path:
        """Writes the folder, bundle.json last; `half` keeps weights in float16 (the decoder not).

        Raises BundleError for weights that float16 cannot hold.
        """
        from safetensors.torch import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.decoder.save(folder / "decoder.safetensors")
        parts: dict[str, Any] = {"decoder": {}, "latents": {}}
        tensors = {name: system.state_dict() for name, system in self.systems.items()}
        tensors["latents"] = {"latents": self.latents}
        for name, state in tensors.items():
            kept = {k: _stored(name, k, v, half) for k, v in state.items()}
            (folder / f"{name}.safetensors").write_bytes(save(kept))
            if name in _SETTINGS:
                parts[name] = {"settings": dataclasses.asdict(getattr(self, name).settings)}
        for name in parts:
            data = (folder / f"{name}.safetensors").read_bytes()
            parts[name] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        text = {"version": BUNDLE_VERSION, "parts": parts, "facts": self.facts}
        (folder / "bundle.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")
        return folder

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Bundle:
        """Reads what `save` wrote, in float32 on `device`; BundleError when it cannot be used."""
        folder = Path(folder)
        meta = _read_meta(folder)
        for name, part in meta["parts"].items():
            _check_file(folder, str(name), part)
        decoder = TriplaneDecoder.load(folder / "decoder.safetensors").to(device).eval()
        mean, std = (torch.full((decoder.config.channels,), x) for x in (0.0, 1.0))
        systems: dict[str, Any] = {}
        for name, kind in _SETTINGS.items():
            if name not in meta["parts"]:
                continue
            settings = read_settings(
                f"{folder}/bundle.json: {name}", kind, meta["parts"][name].get("settings")
            )
            if name == "base":
                system: nn.Module = BaseSystem(settings, mean, std)
            elif name == "upsampler":
                system = UpsamplerSystem(settings, mean, std, decoder)
            elif name == "refiner":
                system = RefinerSystem(settings, decoder)
            else:
                empty = torch.zeros(settings.latent_dim)
                system = LatentPrior(settings, empty, empty + 1)
            try:
                system.load_state_dict({k: v.float() for k, v in _tensors(folder, name).items()})
            except RuntimeError as error:
                text = str(error).strip().splitlines()[-1].strip()
                raise BundleError(
                    f"{folder}/{name}.safetensors does not fit its settings ({text}); pack the run"
                    " again"
                ) from None
            systems[name] = system.to(device).eval()
        if "base" not in systems:
            raise BundleError(f"{folder} has no base model; pack a run that was trained")
        latents = _tensors(folder, "latents").get("latents")
        if latents is None or latents.ndim != 2:
            raise BundleError(f"{folder}/latents.safetensors holds no (N, D); pack the run again")
        return cls(decoder=decoder, latents=latents.float(), facts=meta["facts"], **systems)


def _stored(part: str, name: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not half or value.dtype != torch.float32:
        return value
    small = value.half()
    if not bool(small.isfinite().all()):
        raise BundleError(f"{part}: {name} has values past float16's 65504; save with half=False")
    return small


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no bundle.json; make one with rodin pack")
    if path.stat().st_size > _MAX_JSON:
        raise BundleError(f"{path} has {path.stat().st_size} bytes, past {_MAX_JSON}: no bundle")
    try:
        meta = json.loads(path.read_text())
        version, parts, facts = meta["version"], meta["parts"], meta["facts"]
        known = {"decoder", "latents", *_SETTINGS}
        sound = isinstance(parts, dict) and isinstance(facts, dict) and set(parts) <= known
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BundleError(f"{path} is damaged; copy the bundle again") from None
    if version != BUNDLE_VERSION:
        raise BundleError(
            f"{path} has version {str(version)[:20]!r}, this code reads {BUNDLE_VERSION}; use the"
            " release that wrote it, or pack the run again"
        )
    if not sound or not {"decoder", "latents"} <= set(parts):
        raise BundleError(f"{path} lists parts that no bundle has; copy it again")
    return meta


def _check_file(folder: Path, name: str, part: Any) -> None:
    path = folder / f"{name}.safetensors"
    if not isinstance(part, dict) or not path.is_file():
        raise BundleError(f"{path} is missing; copy the bundle again")
    if path.stat().st_size != part.get("bytes"):
        raise BundleError(
            f"{path} has {path.stat().st_size} bytes, bundle.json says {part.get('bytes')}; copy it"
            " again"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != part.get("sha256"):
        raise BundleError(f"{path} is damaged (its sha256 differs); copy the bundle again")


def read_settings(place: str, kind: Any, values: Any) -> Any:
    """A settings dataclass out of plain JSON; its own checks apply. BundleError names `place`."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(
            f"{place}.{where}: {first['msg']}; use the release that wrote it"
        ) from None


def _tensors(folder: Path, name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / f"{name}.safetensors")
    except SafetensorError as error:
        raise BundleError(f"{folder}/{name}.safetensors is damaged ({error})") from None
