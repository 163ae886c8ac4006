"""`make chaos`: faults at random moments over short chains with real parts; prints a table.

Every disturbed run must end as the undisturbed one did once its command has been run again until it
exits 0. Everything follows from --seed; a failure prints the line that repeats it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.chaos.chains import CHAINS, Chain
from tests.chaos.damage import flipped_byte, full_disk
from tests.chaos.episode import Outcome, episode, undisturbed
from tests.chaos.faults import FAULTS
from tests.chaos.services import FAKETIME, World

SKEW = "clock of a node wrong"
# How often each fault strikes each chain.
NIGHT: dict[str, dict[str, int]] = {
    "numbers": {
        "kill -9 worker": 11, "kill -9 node": 6, "kill -9 driver": 10, "kill -9 S3 server": 5,
        "kill -9 MLflow server": 4, "S3 throttled, answers cut": 4, "two drivers at once": 4,
        SKEW: 2, "kill -9 head and all nodes": 1,
    },
    "render": {"kill -9 worker": 1, "kill -9 Blender": 1, "kill -9 node": 1, "kill -9 driver": 1},
    "fit": {
        "kill -9 worker": 4, "kill -9 node": 2, "kill -9 driver": 4, "kill -9 S3 server": 2,
        "kill -9 MLflow server": 1, "two drivers at once": 2,
    },
    "train": {
        "kill -9 worker": 2, "kill -9 node": 1, "kill -9 driver": 3, "kill -9 S3 server": 1,
        "kill -9 MLflow server": 2, "two drivers at once": 1,
    },
    "demo-fit": {"kill -9 worker": 2, "kill -9 node": 1, "kill -9 driver": 1},
    "demo-train": {"kill -9 worker": 1, "kill -9 node": 1, "kill -9 driver": 2},
}  # fmt: skip
assert all(name in FAULTS for plan in NIGHT.values() for name in plan)
# Side by side, for much of the time passes in waiting: for nodes, for servers.
LANES = (("numbers", "render", "demo-fit", "demo-train"), ("fit", "train"))
assert sorted(name for names in LANES for name in names) == sorted(NIGHT)
DAMAGE = {"numbers": 2, "fit": 1}  # full disks, and as many flipped bytes
# Faults of one disturbed run.
TOGETHER = {"numbers": 6, "fit": 5, "train": 5, "render": 4, "demo-fit": 4, "demo-train": 4}


def skews() -> bool:
    """Whether a clock can be set wrong here."""
    return Path(FAKETIME).exists()


def drawn(plan: dict[str, int], together: int, rng: random.Random) -> list[list[str]]:
    """The faults of a chain in random groups: those of one run each."""
    kept = {name: count for name, count in plan.items() if name != SKEW or skews()}
    names = [name for name, count in kept.items() for _ in range(count)]
    rng.shuffle(names)
    return [names[i : i + together] for i in range(0, len(names), together)]


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, a row a chain and fault."""
    lines = ["| chain | fault | times | lost | doubled | equal | launches | seconds |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for chain in dict.fromkeys(outcome.chain for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.chain == chain]
        struck = Counter(name for outcome in mine for name, _ in outcome.struck)
        for name, times in sorted(struck.items()):
            hit = [o for o in mine if name in [fault for fault, _ in o.struck]]
            lost, doubled = sum(o.verdict.lost for o in hit), sum(o.verdict.doubled for o in hit)
            equal = sum(o.verdict.equal for o in hit)
            launches, seconds = sum(len(o.codes) for o in hit), sum(o.seconds for o in hit)
            lines.append(
                f"| {chain} | {name} | {times} | {lost} | {doubled} | {equal} of {len(hit)} |"
                f" {launches} | {seconds:.0f} |"
            )
    return "\n".join(lines)


def tell(label: str, outcome: Outcome) -> None:
    state = "good" if outcome.good else "BAD: " + "; ".join(outcome.verdict.why)
    hits = ", ".join(hit for _, hit in outcome.struck) or "nothing"
    print(
        f"{label}: {state}; {outcome.seconds:.0f} s, exits {outcome.codes}; hit: {hits}", flush=True
    )


def run_chain(
    world: World, chain: Chain, chains: dict[str, Chain], groups: list[list[str]], seed: int
) -> list[Outcome]:
    """All disturbed runs of a chain; faults that a run ended too soon for get a run more."""
    outcomes: list[Outcome] = []
    extra = len(groups) // 2 + 1
    while groups:
        names = groups.pop(0)
        label = f"{seed}/{chain.name}/{len(outcomes)}"
        outcome = episode(world, chain, chains, names, label)
        tell(label, outcome)
        outcomes.append(outcome)
        if outcome.missed and extra:
            extra -= 1
            groups.append(outcome.missed)
    return outcomes


def damage_chain(
    world: World, chain: Chain, chains: dict[str, Chain], count: int, seed: int
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for number in range(count):
        for harm in (full_disk, flipped_byte):
            label = f"{seed}/{chain.name}-{harm.__name__}/{number}"
            outcome = harm(world, chain, chains, label)
            if outcome is None:
                print(f"{label}: left out, a small disk takes root", flush=True)
                continue
            tell(label, outcome)
            outcomes.append(outcome)
    return outcomes


def lane(names: Sequence[str], args: argparse.Namespace) -> tuple[list[Outcome], str]:
    """These chains one after another, on services of their own; (outcomes, folder of the logs)."""
    begin, outcomes = time.perf_counter(), []
    chains = {chain.name: chain for chain in CHAINS}
    with World(args.nodes, mlflow=not args.no_mlflow) as world:
        print(f"services up after {time.perf_counter() - begin:.0f} s: {world.folder}", flush=True)
        for name in names:
            chain = chains[name]
            wanted = name in args.only
            if not wanted and not any(chains[each].needs == name for each in args.only):
                continue
            undisturbed(world, chain, chains)
            print(f"{name}: {chain.requests} requests, {chain.seconds:.0f} s", flush=True)
            if wanted:
                groups = drawn(NIGHT[name], TOGETHER[name], random.Random(f"{args.seed}/{name}"))
                groups = groups[: args.runs or None]
                outcomes += run_chain(world, chain, chains, groups, args.seed)
                if not args.runs:
                    outcomes += damage_chain(world, chain, chains, DAMAGE.get(name, 0), args.seed)
        if not all(outcome.good for outcome in outcomes):
            world.keep = True
    return outcomes, str(world.folder)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(NIGHT), choices=NIGHT, help="chains")
    parser.add_argument("--runs", type=int, default=0, help="disturbed runs a chain at most")
    parser.add_argument("--nodes", type=int, default=2, help="of Ray, besides the head")
    parser.add_argument("--no-mlflow", action="store_true", help="leaves the MLflow server out")
    args = parser.parse_args(argv)
    if not skews():
        print("no fault 'clock of a node wrong': install the package faketime", flush=True)
    begin = time.perf_counter()
    lanes = [names for names in LANES if set(names) & set(args.only)]
    # Spawned: each lane sets the environment of its own drivers.
    with ProcessPoolExecutor(len(lanes), multiprocessing.get_context("spawn")) as pool:
        lives = [pool.submit(lane, names, args) for names in lanes]
    broken = [error for error in (life.exception() for life in lives) if error]
    ended = [life.result() for life in lives if not life.exception()]
    outcomes = [outcome for found, _ in ended for outcome in found]
    bad = [outcome for outcome in outcomes if not outcome.good]
    print(table(outcomes))
    times = sum(len(outcome.struck) for outcome in outcomes)
    print(
        f"{times} faults in {len(outcomes)} runs, {(time.perf_counter() - begin) / 60:.1f} min,"
        f" seed {args.seed}"
    )
    for error in broken:
        print(f"a lane broke off: {error}")
    if bad:
        names = " ".join(dict.fromkeys(outcome.chain for outcome in bad))
        print(f"again: python -m tests.chaos.suite --seed {args.seed} --only {names}")
        folders = [folder for found, folder in ended if not all(one.good for one in found)]
        print(f"logs: {' '.join(folders)}")
    return 1 if bad or broken else 0


if __name__ == "__main__":
    sys.exit(main())
