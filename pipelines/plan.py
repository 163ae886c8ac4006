"""Plan a run: hours, bytes and money of every stage on given machines, before it is started.

  rodin plan --preset paper --avatars 100000
  rodin plan --preset paper --avatars 100000 --measured runs/pilot --fit-node h100x8 --fit-nodes 4
  rodin plan --preset single-gpu --node mine:16:1:a100:1.80 --fit-node mine fit.engine.steps=1000

The work of a stage is counted from the settings (rays, samples, pixels, operations of the networks)
and divided by a speed. The speeds of a CPU core were measured, once, on the machine of
docs/benchmarks.md; those of GPUs are assumptions, printed as such. A pilot run of some hundred
avatars on your own machines replaces both for rendering and fitting: --measured RUN. Prices are
examples: give your own with --node NAME:CORES:GPUS:KIND:PRICE. Settings are changed as for the
stages: fit.engine.steps=1000 (`rodin fit --help` lists them).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from pipelines import work
from pipelines.options import UsageError, fail, one_line, parse, whole
from pipelines.settings import RunSettings

SECTIONS = ("render", "fit", "base", "upsampler", "resources")


@dataclass(frozen=True)
class Node:
    """A machine that can be rented."""

    name: str
    cores: int
    gpus: int
    kind: str  # of its GPUs, a key of work.GPUS; "" without
    price: float  # dollars an hour


# Prices: round numbers near public on-demand prices, as examples.
NODES = {
    node.name: node
    for node in (
        Node("cpu64", 64, 0, "", 2.6),
        Node("v100x8", 96, 8, "v100", 20.0),
        Node("a100x8", 96, 8, "a100", 26.0),
        Node("h100x8", 192, 8, "h100", 50.0),
        Node("a100", 12, 1, "a100", 3.3),
        Node("h100", 24, 1, "h100", 6.3),
    )
}


@dataclass(frozen=True)
class Plan:
    """What `rodin plan` takes, besides --preset and settings."""

    # avatars to make; 0: as many as the preset has
    avatars: int = 0
    # a finished run on the machines that you will use: its seconds an avatar in place of the table
    measured: str = ""
    # machines that render, and how many
    render_node: str = "cpu64"
    render_nodes: int = 16
    # machines that fit; without a GPU their cores do it
    fit_node: str = "a100x8"
    fit_nodes: int = 4
    # machines that train
    train_node: str = "a100x8"
    train_nodes: int = 2
    # a machine of your own: NAME:CORES:GPUS:KIND:PRICE, KIND empty, v100, a100 or h100
    node: tuple[str, ...] = ()
    # share of a GPU's peak that training reaches
    utilisation: float = 0.35
    # share of the machines' time lost to restarts, stragglers and uneven shards
    loss: float = 0.05

    def __post_init__(self) -> None:
        for name in ("avatars", "render_nodes", "fit_nodes", "train_nodes"):
            if getattr(self, name) < (name != "avatars"):
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}")
        if not 0 < self.utilisation <= 1 or not 0 <= self.loss < 1:
            raise UsageError("--utilisation lies in (0, 1] and --loss in [0, 1)")


@dataclass(frozen=True)
class Row:
    """One stage of the plan."""

    stage: str
    what: str
    device: str  # core, or a GPU's kind
    device_hours: float
    nodes: int
    hours: float  # by the clock
    money: float  # dollars
    bytes: float  # written


def node_of(text: str) -> Node:
    parts = text.split(":")
    try:
        name, cores, gpus, kind, price = parts
        node = Node(name, int(cores), int(gpus), kind, float(price))
    except ValueError:
        raise UsageError(f"--node {text!r}; write NAME:CORES:GPUS:KIND:PRICE") from None
    if node.cores < 1 or node.gpus < 0 or node.price < 0:
        raise UsageError(f"--node {text!r}; cores, GPUs and price cannot be negative")
    if bool(node.gpus) != bool(node.kind) or (node.kind and node.kind not in work.GPUS):
        raise UsageError(f"--node {text!r}; KIND is one of {', '.join(work.GPUS)}, or empty")
    return node


def row_of(
    stage: str, what: str, seconds: float, node: Node, nodes: int, loss: float, size: float
) -> Row:
    """A stage of `seconds` on one device (core or GPU) of `node`, spread over `nodes` of them."""
    devices = node.gpus or node.cores
    hours = seconds / 3600 / (devices * nodes) / (1 - loss)
    return Row(
        stage,
        what,
        node.kind or "core",
        seconds / 3600,
        nodes,
        hours,
        hours * nodes * node.price,
        size,
    )


def rows_of(plan: Plan, settings: RunSettings, nodes: dict[str, Node]) -> list[Row]:
    """All stages of a run. Raises UsageError for an unknown machine."""
    for name in (plan.render_node, plan.fit_node, plan.train_node):
        if name not in nodes:
            raise UsageError(f"unknown machine {name!r}; one of {', '.join(nodes)}, or --node")
    render, fit, train = (nodes[n] for n in (plan.render_node, plan.fit_node, plan.train_node))
    count = settings.render.avatars
    pilot = work.pilot(whole(plan.measured)) if plan.measured else None
    stage, engine = settings.render, settings.fit.engine
    views = f"{count:,} x {stage.views} views of {stage.size} px, {stage.samples} samples"
    # Rendering takes cores, whatever else the machine has.
    cores = dataclasses.replace(render, gpus=0, kind="")
    seconds = count * work.render_seconds(settings, pilot)
    rows = [row_of("render", views, seconds, cores, plan.render_nodes, plan.loss,
                   count * work.views_bytes(settings))]  # fmt: skip
    joint = f"{engine.decoder_steps:,} steps, one device"
    seconds = work.decoder_seconds(settings, fit.kind, pilot)
    alone = dataclasses.replace(fit, gpus=min(fit.gpus, 1), cores=1)
    rows.append(row_of("decoder", joint, seconds, alone, 1, 0.0, 0.0))
    seconds = count * work.fit_seconds(settings, fit.kind, pilot)
    size = count * work.plane_bytes(settings)
    each = f"{count:,} x {engine.steps:,} steps, {engine.resolution}^2 x {engine.decoder.channels}"
    rows.append(row_of("fit", each, seconds, fit, plan.fit_nodes, plan.loss, size))
    for name in ("base", "upsampler"):
        total, per_sample, parameters = work.training(settings, name)
        seconds = total * per_sample / work.training_speed(train.kind, plan.utilisation)
        what = f"{total:,} samples of {per_sample / 1e9:,.0f} GFLOP, {parameters / 1e6:,.0f} M"
        rows.append(row_of(f"train {name}", what, seconds, train, plan.train_nodes, plan.loss,
                           8.0 * parameters))  # fmt: skip
    return rows


def human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def table(rows: Sequence[Row]) -> str:
    """The plan as a Markdown table, with its sum."""
    lines = ["| stage | work | device hours | nodes | hours | money | written |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for row in rows:
        lines.append(
            f"| {row.stage} | {row.what} | {row.device_hours:,.1f} {row.device} | {row.nodes} |"
            f" {row.hours:,.1f} | ${row.money:,.0f} | {human(row.bytes)} |"
        )
    hours, money, size = (sum(getattr(row, n) for row in rows) for n in ("hours", "money", "bytes"))
    lines.append(
        f"| all | one after the other | | | {hours:,.1f} | ${money:,.0f} | {human(size)} |"
    )
    return "\n".join(lines)


def assumptions(plan: Plan, nodes: dict[str, Node]) -> list[str]:
    """Everything that the numbers rest on, a sentence each."""
    used = sorted({plan.render_node, plan.fit_node, plan.train_node})
    lines = [
        f"{name}: {nodes[name].cores} cores, {nodes[name].gpus} {nodes[name].kind or 'GPUs'},"
        f" ${nodes[name].price:g} an hour (an example, see --node)"
        for name in used
    ]
    lines += work.assumptions({nodes[name].kind for name in used}, plan.measured, plan.utilisation)
    lines.append(f"{plan.loss:.0%} of the machines' time is lost; stages follow one another")
    lines.append("start-up, sampling, storage and traffic are not counted")
    return lines


def read(argv: Sequence[str]) -> tuple[Plan, RunSettings]:
    """The command line: options of the plan, the preset, settings."""
    errors = io.StringIO()
    words = list(argv)
    preset = "paper"
    if "--preset" in words[:-1]:
        at = words.index("--preset")
        preset = words[at + 1]
        del words[at : at + 2]
    try:
        with contextlib.redirect_stderr(errors):
            plan, rest = tyro.cli(
                Plan,
                args=words,
                prog="rodin plan [--preset tiny|demo|single-gpu|paper]",
                description=__doc__,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(one_line(errors.getvalue())) from None
    _, settings = parse("rodin plan", "", SECTIONS, [*rest, "--preset", preset])
    if plan.avatars:
        render = dataclasses.replace(settings.render, avatars=plan.avatars)
        settings = dataclasses.replace(settings, render=render)
    return plan, settings


def main(argv: Sequence[str] | None = None) -> None:
    try:
        plan, settings = read(sys.argv[1:] if argv is None else argv)
        own: dict[str, Any] = {node.name: node for node in map(node_of, plan.node)}
        nodes = {**NODES, **own}
        print(table(rows_of(plan, settings, nodes)))
        print("\nThis rests on:")
        for line in assumptions(plan, nodes):
            print(f"- {line}")
    except (ValueError, OSError) as error:
        fail(error)


if __name__ == "__main__":
    main()
