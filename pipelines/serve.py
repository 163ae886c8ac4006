"""Avatars over HTTP: a Ray Serve service with a bounded queue and limits on every request.

Input    MODEL: a bundle (rodin pack), a run, s3://..., or models:/rodin@champion; without one, the
         package's own weights, where it has them.
Output   POST /avatars?seed=3&format=png|glb|npz, GET /healthz, /metrics, and / for help.
Work     --replicas copies of the model on a Ray cluster (--address), or on a local Ray.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from infra import cluster
from pipelines.generate import open_model
from pipelines.options import UsageError, whole
from pipelines.serve_app import APP, Service, bind
from pipelines.tool import command


@dataclass(frozen=True)
class Serve:
    """What `rodin serve` takes."""

    # a bundle's folder, a run, s3://bucket/prefix or models:/rodin@champion; default: the package's
    model: Annotated[str, tyro.conf.Positional] = ""
    # network address to listen at; 0.0.0.0: all (put something with TLS and logins before it)
    host: str = "127.0.0.1"
    # TCP port
    port: int = 8000
    # a Ray cluster to serve on; default: the job's own, otherwise a local Ray is started
    address: str = ""
    # MLflow server or sqlite:///FILE of a registered model; default: MLFLOW_TRACKING_URI
    tracking: str = ""
    # how much is made at a time
    service: Annotated[Service, tyro.conf.OmitArgPrefixes] = field(default_factory=Service)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UsageError(f"--port is {self.port}; use 1 to 65535")


def work(args: Serve) -> None:
    model = args.model and whole(args.model)
    with open_model(model, args.tracking):
        pass  # what is wrong with it is said here, in one line
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((args.host, args.port))
        except OSError as error:
            raise UsageError(
                f"cannot listen at {args.host}:{args.port} ({error.strerror}); use another --port"
            ) from None
    with cluster.connect(args.address or None):
        from ray import serve

        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):  # after Ray has set its own
            signal.signal(name, lambda *_: stop.set())
        try:
            serve.start(http_options={"host": args.host, "port": args.port})
            serve.run(bind(model, args.tracking, args.service), name=APP)
            print(
                f"avatars at http://{args.host}:{args.port} (help there); Ctrl-C ends", flush=True
            )
            stop.wait()
        finally:
            serve.delete(APP)


def main(argv: Sequence[str] | None = None) -> None:
    command(Serve, "rodin serve", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
