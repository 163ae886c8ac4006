"""One disturbed run: launches of one command, faults at random requests, until it exits 0."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.chains import Chain, Verdict, compare, launched, log_tail, plain, prepare
from tests.chaos.faults import FAULTS
from tests.chaos.services import BUCKET, World

LAUNCHES = 10  # of one command, until the suite gives up on it
PATIENCE = 5.0  # seconds that a fault waits for somebody to hit
LIMIT = 900.0  # seconds of one launch; it is taken to hang then
PRELOAD = [
    "pipelines.fit", "pipelines.train", "pipelines.render", "ray.data", "ray.train.torch", "boto3",
    "mlflow.tracking", "pydantic.v1", "tests.chaos.stage",
]  # fmt: skip


@dataclass
class Outcome:
    """What became of an episode."""

    chain: str
    number: int
    struck: list[tuple[str, str]] = field(default_factory=list)  # fault, what it hit
    missed: list[str] = field(default_factory=list)  # the run ended before they could strike
    codes: list[int] = field(default_factory=list)  # exit codes of the launches
    seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def good(self) -> bool:
        return self.verdict.good


class Drivers:
    """Starts the command; knows all processes of it that live."""

    def __init__(self, world: World, chain: Chain, out: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self.context, self.chain = context, chain
        self.log = world.folder / f"{out.rpartition('/')[2]}.log"
        self.arguments = (chain.module, chain.argv(world, out), str(self.log), world.environment())
        self.living: list[Any] = []

    def start(self) -> Any:
        process = self.context.Process(target=launched, args=self.arguments)
        process.start()
        self.living.append(process)
        return process

    def wait(self) -> list[int]:
        """Exit codes of all that were started since the last wait, the first one first."""
        end, codes = time.monotonic() + LIMIT, []
        while self.living:
            process = self.living.pop(0)
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                for one in (process, *self.living):
                    one.kill()
                raise AssertionError(
                    f"{self.chain.name} hangs: no end after {LIMIT:.0f} s\n{log_tail(self.log, 40)}"
                )
            codes.append(int(process.exitcode or 0))
        return codes


class Storm:
    """Strikes with each fault in turn once the proxy has seen a number of requests."""

    def __init__(
        self, world: World, drivers: Drivers, names: Sequence[str], rng: random.Random
    ) -> None:
        self.world, self.drivers, self.rng = world, drivers, rng
        last = max(2, int(drivers.chain.requests * 0.9))
        at = sorted(rng.randrange(1, last) for _ in names)
        delays = [rng.uniform(0.0, drivers.chain.spread) for _ in names]
        seeds = [rng.random() for _ in names]
        self.todo = list(zip(at, names, delays, seeds, strict=True))
        self.struck: list[tuple[str, str]] = []
        self.seen = 0
        self.threads: list[threading.Thread] = []
        self.problems: list[str] = []
        self.busy = threading.Lock()  # one fault at a time
        self.driver: Any = None

    def trouble(self, number: int, method: str) -> str:
        self.seen += 1
        while self.todo and self.seen >= self.todo[0][0]:
            _, name, delay, seed = self.todo.pop(0)
            thread = threading.Thread(target=self.strike, args=(name, delay, seed), daemon=True)
            self.threads.append(thread)
            thread.start()
        return "ok"

    def strike(self, name: str, delay: float, seed: float) -> None:
        time.sleep(delay)
        with self.busy:
            if self.driver is None or not self.driver.is_alive():
                self.todo.insert(0, (self.seen, name, delay, seed))  # with the next launch
                return
            try:
                rng = random.Random(seed)
                hit, end = "", time.monotonic() + PATIENCE
                while not hit and time.monotonic() < end and self.driver.is_alive():
                    hit = FAULTS[name].strike(self.world, self.driver.pid, rng, self.drivers.start)
                    time.sleep(0.0 if hit else 0.2)
            except Exception as error:
                self.problems.append(f"{name}: {type(error).__name__}: {plain(error)}")
                return
            if hit:
                self.struck.append((name, hit))
            else:  # nobody there to be hit: once more, some requests later
                self.todo.insert(0, (self.seen + rng.randrange(1, 10), name, delay, seed + 1))

    def settle(self) -> None:
        """Until all that was broken is mended."""
        for thread in list(self.threads):
            thread.join(LIMIT)


@contextmanager
def storming(world: World, storm: Storm) -> Iterator[None]:
    assert world.proxy is not None
    world.proxy.trouble = storm.trouble
    try:
        yield
    finally:
        world.proxy.trouble = lambda number, method: "ok"


def undisturbed(world: World, chain: Chain, chains: dict[str, Chain]) -> None:
    """The run that all others must equal; counts its requests."""
    assert world.proxy is not None
    chain.reference = f"s3://{BUCKET}/undisturbed-{chain.name}"
    prepare(chain, chains, chain.reference)
    drivers = Drivers(world, chain, chain.reference)
    before, begin = world.proxy.count, time.perf_counter()
    drivers.start()
    codes = drivers.wait()
    assert codes == [0], f"the undisturbed {chain.name} failed:\n{log_tail(drivers.log, 40)}"
    chain.requests = world.proxy.count - before
    chain.seconds = time.perf_counter() - begin


def episode(
    world: World, chain: Chain, chains: dict[str, Chain], names: Sequence[str], seed: str
) -> Outcome:
    """Run `chain` with these faults; the same command again until it exits 0."""
    number = int(seed.rpartition("/")[2])
    outcome, begin = Outcome(chain.name, number), time.perf_counter()
    out = f"s3://{BUCKET}/{chain.name}-{number}"
    prepare(chain, chains, out)
    drivers = Drivers(world, chain, out)
    storm = Storm(world, drivers, names, random.Random(seed))
    with storming(world, storm):
        for _ in range(LAUNCHES):
            storm.driver = drivers.start()
            codes = drivers.wait()
            storm.settle()
            codes += drivers.wait()  # a second driver that came late
            outcome.codes += codes
            if codes[0] == 0:
                break
    outcome.struck, outcome.missed = storm.struck, [name for _, name, _, _ in storm.todo]
    verdict = Verdict()
    if outcome.codes[-1] and codes[0]:
        verdict.differ(f"no exit 0 in {LAUNCHES} launches:\n{log_tail(drivers.log)}")
    elif storm.problems:
        verdict.differ("; ".join(storm.problems))
    else:
        verdict = compare(chain, world, out)
    outcome.verdict = verdict
    outcome.seconds = time.perf_counter() - begin
    return outcome
