"""What goes wrong: each fault strikes once, says what it hit, and mends what it broke."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.services import FAKETIME, RayNode, World

# Strikes: (world, driver's pid, rng, episode's launcher) -> what was hit; "" where nothing was.
Strike = Callable[[World, int, random.Random, Callable[[], None]], str]


@dataclass(frozen=True)
class Fault:
    name: str
    strike: Strike


def kill_worker(world: World, driver: int, rng: random.Random, again: Any) -> str:
    """An actor or task of a driver: renders, fits, trains, decodes."""
    found = [one for node in _nodes(world) for one in node.workers()]
    if not found:
        return ""
    victim = rng.choice(sorted(found, key=lambda one: one.pid))
    title = victim.cmdline()[0][:40]
    victim.kill()
    return title


def kill_child(world: World, driver: int, rng: random.Random, again: Any) -> str:
    """The Blender process of a render worker."""
    children = [
        child
        for node in _nodes(world)
        for one in node.workers()
        for child in one.children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    if not children:
        return ""
    rng.choice(sorted(children, key=lambda one: one.pid)).kill()
    return "Blender process"


def kill_node(world: World, driver: int, rng: random.Random, again: Any) -> str:
    index = rng.randrange(len(world.nodes))
    text = world.kill_node(index, rng)
    time.sleep(rng.uniform(0.0, 3.0))
    world.renew_node(index)
    return text


def kill_head(world: World, driver: int, rng: random.Random, again: Any) -> str:
    for node in _nodes(world):
        node.kill()
    time.sleep(rng.uniform(0.0, 3.0))
    world.renew_head()
    return "all nodes and the GCS"


def kill_driver(world: World, driver: int, rng: random.Random, again: Any) -> str:
    try:
        os.kill(driver, signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return "driver"


def kill_s3(world: World, driver: int, rng: random.Random, again: Any) -> str:
    world.s3.kill()
    time.sleep(rng.uniform(0.2, 4.0))
    world.s3.start()
    return "S3 server"


def kill_mlflow(world: World, driver: int, rng: random.Random, again: Any) -> str:
    if world.mlflow is None:
        return ""
    world.mlflow.kill()
    time.sleep(rng.uniform(0.2, 4.0))
    world.mlflow.start()
    return "MLflow server"


def throttle(world: World, driver: int, rng: random.Random, again: Any) -> str:
    """For some seconds a third of all requests gets a 503, a tenth half an answer."""
    assert world.proxy is not None
    usual = world.proxy.trouble
    dice, end = random.Random(rng.random()), time.monotonic() + rng.uniform(3.0, 10.0)

    def trouble(number: int, method: str) -> str:
        told = usual(number, method)
        draw = dice.random()
        if time.monotonic() > end or told != "ok":
            return told
        return "503" if draw < 0.33 else "cut" if draw < 0.43 else "ok"

    world.proxy.trouble = trouble
    return "S3 throttled"


def skew(world: World, driver: int, rng: random.Random, again: Any) -> str:
    """For some seconds a node's date is hours off (needs libfaketime); S3 refuses it then."""
    if not Path(FAKETIME).exists():
        return ""
    index = rng.randrange(len(world.nodes))
    offset = rng.choice(["-26h", "-2h", "+2h", "+26h"])
    world.renew_node(index, offset)
    time.sleep(rng.uniform(3.0, 20.0))
    world.renew_node(index)
    return f"clock of node {index} {offset}"


def second_driver(world: World, driver: int, rng: random.Random, again: Any) -> str:
    again()
    return "second driver"


def _nodes(world: World) -> list[RayNode]:
    return [*world.nodes, world.head]


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill -9 worker", kill_worker),
        Fault("kill -9 Blender", kill_child),
        Fault("kill -9 node", kill_node),
        Fault("kill -9 head and all nodes", kill_head),
        Fault("kill -9 driver", kill_driver),
        Fault("kill -9 S3 server", kill_s3),
        Fault("kill -9 MLflow server", kill_mlflow),
        Fault("S3 throttled, answers cut", throttle),
        Fault("clock of a node wrong", skew),
        Fault("two drivers at once", second_driver),
    )
}
