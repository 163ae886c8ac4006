"""Register a run's models in MLflow: decoder, base, upsampler, refiner, and what draws avatars.

Input    RUN with triplanes and models (pipelines.fit, pipelines.train); stages register by
         themselves what they finish, this is for a run that MLflow has missed.
Output   versions of rodin-decoder, rodin-base, rodin-upsampler, rodin-refiner and rodin, printed.
Again    files that are registered are not registered again; --champion makes theirs the version in
         use, models:/NAME@champion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from infra.registry import RegistryError, promote
from infra.storage import open_store
from infra.tracking import Tracking
from pipelines import models
from pipelines.context import default_tracking, whole_uri
from pipelines.options import whole
from pipelines.registry import finished, register_generator, register_part
from pipelines.tool import command


@dataclass(frozen=True)
class Register:
    """What `rodin register` takes."""

    # the run: a folder or s3://bucket/prefix
    run: Annotated[str, tyro.conf.Positional]
    # make these versions the ones in use: models:/NAME@champion
    champion: bool = False
    # MLflow server or sqlite:///FILE; default: MLFLOW_TRACKING_URI, else mlflow.db beside the run
    tracking: str = ""


def work(args: Register) -> None:
    address = whole(args.run)
    out = open_store(address)
    uri = whole_uri(args.tracking) or default_tracking(address)
    models.load_decoder(out.child("triplanes"))  # a run without one is refused before MLflow
    found = finished(out)
    name = address.rstrip("/").rpartition("/")[2]
    tracking = Tracking(uri, "rodin-register", f"{name}-register", tags={"out": address})
    try:
        versions = [register_part(out, part, tracking) for part in ("decoder", *found)]
        if set(models.NEEDED) <= set(found):
            versions.append(register_generator(out, tracking))
    finally:
        tracking.finish()
    for version in versions:
        if version is None:
            raise RegistryError("the registry is MLflow's: rodin register needs --tracking")
        if args.champion:
            promote(uri, version)
        print(f"{version.address}{' is the champion' if args.champion else ''}")


def main(argv: Sequence[str] | None = None) -> None:
    command(Register, "rodin register", work, argv, __doc__ or "")


if __name__ == "__main__":
    main()
