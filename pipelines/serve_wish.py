"""What a request may ask of `rodin serve`: its limits, and the wish that a request holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rodin.portrait import PortraitError, prepare_portrait

MEDIA = {"png": "image/png", "glb": "model/gltf-binary", "npz": "application/octet-stream"}
_SIZES = {"png": (32, 256, "px"), "glb": (32, 192, "voxels"), "npz": (32, 256, "px")}
_WORDS = ("seed", "text", "format", "size", "steps", "guidance", "text_guidance")


class Refusal(ValueError):
    """A request that is not followed: an HTTP status, and a text with value, limit and fix."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - a config file's misspelt knob

    # steps of each diffusion: 10 are enough, 50 take five times as long
    max_steps: int = 50
    # px, side of a view of the sheet
    max_size: int = 512
    # voxels a side of a mesh's grid
    max_voxels: int = 256
    # MB of an uploaded portrait
    max_upload: float = 10.0
    # characters of a description
    max_text: int = 300

    @property
    def upload_bytes(self) -> int:
        return int(self.max_upload * 1e6)


@dataclass(frozen=True, eq=False)
class Wish:
    """One avatar in one form."""

    seed: int = 0
    text: str = ""  # description; empty: none
    format: str = "png"
    size: int = 256  # px of a view, voxels of a mesh
    steps: int | None = None  # the model's own
    guidance: float = 1.0
    text_guidance: float = 1.25
    portrait: np.ndarray | None = None  # (S, S, 4) uint8, cut out


def wish_of(query: Mapping[str, str], portrait: bytes, limits: Limits) -> Wish:
    """The wish of a query string and a body (empty, or a portrait's file). Raises Refusal."""
    for name in query:
        if name not in _WORDS:
            raise Refusal(400, f"unknown parameter {name[:40]!r}; use {', '.join(_WORDS)}")
    form, text = query.get("format", "png"), query.get("text", "").strip()
    if form not in MEDIA:
        raise Refusal(400, f"format is {form[:40]!r}; use {', '.join(MEDIA)}")
    if len(text) > limits.max_text:
        raise Refusal(
            400, f"text has {len(text)} characters; use at most {limits.max_text}: shorten it"
        )
    if text and portrait:
        raise Refusal(400, "a text and a portrait exclude each other; send one of them")
    low, usual, unit = _SIZES[form]
    high = limits.max_voxels if unit == "voxels" else limits.max_size
    return Wish(
        seed=int(_number(query, "seed", 0, 0, 2**63 - 1, int)),
        text=text,
        format=form,
        size=int(_number(query, "size", min(usual, high), low, high, int, f" {unit}")),
        steps=int(_number(query, "steps", 0, 1, limits.max_steps, int)) or None,
        guidance=_number(query, "guidance", 1.0, 0, 20, float),
        text_guidance=_number(query, "text_guidance", 1.25, 0, 20, float),
        portrait=_portrait(portrait) if portrait else None,
    )


def check_length(size: int, limits: Limits) -> None:
    """Raises Refusal for a body of more bytes than a portrait may have."""
    if size > limits.upload_bytes:
        raise Refusal(
            413,
            f"the upload has {size / 1e6:.1f} MB or more; use at most {limits.max_upload:g}:"
            " make the picture smaller",
        )


def _number(
    query: Mapping[str, str], name: str, usual: float, low: float, high: float, kind: Any,
    unit: str = "",
) -> float:  # fmt: skip
    said = query.get(name, "")
    if name not in query:
        return usual
    try:
        # Longer numbers are out of range, and slow to read.
        value = kind(said) if len(said) <= 32 else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        sort = "whole number" if kind is int else "number"
        raise Refusal(400, f"{name} is {said[:40]!r}; use a {sort} from {low} to {high}{unit}")
    return value


def _portrait(data: bytes) -> np.ndarray:
    try:
        square = prepare_portrait(data)
    except PortraitError as error:
        raise Refusal(422, str(error)) from None
    return (square.permute(1, 2, 0) * 255).round().byte().numpy()
