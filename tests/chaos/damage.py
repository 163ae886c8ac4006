"""Damage that is not a kill: a full disk, a flipped byte. The same command must mend both."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from infra.manifest import DatasetError, open_dataset
from infra.storage import FileStore, Store, open_store
from infra.verify import verify
from tests.chaos.chains import Chain, compare, copy, log_tail, prepare
from tests.chaos.episode import LAUNCHES, Drivers, Outcome
from tests.chaos.services import BUCKET, World
from tests.infra.people import flip

PAGE = 4096  # bytes: a file on tmpfs takes whole ones


def full_disk(world: World, chain: Chain, chains: dict[str, Chain], seed: str) -> Outcome | None:
    """A run onto a disk that is too small, and once more after space was made.

    None where a small disk cannot be had: mounting one takes root.
    """
    rng, begin = random.Random(seed), time.perf_counter()
    outcome = Outcome(chain.name, int(seed.rpartition("/")[2]))
    disk = world.folder / f"disk-{chain.name}-{outcome.number}"
    disk.mkdir()
    reference = FileStore(world.bucket / chain.reference.rpartition("/")[2])
    need = sum(-(-reference.size(key) // PAGE) * PAGE for key in reference.list())
    if not mounted(disk, int(rng.uniform(0.2, 0.9) * need)):
        return None
    try:
        prepare(chain, chains, str(disk))
        drivers = Drivers(world, chain, str(disk))
        drivers.start()
        outcome.codes += drivers.wait()
        outcome.struck.append(("disk full", "disk"))
        if outcome.codes[0] == 0 or "space" not in log_tail(drivers.log, 500):
            outcome.verdict.differ(f"a full disk was not told of:\n{log_tail(drivers.log)}")
            return outcome
        run("mount", "-o", f"remount,size={4 * need + (8 << 20)}", str(disk))
        drivers.start()
        outcome.codes += drivers.wait()
        if outcome.codes[-1]:
            outcome.verdict.differ(f"no exit 0 with room:\n{log_tail(drivers.log)}")
        else:
            outcome.verdict = compare(chain, world, str(disk))
    finally:
        run("umount", "-l", str(disk))
        outcome.seconds = time.perf_counter() - begin
    return outcome


def mounted(folder: Path, size: int) -> bool:
    if os.geteuid() != 0:
        return False
    return run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))


def run(*words: str) -> bool:
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def flipped_byte(world: World, chain: Chain, chains: dict[str, Chain], seed: str) -> Outcome:
    """A finished run in which one byte of a shard changes: found, refused, made again."""
    rng, begin = random.Random(seed), time.perf_counter()
    outcome = Outcome(chain.name, int(seed.rpartition("/")[2]))
    out = f"s3://{BUCKET}/{chain.name}-flip-{outcome.number}"
    prepare(chain, chains, out)
    store = open_store(out).child(chain.part)
    copy(open_store(chain.reference).child(chain.part), store)
    name = rng.choice([key for key in store.list() if key.endswith(".tar")])
    at = rng.randrange(store.size(name))
    flip(store, name, at)
    outcome.struck.append(("flipped byte", f"{name} at {at}"))
    found = verify(open_dataset(store)).problems
    refused = refusals(store)
    inside = [key for key, start, end in spans(store, name) if start <= at < end]
    if not any(name in text for text in found):
        outcome.verdict.differ(f"verify does not name {name}: {found[:2]}")
    if refused != inside:
        outcome.verdict.differ(f"readers refuse {refused}, damaged is {inside}")
    if outcome.good:
        store.delete(f"{name.rpartition('-')[0]}.json")  # as the error's text says
        drivers = Drivers(world, chain, out)
        while len(outcome.codes) < LAUNCHES and 0 not in outcome.codes:
            drivers.start()
            outcome.codes += drivers.wait()
        outcome.verdict = compare(chain, world, out)
        if verify(open_dataset(store)).problems:
            outcome.verdict.differ("verify still finds damage")
    outcome.seconds = time.perf_counter() - begin
    return outcome


def spans(store: Store, shard: str) -> list[tuple[str, int, int]]:
    rows = [row for row in open_dataset(store).rows() if row["shard"] == shard]
    return [(row["key"], row["offset"], row["offset"] + row["size"]) for row in rows]


def refusals(store: Store) -> list[str]:
    """Keys of the samples that a reader refuses, with an error that names them."""
    dataset, refused = open_dataset(store), []
    for row in dataset.rows():
        try:
            dataset.read_row(row)
        except DatasetError as error:
            assert row["key"] in str(error)
            refused.append(row["key"])
    return refused
