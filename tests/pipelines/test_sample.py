"""Sampled views, their sheets and the report, with a refiner and without one."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import pictures, report, sample, train
from pipelines.context import Context, open_context
from pipelines.options import Options
from pipelines.presets import TINY
from pipelines.settings import PriorStage, RefinerStage
from tests.pipelines import small_run

KEYS = ("seed-000000", f"portrait-{small_run.VAL[0]}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("runs") / "small")


def context_of(run: Path) -> Context:
    return open_context(Options(preset="tiny", out=str(run), tracking="none"), TINY)


def drawn(run: Path, folder: str) -> Path:
    """The folder of two avatars, drawn in this process."""
    worker = sample.SampleWorker(str(run), folder, TINY.sample, 1)
    assert worker(sample.Batch("000000", KEYS))["samples"] == 2
    return run / folder


def test_a_trained_refiner_shows_beside_the_volume(run: Path, tmp_path: Path) -> None:
    refined = drawn(run, "samples/with")
    without = tmp_path / "without"
    shutil.copytree(run, without)
    shutil.rmtree(without / "models/refiner")
    plain = drawn(without, "samples/without")
    side = TINY.sample.size
    for key in KEYS:
        views = pictures.from_png((refined / key / "views.png").read_bytes())
        assert np.array_equal(views, pictures.from_png((plain / key / "views.png").read_bytes()))
        fine = pictures.from_png((refined / key / "refined.png").read_bytes())
        assert fine.shape == views.shape == (side, side * TINY.sample.views, 3)
        assert not np.array_equal(fine, views)
        assert not (plain / key / "refined.png").exists()
    for folder, place, wanted in (
        (run, "samples/with", {"seeds.png", "portraits.png", "refined.png"}),
        (without, "samples/without", {"seeds.png", "portraits.png"}),
    ):
        context = context_of(folder)
        store = context.child(place)
        made = sample.sheets(context, store, KEYS, refined=folder == run)
        assert set(made) == wanted
        for name, picture in made.items():
            store.write(name, picture)
        context.write_json("samples/latest.json", {"folder": place})
        report.write(context)
        page = (folder / "report.html").read_text()
        assert page.count("without the refiner (left)") == 2 * (folder == run)
    sheet = pictures.from_png((refined / "refined.png").read_bytes())
    assert sheet.shape == (2 * (side + 16), 2 * side * TINY.sample.views, 3)


def test_models_decide_the_folder(run: Path) -> None:
    """Avatars drawn before the refiner was trained are others: they lack its views."""
    context = context_of(run)
    metas: dict[str, Any] = {
        name: {"identity": {"name": name}} for name in ("base", "upsampler", "refiner")
    }
    whole = sample.identity(context, metas)
    other = metas | {"base": metas["base"] | {"width": 0.07}}
    assert sample.identity(context, other) != whole, "another average of the same training"
    del metas["refiner"]
    assert sample.identity(context, metas) != whole


def test_a_preset_says_what_is_trained() -> None:
    assert train.chain(TINY) == ("base", "upsampler", "refiner", "prior")
    off = dataclasses.replace(TINY, refiner=RefinerStage())
    assert train.chain(off) == ("base", "upsampler", "prior")
    off = dataclasses.replace(off, prior=PriorStage(in_chain=False))
    assert train.chain(off) == ("base", "upsampler")
