"""Commands that work on one thing, without a preset or a cluster: fit-one, export, plan."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from infra.registry import is_registered
from infra.storage import StorageError, Store, open_store
from infra.tracking import TrackingError
from pipelines.models import load_decoder
from pipelines.options import UsageError, fail, one_line, whole
from pipelines.registry import opened
from rodin.decoder import DecoderError, TriplaneDecoder

T = TypeVar("T")
DECODER = "decoder.safetensors"
_PLACES = ("", "triplanes/")  # where a run or a data set keeps its decoder


def command(
    kind: type[T], prog: str, work: Callable[[T], None], argv: Sequence[str] | None, text: str
) -> None:
    """Parses `argv` into `kind` and does the work. A caller's mistake is one line, exit code 2."""
    words = sys.argv[1:] if argv is None else list(argv)
    errors = io.StringIO()
    try:
        try:
            with contextlib.redirect_stderr(errors):
                args = tyro.cli(kind, args=words, prog=prog, description=text)
        except SystemExit as stop:
            if stop.code in (0, None):
                raise
            raise UsageError(one_line(errors.getvalue())) from None
        work(args)
    except (ValueError, OSError, StorageError, TrackingError) as error:
        if os.environ.get("RODIN_TRACEBACK"):
            raise
        fail(error)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(130) from None


def find_decoder(address: str) -> TriplaneDecoder:
    """The decoder at an address: a .safetensors file, a folder, data set or run that holds one, or
    models:/rodin-decoder@latest.

    Raises DecoderError when there is none.
    """
    address = whole(address)
    if is_registered(address):
        with opened(address) as (found, _):
            return load_decoder(found.child("triplanes"))
    if address.endswith(".safetensors"):
        parent, _, name = address.rpartition("/")
        return load_decoder(open_store(parent), name)
    store = open_store(address)
    for place in _PLACES:
        if store.exists(place + DECODER):
            return load_decoder(store, place + DECODER)
    raise DecoderError(
        f"{address} holds no {DECODER}; give the file, a data set of tri-planes or a run of"
        " rodin fit"
    )


def say(text: str = "") -> None:
    """The one line on a terminal that says what is under way; without text it is cleared."""
    if sys.stderr.isatty():
        text = text[:70]
        print(f"\r{text:<70}\r{text}", end="", file=sys.stderr, flush=True)


def write_file(store: Store, name: str, make: Callable[[Path], object]) -> None:
    """Places the file that `make(path)` writes into a store, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="rodin-") as folder:
        path = Path(folder) / Path(name).name
        make(path)
        store.put_file(path, name)
