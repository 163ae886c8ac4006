"""The planner: work that grows as it should, a pilot's speeds, machines and mistakes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from infra.plan import Unit
from infra.shards import Failure, Packed, commit_unit
from infra.storage import open_store
from infra.tracking import Tracking
from pipelines import plan, work
from pipelines.presets import PRESETS
from pipelines.settings import RunSettings, as_dict
from pipelines.throughput import Throughput


def rows(*words: str) -> dict[str, plan.Row]:
    asked, settings = plan.read(list(words))
    nodes = plan.NODES | {node.name: node for node in map(plan.node_of, asked.node)}
    return {row.stage: row for row in plan.rows_of(asked, settings, nodes)}


def test_the_papers_plan_prints_every_stage_and_what_it_rests_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan.main(["--preset", "paper", "--avatars", "100000"])
    text = capsys.readouterr().out
    for stage in ("render", "decoder", "fit", "train base", "train upsampler", "all"):
        assert f"\n| {stage} |" in text
    assert "100,000 x 300 views of 1024 px" in text and "ASSUMED" in text and "$" in text
    assert "TB |" in text


def test_twice_the_avatars_are_twice_the_work_but_for_the_models() -> None:
    one, two = (rows("--preset", "demo", "--avatars", str(n)) for n in (1000, 2000))
    for stage in ("render", "fit"):
        assert two[stage].money == pytest.approx(2 * one[stage].money)
        assert two[stage].bytes == pytest.approx(2 * one[stage].bytes)
    for stage in ("decoder", "train base", "train upsampler"):
        assert two[stage] == one[stage]


def test_more_machines_are_faster_for_the_same_money() -> None:
    one, four = (rows("--preset", "demo", "--fit-nodes", n) for n in ("1", "4"))
    assert four["fit"].hours == pytest.approx(one["fit"].hours / 4)
    assert four["fit"].money == pytest.approx(one["fit"].money)
    assert four["decoder"].hours == one["decoder"].hours  # one task


def test_settings_and_own_machines_count() -> None:
    base = rows("--preset", "demo")
    fast = rows("--preset", "demo", "fit.engine.steps=40")
    assert fast["fit"].device_hours == pytest.approx(base["fit"].device_hours / 10)
    own = rows("--preset", "demo", "--node", "mine:8:4:a100:1.5", "--fit-node", "mine")
    assert own["fit"].device_hours == pytest.approx(base["fit"].device_hours)
    assert own["fit"].hours == pytest.approx(2 * base["fit"].hours)
    cores = rows("--preset", "demo", "--fit-node", "cpu64")
    assert cores["fit"].device == "core"
    assert cores["fit"].device_hours > 100 * base["fit"].device_hours


def test_planes_are_counted_to_the_byte() -> None:
    settings = PRESETS["paper"]
    planes = 2 * 3 * 32 * 256 * 256
    views = 7 * work.view_bytes(1024)
    assert work.plane_bytes(settings) == pytest.approx(planes + views)


def pilot(tmp_path: Path, gpus: float) -> str:
    """A run whose sidecars say 100 s of a worker for each view set and 40 s for each plane."""
    demo = PRESETS["demo"]
    settings = dataclasses.replace(
        demo, resources=dataclasses.replace(demo.resources, cpus_per_worker=2.0, gpus_per_fit=gpus)
    )
    store = open_store(str(tmp_path))
    store.write("config.json", json.dumps({"settings": as_dict(settings)}).encode())
    for name, seconds in (("views", 300.0), ("triplanes", 120.0)):
        unit = Unit("train", 0, ("a", "b", "c", "d"))
        people: list[Packed | Failure] = [Packed(key, {"x": b"1"}) for key in "abc"]
        commit_unit(store.child(name), unit, [*people, Failure("d", "poison")], settings={})
        sidecar = json.loads(store.child(name).read(unit.sidecar))
        store.child(name).write(unit.sidecar, json.dumps({**sidecar, "seconds": seconds}).encode())
    return str(tmp_path)


def test_a_pilot_replaces_the_table(tmp_path: Path) -> None:
    demo: RunSettings = PRESETS["demo"]
    found = work.pilot(pilot(tmp_path, 0.0))
    assert work.render_seconds(demo, found) == pytest.approx(200)  # 100 s of two cores
    assert work.fit_seconds(demo, "", found) == pytest.approx(80)
    ratio = work.CORE_FIT / work.GPUS["a100"].fit
    assert work.fit_seconds(demo, "a100", found) == pytest.approx(80 * ratio)
    longer = dataclasses.replace(demo.fit.engine, steps=2 * demo.fit.engine.steps)
    twice = dataclasses.replace(demo, fit=dataclasses.replace(demo.fit, engine=longer))
    assert work.fit_seconds(twice, "", found) == pytest.approx(160)
    assert "measured in" in " ".join(work.assumptions({"a100"}, str(tmp_path), 0.3))


def test_a_pilot_on_a_gpu_is_taken_as_it_is(tmp_path: Path) -> None:
    found = work.pilot(pilot(tmp_path, 0.5))
    assert work.fit_seconds(PRESETS["demo"], "h100", found) == pytest.approx(20)  # half a GPU
    with pytest.raises(ValueError, match="--fit-node"):
        work.fit_seconds(PRESETS["demo"], "", found)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--fit-node", "abacus"], "unknown machine 'abacus'; one of cpu64"),
        (["--node", "mine:8:1"], "NAME:CORES:GPUS:KIND:PRICE"),
        (["--node", "mine:8:1:gtx:1"], "KIND is one of v100"),
        (["--node", "mine:0:0::1"], "cannot be negative"),
        (["--fit-nodes", "0"], "--fit-nodes is 0"),
        (["--loss", "1"], "--loss"),
        (["--measured", "/nowhere"], "is no run"),
        (["--preset", "huge"], "unknown preset"),
        (["--fit.engine.stepz", "3"], "did you mean fit.engine.steps"),
        (["--avatars", "many"], "avatars"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        plan.main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and text in error


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        plan.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in ("--measured", "NAME:CORES:GPUS:KIND:PRICE", "rodin plan --preset paper"):
        assert word in text


def test_throughput_counts_work_and_all_else() -> None:
    def result(**more: float) -> dict[str, Any]:
        times = {"work": 9.0, "waited": 0.5, "idle": 1.0, "seconds": 10.0}
        return {"samples": 4, "failures": 1, **times, **more}

    speed = Throughput(Tracking("none", "e", "r"))
    assert speed.line() == "" and speed.facts() == {}
    speed.take([result(), result(idle=0.0)])
    facts = speed.facts()
    assert speed.samples == 10 and speed.units == 2
    assert facts["busy"] == pytest.approx(18 / 21)
    assert facts["overhead"] == pytest.approx(3 / 18)
    assert facts["wait"] == pytest.approx(1 / 18)
    assert facts["device_seconds_per_avatar"] == pytest.approx(1.8)
    assert "avatars/hour" in speed.line() and "85.7%" in speed.line()
    speed.take([result()], again=True)  # fitted again: time, but nobody new
    assert speed.samples == 10 and speed.facts()["device_seconds_per_avatar"] == 2.7
