"""Run a stage, or the whole chain, as jobs of a Ray cluster, and follow them to their end.

    rodin submit --address http://127.0.0.1:8265 fit --preset paper --out s3://bucket/run
    rodin submit --address http://127.0.0.1:8265 chain --preset paper --out s3://bucket/run

What stands before the stage is for the submission, what follows goes to the stage. The code travels
along, data and keys do not. The same command again joins a job that still runs; a stage that ended
early does what remains. `chain` submits each stage once those that it needs have ended well.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from infra.jobs import JobError, Jobs, Spec, check_public, default_working_dir
from infra.registry import is_registered
from infra.storage import StorageError, open_store
from infra.tracking import ui_command
from pipelines.context import CODE, code_version
from pipelines.options import OVERRIDE, UsageError, fail, parse
from pipelines.run import SECTIONS
from pipelines.train import chain
from pipelines.train_job import needs

# Public variables that stages read; others by --env.
PASSED = ("MLFLOW_TRACKING_URI", "RODIN_CACHE", "RODIN_CACHE_GB")
STAGES = ("render", "fit", "train", "sample", "report", "evaluate", "dataset", "run")
MEASURES = "evaluate"  # the stage of a chain that takes a run in place of settings


@dataclass(frozen=True)
class Step:
    """A stage of the chain: its command, its sections of the settings, what it waits for."""

    words: tuple[str, ...]
    sections: tuple[str, ...]
    after: tuple[str, ...]  # those of them that the chain has


CHAIN = {
    "render": Step(("render",), ("render", "resources"), ()),
    "fit": Step(("fit",), ("fit", "resources"), ("render",)),
    "train-base": Step(("train", "--stage", "base"), ("base", "resources"), ("fit",)),
    "train-upsampler": Step(
        ("train", "--stage", "upsampler"), ("upsampler", "resources"), ("fit",)
    ),
    "train-refiner": Step(("train", "--stage", "refiner"), ("refiner", "resources"), ("fit",)),
    "train-prior": Step(("train", "--stage", "prior"), ("prior", "resources"), ("train-base",)),
    "sample": Step(
        ("sample",),
        ("sample", "resources"),
        ("train-base", "train-upsampler", "train-refiner", "train-prior"),
    ),
    # after sample: it writes how the run samples, and both would share one set of machines
    MEASURES: Step((MEASURES,), (), ("sample",)),
    "report": Step(("report",), (), (MEASURES,)),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (`rodin submit --help` shows how)")


def parser() -> argparse.ArgumentParser:
    found = _Parser("rodin submit", description=__doc__, allow_abbrev=False)
    found.formatter_class = argparse.RawDescriptionHelpFormatter
    found.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS", ""),
        help="the job server, http://host:8265; default: RAY_API_SERVER_ADDRESS",
    )
    found.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help=f"a variable that the job gets, besides {', '.join(PASSED)}; keys are refused: they"
        " belong to the nodes",
    )
    found.add_argument(
        "--working-dir",
        default=default_working_dir(),
        help="folder of code that travels along; '' where the image has it",
    )
    found.add_argument("--no-follow", action="store_true", help="submit and return")
    found.add_argument("stage", choices=(*STAGES, "chain"), help="what runs on the cluster")
    found.add_argument("words", nargs=argparse.REMAINDER, help="for the stage; see its --help")
    return found


def environment(given: Sequence[str]) -> dict[str, str]:
    """The variables that travel with a job. Raises UsageError for one that is not set."""
    found = {name: os.environ[name] for name in PASSED if os.environ.get(name)}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and name not in os.environ:
            raise UsageError(f"--env {name}: not set here; write --env {name}=VALUE")
        found[name] = value if equals else os.environ[name]
    return found | {CODE: code_version()}


def value_of(words: Sequence[str], flag: str) -> str:
    """The last value of `--flag VALUE` or `--flag=VALUE`; "" without one."""
    found = ""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        if word == flag:
            found = following
        elif word.startswith(f"{flag}="):
            found = word.split("=", 1)[1]
    return found


def check_out(words: Sequence[str], flag: str = "--out") -> str:
    """The run's address. A job's folder is thrown away: a run needs an address of its own."""
    out = value_of(words, flag)
    if not out.startswith(("s3://", "file://", "/")):
        raise UsageError(
            f"{flag} {out or '(none)'}: nodes have no folder in common by that name;"
            " write s3://bucket/run, or the absolute path of a shared disk"
        )
    open_store(out)
    return out


def split_words(words: Sequence[str], sections: Sequence[str]) -> tuple[str, ...]:
    """What of the chain's command line is for a stage with these sections of the settings."""
    kept: list[str] = []
    mine = True
    for word in words:
        if word.startswith("--") or OVERRIDE.match(word):
            name = word.lstrip("-").split("=")[0]
            mine = "." not in name or name.split(".")[0].replace("-", "_") in sections
        if mine:
            kept.append(word)
    return tuple(kept)


