"""A shard of people through a fitting worker: poison, retries, second fits, decoding ahead."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infra.canon import canonical_json
from infra.manifest import Dataset, finalize, open_dataset
from infra.plan import Unit
from infra.shards import Failure, KeptSamples, Packed, commit_unit, pending_units, read_sidecar
from infra.storage import open_store
from pipelines import export, fit, quality, report
from pipelines.context import open_context
from pipelines.fit_worker import FitWorker, ShardReplaced, better, seed_of
from pipelines.options import Options
from pipelines.settings import FitStage, RunSettings
from pipelines.views_ahead import decoded
from rodin import record
from rodin.codecs import encode_webp
from rodin.decoder import DecoderConfig
from rodin.fit import FitSettings, fit_decoder
from tests.rodin import scenes

ENGINE = FitSettings(
    decoder=DecoderConfig(channels=8, hidden=24), resolution=32, base_resolution=16, held_out=2,
    steps=25, decoder_steps=40, subjects_per_step=2, rays_per_step=256, occupancy_size=32,
    render_samples=32,
)  # fmt: skip
ROOT = Path(__file__).parents[2]
STAGE = FitStage(engine=ENGINE, prefetch=0, batch=2, views_kept=2)
POISON = {
    "000000001": "does not look at the box",
    "000000002": "all transparent",
    "000000003": "render at least 4",
    "000000004": "view001.webp",
    "000000005": "damaged",
}
KEYS = tuple(f"{i:09d}" for i in range(8))
UNIT = Unit("train", 0, KEYS)
NOISE = "000000006"


def person(key: str) -> dict[str, bytes]:
    """The members of a person's views; some of them are spoilt."""
    views = scenes.views(seed=int(key), count=8, size=32, samples=2)
    matrices, rgba = views.camera_to_world.copy(), views.rgba.copy()
    if key == "000000001":
        matrices[:, :3, 1:3] *= -1  # OpenGL's axes
    if key == "000000002":
        rgba[4, ..., 3] = 0
    if key == NOISE:  # every view says something else
        noise = np.random.default_rng(0).integers(0, 256, rgba[..., :3].shape, np.uint8)
        rgba[..., :3] = noise
    count = 3 if key == "000000003" else len(rgba)
    sample = record.ViewsSample(
        key, {"seed": int(key)}, matrices[:count], views.intrinsics[:count], rgba[:count],
        None if views.depth is None else views.depth[:count],
    )  # fmt: skip
    members = record.encode(sample)
    if key == "000000004":
        members["view001.webp"] = encode_webp(rgba[0, :16, :16])
    return members


@pytest.fixture(scope="module")
def decoder() -> Any:
    return fit_decoder(
        [scenes.views(seed=s, count=8, size=32, samples=2) for s in (0, 7)], ENGINE, seed=0
    )[0]


