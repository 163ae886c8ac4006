"""What all groups of a spec share: colours, checks, dict round trip, choosing by chances.

Colours are sRGB triples in [0, 1]; `linear` turns them into what shaders want.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Rgb = tuple[float, float, float]
Weights = tuple[tuple[str, float], ...]


def linear(rgb: Rgb) -> Rgb:
    """An sRGB colour as linear light."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return r, g, b


def within(owner: object, low: float, high: float, *names: str) -> None:
    """ValueError unless the named numbers (or triples) of `owner` are finite and in [low, high]."""
    for name in names:
        value = getattr(owner, name)
        for part in value if isinstance(value, tuple) else (value,):
            if not (math.isfinite(part) and low <= part <= high):
                raise ValueError(
                    f"{type(owner).__name__}.{name} is {value}; it must be within {low} to {high}"
                )


def choices(owner: object) -> None:
    """ValueError unless every Literal field of `owner` holds one of its values."""
    for name, hint in typing.get_type_hints(type(owner)).items():
        if typing.get_origin(hint) is Literal and getattr(owner, name) not in typing.get_args(hint):
            raise ValueError(
                f"{type(owner).__name__}.{name} is {getattr(owner, name)!r}; "
                f"use one of {', '.join(typing.get_args(hint))}"
            )


def pick(rng: np.random.Generator, chances: Mapping[Any, float]) -> Any:
    """One of the keys, with chances relative to their sum."""
    names = list(chances)
    p = np.array([chances[n] for n in names], float)
    return names[int(rng.choice(len(names), p=p / p.sum()))]


def rgb_of(values: np.ndarray) -> Rgb:
    """A colour (3,) clipped to [0, 1] and rounded, as plain numbers."""
    r, g, b = (round(float(v), 4) for v in np.clip(values, 0.0, 1.0))
    return r, g, b


def plain(value: Any) -> Any:
    """Tuples to lists, all the way down."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def build(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind` (dataclass, tuple, Literal, str, int or float), checked."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {value!r}; it must be an object with named fields")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(
                f"{where} has no field {unknown[0]!r}; use {', '.join(hints)}, or drop it"
            )
        parts = {k: build(hints[k], v, f"{where}.{k}") for k, v in value.items()}
        return typing.cast(type, kind)(**parts)
    if origin is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} is {value!r}; it must be a list")
        if inner[-1] is Ellipsis:
            return tuple(build(inner[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(inner):
            raise ValueError(f"{where} has {len(value)} items; it must have {len(inner)}")
        return tuple(build(t, v, where) for t, v in zip(inner, value, strict=True))
    if origin is Literal or kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{where} is {value!r}; it must be a string")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where} is {value!r}; it must be a number")
    if kind is int and int(value) != value:
        raise ValueError(f"{where} is {value!r}; it must be a whole number")
    return kind(value)
