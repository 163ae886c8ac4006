"""Small tri-plane and view samples of nobody, and data sets of them, for the tests of infra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from infra import manifest, shards
from infra.shards import Failure, Packed
from infra.storage import Store
from rodin import record

SETTINGS = {"size": 8, "seed": 0}
DECODER = b"weights"


def keys_of(first: int, count: int) -> list[str]:
    return [f"avatar_{index:06d}" for index in range(first, first + count)]


def planes_of(key: str) -> np.ndarray:
    seed = int(key[-3:])
    return np.random.default_rng(seed).normal(seed % 9, 2.0, (3, 4, 8, 8)).astype(np.float16)


def triplane_members(key: str, decoder: str = "abc") -> dict[str, bytes]:
    rgba = np.full((2, 6, 6, 4), 255, np.uint8)
    rgba[..., 0] = int(key[-3:]) % 256
    poses, lenses = np.tile(np.eye(4), (2, 1, 1)), np.tile(np.eye(3), (2, 1, 1))
    meta = {"psnr": 27.0, "decoder": decoder}
    sample = record.TriplaneSample(key, meta, planes_of(key), rgba[0], rgba, poses, lenses)
    return record.encode(sample)


def samples(
    keys: Sequence[str], poison: Sequence[str] = (), decoder: str = "abc"
) -> Iterator[Packed | Failure]:
    """Ages 20 + number; every third wears round glasses; PSNR 20 + number / 10."""
    for key in keys:
        if key in poison:
            yield Failure(key, "no hair", "BuildError")
            continue
        number = int(key[-3:])
        glasses = "round" if number % 3 == 0 else "none"
        attributes = {"age": 20 + number, "glasses": glasses, "beard": number % 2 == 0}
        if number % 5 == 0:
            attributes["hat"] = "cap"
        stats = shards.channel_stats(planes_of(key))
        members = triplane_members(key, decoder)
        yield Packed(key, members, {"psnr": 20 + number / 10}, attributes, stats)


def make(
    store: Store,
    keys: Sequence[str],
    *,
    shard_size: int = 4,
    poison: Sequence[str] = (),
    settings: dict[str, Any] = SETTINGS,
    val_fraction: float = 0.25,
    decoder: bytes = DECODER,
    digest: str = "abc",
) -> dict[str, Any]:
    """A finished data set of tri-planes; returns its dataset.json."""
    units = shards.plan_units(keys, shard_size, val_fraction)
    for unit in units:
        shards.commit_unit(store, unit, samples(unit.keys, poison, digest), settings=settings)
    store.write("decoder.safetensors", decoder)
    store.write("contact.png", b"picture")
    return manifest.finalize(
        store,
        dataset="triplanes",
        units=units,
        settings=settings,
        lineage={"val_fraction": val_fraction, "decoder": digest, "views": keys[0]},
        files=["decoder.safetensors"],
        contact_sheet="contact.png",
    )


def flip(store: Store, key: str, at: int) -> None:
    data = bytearray(store.read(key))
    data[at] ^= 1
    store.write(key, bytes(data))


def tar_of(store: Store) -> str:
    return next(key for key in store.list("train/") if key.endswith(".tar"))