@pytest.fixture
def run(tmp_path: Path, decoder: Any) -> Path:
    """A run with views and a decoder, ready to fit; person 5's bytes are damaged in the shard."""
    store = open_store(str(tmp_path)).child("views")
    commit_unit(store, UNIT, [Packed(key, person(key)) for key in KEYS], settings={})
    finalize(store, dataset="views", units=[UNIT], settings={}, lineage={"val_fraction": 0.0})
    row = open_dataset(store).row("000000005")
    shard = tmp_path / "views" / row["shard"]
    data = bytearray(shard.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 255
    shard.write_bytes(data)
    (tmp_path / "triplanes").mkdir()
    decoder.save(tmp_path / "triplanes/decoder.safetensors")
    return tmp_path


def worker(run: Path, decoder: Any, **more: Any) -> tuple[FitWorker, dict[str, Any]]:
    views = open_dataset(open_store(str(run)).child("views"))
    identity = fit.fit_identity(STAGE, decoder.digest(), views)
    stage = dataclasses.replace(STAGE, prefetch=more.pop("prefetch", 0))
    return FitWorker(str(run), views.store.uri, stage, identity, 1, **more), identity


def test_poison_is_recorded_and_the_shard_goes_on(run: Path, decoder: Any) -> None:
    fitter, identity = worker(run, decoder)
    done = fitter(UNIT)
    assert (done["samples"], done["failures"]) == (3, 5)
    assert 0 < done["work"] <= done["seconds"] and done["idle"] == 0
    store = open_store(str(run)).child("triplanes")
    sidecar = read_sidecar(store, UNIT)
    assert sidecar is not None
    reasons = {item["key"]: item["reason"] for item in sidecar["failures"]}
    assert reasons.keys() == POISON.keys()
    for key, text in POISON.items():
        assert text in reasons[key], reasons[key]
    for row in sidecar["rows"]:
        wanted = {"psnr", "ssim", "alpha_iou", "depth_error", "features", "psnr_base"}
        assert wanted | {"outlier", "refits"} == row["metrics"].keys()
    check_retry(run, decoder, store, identity)


def check_retry(run: Path, decoder: Any, store: Any, identity: dict[str, Any]) -> None:
    """--retry-failed: the one whose bytes were mended is fitted, those who were stay the same."""
    assert pending_units(store, [UNIT], identity) == []
    assert pending_units(store, [UNIT], identity, retry_failed=True) == [UNIT]
    before = read_sidecar(store, UNIT)
    views = open_dataset(open_store(str(run)).child("views"))
    row = views.row("000000005")
    shard = run / "views" / row["shard"]
    data = bytearray(shard.read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 255
    shard.write_bytes(data)
    fitter, _ = worker(run, decoder)
    done = fitter(UNIT)
    assert before is not None
    assert (done["samples"], done["replaced"]) == (4, before["shard"]["name"])
    after = read_sidecar(store, UNIT)
    assert after is not None
    kept = {item["key"]: item["sha256"] for item in after["rows"]}
    assert all(kept[item["key"]] == item["sha256"] for item in before["rows"])


def test_outliers_are_fitted_again_and_marked(run: Path, decoder: Any) -> None:
    fitter, identity = worker(run, decoder)
    fitter(UNIT)
    store = open_store(str(run)).child("triplanes")
    rows = fit.measured_rows(store, [UNIT])
    psnr = {row["key"]: row["metric_psnr"] for row in rows}
    assert min(psnr, key=lambda key: psnr[key]) == NOISE
    low = sorted(psnr.values())[0] + 0.05
    stage = dataclasses.replace(STAGE, outlier_psnr=low)
    again, limit = fit.to_refit(stage, rows)
    assert again == {UNIT.id: [NOISE]} and limit == low
    worker(run, decoder, refit=again, limit=99.0)[0](UNIT)
    rows = fit.measured_rows(store, [UNIT])
    # A worker that died after its commit, before it could say so: its unit comes once more.
    worker(run, decoder, refit=again, limit=99.0)[0](UNIT)
    assert fit.measured_rows(store, [UNIT]) == rows
    marks = {row["key"]: (row["metric_refits"], row["metric_outlier"]) for row in rows}
    assert marks == {"000000000": (0, 0), NOISE: (1, 1), "000000007": (0, 0)}
    noise = next(row for row in rows if row["key"] == NOISE)
    assert noise["metric_psnr"] >= noise["metric_psnr_first"] == psnr[NOISE]
    assert fit.to_refit(stage, rows)[0] == {}  # once
    sidecar = read_sidecar(store, UNIT)
    assert sidecar is not None
    info = finalize(store, dataset="triplanes", units=[UNIT], settings=identity)
    sample = record.decode_triplane(Dataset(store, info).read(NOISE))
    assert sample.meta["metrics"]["outlier"] == 1.0
    files = fit.quality_files(store, rows, limit)
    page = files["quality.html"].decode()
    assert page.count("data:image/png") == 4 and "worst decile" in page
    assert f"<td>{NOISE}</td><td>{psnr[NOISE]:.2f}</td>" in page and ">marked<" in page
    assert page.index("<td>psnr</td>") < page.index("<td>features</td>") and "not LPIPS" in page
    assert files["worst.png"].startswith(b"\x89PNG")
    check_report(run, files)
    check_export(run)


def check_report(run: Path, files: dict[str, bytes]) -> None:
    """The run's report links the page of the fits, once there is one."""
    context = open_context(Options(out=str(run), tracking="none"), RunSettings())
    assert "link" not in report.fits(context)
    for name, data in files.items():
        context.child("triplanes").write(name, data)
    assert (run / report.fits(context)["link"]["href"]).read_bytes() == files["quality.html"]


def test_a_lost_first_fit_is_made_again_before_the_second(run: Path, decoder: Any) -> None:
    """Another driver deleted or damaged the shard in between: the result must not depend on it."""
    store = open_store(str(run)).child("triplanes")
    again = {UNIT.id: ["000000000"]}
    worker(run, decoder)[0](UNIT)
    sidecar = read_sidecar(store, UNIT)
    assert sidecar is not None
    first = store.read(sidecar["shard"]["name"])
    worker(run, decoder, refit=again, limit=99.0)[0](UNIT)
    rows = fit.measured_rows(store, [UNIT])
    store.write(UNIT.sidecar, canonical_json(sidecar))
    store.write(sidecar["shard"]["name"], first[:3000])
    worker(run, decoder, refit=again, limit=99.0)[0](UNIT)
    assert fit.measured_rows(store, [UNIT]) == rows


def test_views_damaged_since_the_first_fit_leave_it_as_it_is(run: Path, decoder: Any) -> None:
    fitter, identity = worker(run, decoder, refit={UNIT.id: ["000000005"]}, limit=99.0)
    store = open_store(str(run)).child("triplanes")
    first = Packed("000000005", {"meta.json": b'{"metrics": {}}'}, {"psnr": 20.0, "refits": 0.0})
    kept = KeptSamples(store, UNIT, identity)
    kept.get = lambda key: first  # type: ignore[method-assign]
    samples = decoded(fitter.views, ["000000005"], 0)
    found = fitter.group(["000000005"], samples, kept, {"000000005"})["000000005"]
    assert isinstance(found, Packed) and found.metrics["outlier"] == found.metrics["refits"] == 1


def test_a_slow_worker_does_not_undo_what_came_after_it(run: Path, decoder: Any) -> None:
    store = open_store(str(run)).child("triplanes")
    slow, identity = worker(run, decoder)
    people = slow.people(UNIT, KeptSamples(store, UNIT, identity), set())
    watched = slow.watched(people, UNIT, read_sidecar(store, UNIT))
    next(watched)
    worker(run, decoder)[0](UNIT)
    pictures = previews(run)
    assert set(pictures) == set(keys_in(store))
    for path in (run / "triplanes/previews").iterdir():
        path.write_bytes(b"of what came after")
    with pytest.raises(ShardReplaced, match="by another worker") as caught:
        list(watched)
    assert caught.value.transient
    assert set(previews(run).values()) == {b"of what came after"}


def test_previews_are_of_the_fits_that_were_kept(run: Path, decoder: Any) -> None:
    """A second fit that is no better leaves the preview of the first."""
    store = open_store(str(run)).child("triplanes")
    worker(run, decoder)[0](UNIT)
    first = previews(run)
    fitter, identity = worker(run, decoder)
    kept = KeptSamples(store, UNIT, identity)
    old, key = {key: kept.get(key) for key in first}, min(first)
    found = fitter.fit([record.decode_views(fitter.views.read(key))], True)[0]
    assert isinstance(found, Packed) and old[key] is not None
    assert previews(run) == first  # nothing before the commit
    for chosen in (old[key], found):
        drawn = dict(fitter.drawn)

        def people(chosen: Any = chosen, drawn: Any = drawn) -> Any:
            fitter.drawn.update(drawn)
            yield chosen

        list(fitter.watched(people(), UNIT, read_sidecar(store, UNIT)))
        assert (previews(run)[key] == first[key]) is (chosen is old[key])


def previews(run: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (run / "triplanes/previews").iterdir()}


def keys_in(store: Any) -> list[str]:
    sidecar = read_sidecar(store, UNIT)
    assert sidecar is not None
    return [row["key"] for row in sidecar["rows"]]


def check_export(run: Path) -> None:
    """`rodin export` takes a person out of a data set by its key."""
    words = [str(run / "triplanes"), "--out", str(run / "noise.png")]
    export.main([*words, "--key", NOISE, "--size", "24", "--count", "2", "--samples", "16"])
    with Image.open(run / "noise.png") as picture:
        assert picture.size == (48, 24)
    with pytest.raises(SystemExit):
        export.main(words)


def test_a_worse_second_fit_is_not_kept() -> None:
    meta = json.dumps({"metrics": {"psnr": 20.0}}).encode()
    first = Packed("a", {"meta.json": meta, "x": b"1"}, {"psnr": 20.0})
    second = Packed("a", {"meta.json": meta, "x": b"2"}, {"psnr": 22.0})
    worse = Packed("a", {"meta.json": meta, "x": b"3"}, {"psnr": 10.0})
    assert better(first, second, 21.0).members["x"] == b"2"
    assert better(first, second, 21.0).metrics["outlier"] == 0
    for bad in (worse, Failure("a", "diverged")):
        kept = better(first, bad, 21.0)
        assert kept.members["x"] == b"1" and kept.metrics["outlier"] == 1
        assert kept.metrics["psnr_first"] == kept.metrics["psnr"] == 20
        assert json.loads(kept.members["meta.json"])["metrics"] == kept.metrics


def test_who_decodes_does_not_wait_for_torch() -> None:
    """Its import takes longer than the pictures of a person."""
    code = "import sys, pipelines.views_ahead; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
    wrong = "import sys, pipelines.fit_worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", wrong], check=False, cwd=ROOT).returncode == 1


