"""The command line that all stages share: a preset, dotted overrides, and one-line errors."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import tyro

from infra.storage import StorageError
from infra.tracking import TrackingError
from pipelines.presets import PRESETS
from pipelines.settings import RunSettings

OVERRIDE = re.compile(r"^[a-z][\w-]*(\.[\w-]+)+=")


@dataclass(frozen=True)
class Options:
    """What every stage takes besides its settings."""

    # where the settings start from: tiny (a test, minutes), demo (a laptop, a quarter of an
    # hour), builtin (304 people, hours), ablation (for `rodin ablate`), single-gpu,
    # paper (the published scale)
    preset: str = "demo"
    # where the run lives: a folder or s3://bucket/prefix; default runs/PRESET
    out: str = ""
    # print the plan and what remains of it, then stop
    dry_run: bool = False
    # try again the avatars that an earlier launch recorded as failed
    retry_failed: bool = False
    # a Ray cluster to join; default: the job's own cluster, otherwise a local Ray is started
    address: str = ""
    # MLflow server or sqlite:///FILE, "none" for no tracking; default: MLFLOW_TRACKING_URI, else
    # mlflow.db beside the run
    tracking: str = ""
    # where the baked body model is cached; default: ~/.cache/rodin
    assets: str = ""


class UsageError(ValueError):
    """A command line that cannot be followed; the text is one line."""


def one_line(text: str) -> str:
    """Folds what a parser printed in a box into one line."""
    lines = [re.sub(r"[│╭╮╰╯]", " ", line).strip() for line in text.splitlines()]
    kept = []
    for line in lines:
        if re.fullmatch(r"─{5,}", line):
            break
        if line and "─" not in line:
            kept.append(line)
    return " ".join(kept)


def preset_of(argv: Sequence[str]) -> str:
    """The preset that a command line names, looked up before the rest is parsed."""
    name = Options.preset
    for i, word in enumerate(argv):
        if word == "--preset" and i + 1 < len(argv):
            name = argv[i + 1]
        elif word.startswith("--preset="):
            name = word.split("=", 1)[1]
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; choose one of: {', '.join(PRESETS)}")
    return name


def command_of(options: Options, sections: Sequence[str], settings: RunSettings) -> Any:
    """A dataclass instance of the options and the named sections of the settings."""
    fields: list[tuple[str, Any]] = [("common", tyro.conf.OmitArgPrefixes[Options])]
    fields += [(name, type(getattr(settings, name))) for name in sections]
    kind = dataclasses.make_dataclass("Command", fields, frozen=True)
    return kind(options, *(getattr(settings, name) for name in sections))


def known_flags(value: Any, prefix: str = "") -> list[str]:
    """Every dotted name that can be set in a tree of dataclasses."""
    names = []
    for item in dataclasses.fields(value):
        child = getattr(value, item.name)
        if dataclasses.is_dataclass(child):
            names += known_flags(child, f"{prefix}{item.name}.")
        else:
            names.append(prefix + item.name)
    return names


def parse(
    prog: str, description: str, sections: Sequence[str], argv: Sequence[str]
) -> tuple[Options, RunSettings]:
    """Reads a command line: `--preset NAME`, options, and `--section.knob VALUE` or
    `section.knob=VALUE`. Raises UsageError with one line for what it cannot follow."""
    words = [f"--{word}" if OVERRIDE.match(word) else word for word in argv]
    name = preset_of(words)
    settings = PRESETS[name]
    default = command_of(Options(preset=name), sections, settings)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            command, unknown = tyro.cli(
                type(default),
                args=words,
                default=default,
                return_unknown_args=True,
                prog=prog,
                description=description,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(one_line(errors.getvalue())) from None
    if unknown:
        bad = unknown[0].lstrip("-").split("=")[0].replace("-", "_")
        near = difflib.get_close_matches(
            bad, [f.removeprefix("common.") for f in known_flags(command)], n=1, cutoff=0.4
        )
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown setting {bad!r}{hint} (`{prog} --help` lists all)")
    options = command.common
    options = dataclasses.replace(
        options,
        out=whole(options.out or f"runs/{name}"),
        assets=whole(options.assets) if options.assets else "",
    )
    changed = {section: getattr(command, section) for section in sections}
    return options, dataclasses.replace(settings, **changed)


def whole(address: str) -> str:
    """A local path made absolute: workers run in folders of their own."""
    return address if ":/" in address else os.path.abspath(os.path.expanduser(address))


def fail(error: BaseException) -> NoReturn:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    raise SystemExit(2)


def entry(
    stage: str,
    description: str,
    sections: Sequence[str],
    launch: Callable[[Options, RunSettings], None],
    argv: Sequence[str] | None = None,
) -> None:
    """Runs a stage from a command line. A caller's mistake ends as one line and exit code 2."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        options, settings = parse(f"python -m pipelines.{stage}", description, sections, words)
        launch(options, settings)
    except (ValueError, StorageError, TrackingError, ConnectionError) as error:
        if os.environ.get("RODIN_TRACEBACK"):
            raise
        fail(error)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
