"""The whole chain: render, fit, train base, upsampler, refiner and prior, sample, report.

Input    nothing but the settings.
Output   --out: views, tri-planes, models, samples and report.html; MLflow runs beside it.
Work     the stages in turn on one Ray session.
Again    a second run does only what remains, in every stage; killed at any time, it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pipelines import fit, render, report, sample, train
from pipelines.context import one_ray, open_context
from pipelines.options import Options, entry
from pipelines.settings import RunSettings

SECTIONS = ("render", "fit", "base", "upsampler", "refiner", "prior", "sample", "resources")


def launch(options: Options, settings: RunSettings) -> None:
    context = open_context(options, settings)
    begin = time.perf_counter()

    def stages() -> None:
        render.launch(options, settings)
        fit.launch(options, settings)
        for name in train.chain(settings):
            train.launch_stage(name, options, settings)
        sample.launch(options, settings)

    if options.dry_run:
        stages()
        return
    before = len(context.stats())
    with one_ray():
        stages()
    if len(context.stats()) == before and context.store.exists("report.html"):
        print(f"run: nothing to do; the report is {context.store.location('report.html')}")
        return
    where = report.write(context)
    print(f"run: done in {(time.perf_counter() - begin) / 60:.1f} minutes")
    print(f"report: {where}")
    print(f"MLflow: {context.ui_command()}")


def main(argv: Sequence[str] | None = None) -> None:
    entry("run", __doc__ or "", SECTIONS, launch, argv)


if __name__ == "__main__":
    main()