def test_views_decoded_ahead_are_the_same_in_order(run: Path, ray_local: None) -> None:
    views = open_dataset(open_store(str(run)).child("views"))
    keys = KEYS[2:7]
    slow = list(decoded(views, keys, 0))
    fast = list(decoded(views, keys, 1))
    assert [item.key for item in fast] == list(keys)
    for a, b in zip(slow, fast, strict=True):
        if isinstance(a, Failure):
            assert a == b
        else:
            assert isinstance(b, record.ViewsSample)
            assert np.array_equal(a.rgba, b.rgba) and np.array_equal(a.depth, b.depth)
    assert {item.key for item in slow if isinstance(item, Failure)} == {"000000004", "000000005"}


def test_the_rule_for_outliers() -> None:
    values = [30.0, 30.5, 31.0, 29.5, 30.2, 30.1, 29.9, 30.4]
    limit = quality.poor_limit(values, low=15.0, deviations=4.0)
    assert 27 < limit < 29
    assert quality.poor_limit(values[:3], low=15.0, deviations=4.0) == 15.0  # too few to tell
    assert quality.poor_limit(values, low=29.0, deviations=4.0) == 29.0
    assert quality.poor_limit([30.0] * 9, low=15.0, deviations=4.0) == 28.0  # equal is no outlier


def test_seeds_of_keys() -> None:
    assert seed_of("000000012") == 12
    assert seed_of("lego") == seed_of("lego") != seed_of("ship")
