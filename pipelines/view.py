"""A page to look at avatars: turn them, make new ones, change and save them.

Input    SOURCE: a bundle (rodin pack), a run, s3://..., or models:/rodin@champion; without one, the
         package's own weights, where it has them. A run's fitted people can be looked at too, the
         truth beside the fit.
Output   a web page on this machine, until Ctrl-C. It prints the address to open.
Work     one process; every browser tab has an avatar of its own.
"""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipelines.generate import open_model
from pipelines.options import UsageError
from pipelines.tool import command


@dataclass(frozen=True)
class ViewArgs:
    """What `rodin view` takes."""

    # a bundle's folder, a run, s3://bucket/prefix or models:/rodin@champion; default: the package's
    source: Annotated[str, tyro.conf.Positional] = ""
    # name to listen on; 0.0.0.0 lets other machines in, who need no password
    host: str = "localhost"
    # port to listen on; where it is taken, the next free one
    port: int = 8080
    # open the page in this machine's browser
    open: bool = False
    # seed of the avatar that a visitor sees first
    seed: int = 0
    # MLflow server or sqlite:///FILE of a registered model; default: MLFLOW_TRACKING_URI
    tracking: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UsageError(f"--port is {self.port}; use 1 to 65535")


def work(args: ViewArgs) -> None:
    from pipelines.view_page import Page
    from pipelines.view_people import people_of

    with open_model(args.source, args.tracking) as model:
        first = model.generate(args.seed)
        people = people_of(args.source, model.bundle.decoder)
    page = Page(model, first, people, host=args.host, port=args.port)
    print(f"open {page.address} (Ctrl-C ends it)", flush=True)
    if args.open:
        webbrowser.open(page.address)
    try:
        threading.Event().wait()
    finally:
        page.close()


def main(argv: Sequence[str] | None = None) -> None:
    command(ViewArgs, "rodin view", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