def words_of(args: argparse.Namespace) -> list[str]:
    return list(args.words[1:] if args.words[:1] == ["--"] else args.words)


def order_of(args: argparse.Namespace, names: Collection[str]) -> dict[str, list[str]]:
    """What each of these jobs of a command line waits for."""
    if args.stage != "chain":
        return {name: [] for name in names}
    _, settings = parse("rodin submit chain", __doc__ or "", SECTIONS, words_of(args))
    found = {name: [one for one in CHAIN[name].after if one in names] for name in names}
    for name in ("upsampler", "refiner"):
        if (step := found.get(f"train-{name}")) is not None:
            before = (f"train-{other}" for other in needs(getattr(settings, name)))
            step += [other for other in before if other in names]
    return found


def specs_of(args: argparse.Namespace) -> dict[str, Spec]:
    """The jobs of a command line by name. Raises UsageError or ValueError for mistakes."""
    env = environment(args.env)
    words = words_of(args)
    check_public(words, env)
    if args.stage != "chain":
        if args.stage in ("render", "fit", "train", "sample", "report", "run"):
            check_out(words)
        if args.stage == MEASURES and not is_registered(value_of(words, "--run")):
            check_out(words, "--run")
        command = ("python", "-m", f"pipelines.{args.stage}", *words)
        name = "-".join(part for part in (args.stage, value_of(words, "--stage")) if part)
        return {name: Spec(name, command, env, args.working_dir)}
    _, settings = parse("rodin submit chain", __doc__ or "", SECTIONS, words)
    run = ["--run", check_out(words)]
    if tracking := value_of(words, "--tracking"):
        run += ["--tracking", tracking]
    found = {}
    for name, step in CHAIN.items():
        if step.words[0] == "train" and step.words[-1] not in chain(settings):
            continue
        own = run if name == MEASURES else split_words(words, step.sections)
        command = ("python", "-m", f"pipelines.{step.words[0]}", *step.words[1:], *own)
        found[name] = Spec(name, command, env, args.working_dir)
    return found


async def run_chain(
    after: Mapping[str, Sequence[str]], launch: Callable[[str], Awaitable[int]]
) -> dict[str, int | None]:
    """Exit codes by name; None for what was not launched because something before it failed.

    Each name is launched when all that it comes after ended with 0; several run at once.
    """
    tasks: dict[str, asyncio.Task[int | None]] = {}

    async def one(name: str) -> int | None:
        codes = [await tasks[before] for before in after[name]]
        return await launch(name) if all(code == 0 for code in codes) else None

    for name in after:
        tasks[name] = asyncio.create_task(one(name))
    return {name: await task for name, task in tasks.items()}


def printer(name: str) -> Callable[[str], None]:
    """Writes whole lines, each after the job's name where several jobs run; "" ends the last."""
    rest = ""

    def write(text: str) -> None:
        nonlocal rest
        *lines, rest = (rest + (text or "\n" * bool(rest))).split("\n")
        for line in lines:
            print(f"[{name}] {line}" if name else line, flush=True)

    return write


def run(args: argparse.Namespace) -> int:
    specs = specs_of(args)
    jobs = Jobs(args.address)
    tracking = next(iter(specs.values())).env.get("MLFLOW_TRACKING_URI", "")
    tracking = value_of(args.words, "--tracking") or tracking
    after = order_of(args, specs)

    async def launch(name: str) -> int:
        job, fresh = await asyncio.to_thread(jobs.submit, specs[name])
        print(f"{name}: {'submitted' if fresh else 'already runs'} as {job}", flush=True)
        if args.no_follow:
            return 0
        write = printer(name if len(specs) > 1 else "")
        code = await jobs.follow(job, write)
        write("")
        print(f"{name}: ended with exit code {code}", flush=True)
        return code

    if args.no_follow and len(specs) > 1:
        raise UsageError("chain waits for its stages; leave out --no-follow")
    codes = asyncio.run(run_chain(after, launch))
    for name, code in codes.items():
        if code is None:
            print(f"{name}: not submitted; run the same command again once the cause is mended")
    if tracking:
        print(f"MLflow: {ui_command(tracking)}")
    return next((code for code in codes.values() if code), 0)


def main(argv: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        code = run(parser().parse_args(words or ["--help"]))
    except (ValueError, StorageError, JobError) as error:
        if os.environ.get("RODIN_TRACEBACK"):
            raise
        fail(error)
    except KeyboardInterrupt:
        print("\nno longer followed; jobs go on, the same command joins them", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(code)


if __name__ == "__main__":
    main()
