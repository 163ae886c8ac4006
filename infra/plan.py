"""Which keys form which shard: arithmetic on the plan, never time, uuid, attempt or rank."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = ("train", "val")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True)
class Unit:
    """The unit of work: the keys of one shard, in the order they are packed."""

    split: str  # "train" or "val"
    index: int  # 0-based number of the shard within its split
    keys: tuple[str, ...]  # sorted

    @property
    def id(self) -> str:
        """`train/000003`: what names of the shard and its sidecar begin with."""
        return f"{self.split}/{self.index:06d}"

    @property
    def sidecar(self) -> str:
        return f"{self.id}.json"


def check_sample_key(key: str) -> str:
    """The key itself when it is 1-80 letters, digits, `_` or `-`. Raises ValueError otherwise."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"bad sample key {str(key)[:100]!r}; use 1-80 letters, digits, _ or -")
    return key


def split_of(key: str, val_fraction: float) -> str:
    """The split of a key by its hash alone, so that a growing set never moves a sample.

    `val_fraction` in [0, 1] is the expected part of the keys that become "val".
    """
    if not 0.0 <= val_fraction <= 1.0:
        raise ValueError(f"val_fraction {val_fraction} is outside [0, 1]")
    digest = hashlib.sha256(f"rodin split {key}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < val_fraction * 2**64 else "train"


def plan_units(keys: Iterable[str], shard_size: int, val_fraction: float) -> list[Unit]:
    """Cut each split into units of `shard_size` keys in the order given.

    Keys added at the end change only the last unit of each split and add new ones.
    Raises ValueError for a bad or repeated key and a shard size under 1.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size {shard_size} is under 1")
    seen: set[str] = set()
    parts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for key in keys:
        if check_sample_key(key) in seen:
            raise ValueError(f"sample key {key!r} appears twice; keys must be unique")
        seen.add(key)
        parts[split_of(key, val_fraction)].append(key)
    return [
        Unit(split, start // shard_size, tuple(sorted(own[start : start + shard_size])))
        for split, own in parts.items()
        for start in range(0, len(own), shard_size)
    ]
