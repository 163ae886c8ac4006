"""`rodin dataset verify`: megabytes a second of one core, by the size of the members.

.venv/bin/python tests/benchmarks/bench_verify.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from infra import manifest, shards
from infra.dataset import open_dataset
from infra.shards import Packed
from infra.storage import FileStore
from infra.verify import verify
from pipelines.dataset import checker
from rodin import record

TOTAL = 96 << 20  # bytes of a set, about
ROUNDS = 5


def views(side: int) -> dict[str, bytes]:
    """32 views of noise: lossless, so about 4 bytes a pixel."""
    rgba = np.random.default_rng(0).integers(0, 256, (32, side, side, 4), np.uint8)
    poses, lenses = np.tile(np.eye(4), (32, 1, 1)), np.tile(np.eye(3), (32, 1, 1))
    return record.encode(record.ViewsSample("k0000", {"a": 1}, poses, lenses, rgba))


def planes(side: int) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (6, 128, 128, 4), np.uint8)
    poses, lenses = np.tile(np.eye(4), (6, 1, 1)), np.tile(np.eye(3), (6, 1, 1))
    array = rng.normal(size=(3, 32, side, side)).astype(np.float16)
    meta = {"decoder": "abc"}
    sample = record.TriplaneSample("k0000", meta, array, rgba[0], rgba, poses, lenses)
    return record.encode(sample)


def rate(folder: str, kind: str, members: dict[str, bytes]) -> tuple[float, int]:
    """(MB a second of processor time, samples): the median of some rounds."""
    store = FileStore(folder)
    count = TOTAL // sum(map(len, members.values())) + 1
    units = shards.plan_units([f"k{i:04d}" for i in range(count)], 64, 0.1)
    for unit in units:
        renamed = (
            Packed(
                key, {**members, "meta.json": members["meta.json"].replace(b"k0000", key.encode())}
            )
            for key in unit.keys
        )
        shards.commit_unit(store, unit, renamed, settings={"a": 1})
    manifest.finalize(store, dataset=kind, units=units, settings={"a": 1})
    data, look, rates = open_dataset(store), checker(kind, False, ""), []
    for _ in range(ROUNDS):
        begin = time.process_time()
        report = verify(data, look)
        rates.append(report.bytes / 1e6 / (time.process_time() - begin))
        assert report.ok, report.problems
    return statistics.median(rates), count


def main() -> None:
    print("| set | members a sample | kB a member | samples | MB/s of a core |")
    print("|---|---|---|---|---|")
    for name, kind, members in (
        ("views of 48 px", "views", views(48)),
        ("views of 128 px", "views", views(128)),
        ("views of 256 px", "views", views(256)),
        ("planes of 128 texels", "triplanes", planes(128)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            speed, count = rate(folder, kind, members)
        size = sum(map(len, members.values())) / len(members) / 1e3
        print(f"| {name} | {len(members)} | {size:.1f} | {count} | {speed:.0f} |")


if __name__ == "__main__":
    main()
