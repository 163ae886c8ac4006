"""`rodin ablate` on a small run over analytic heads: trained once, judged, tabled, refused."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from pipelines import ablate, ablation_table
from pipelines.settings import digest
from pipelines.variants import ABLATION, PAIRS, VARIANTS, Pair, changed
from rodin.distances import FEATURES
from rodin.nn.unet import TriplaneUNet
from tests.pipelines import small_run

FAST = [
    "--preset", "tiny", "--base.train.total-samples", "8", "--upsampler.train.total-samples", "4",
    "--sample.count", "4", "--sample.portraits", "1", "--sample.generate.base.steps", "2",
    "--sample.render-samples", "24", "--seeds", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("ablations") / "run")


def words(run: Path, *more: str) -> list[str]:
    return ["--out", str(run), "--tracking", f"sqlite:///{run / 'mlflow.db'}", *FAST, *more]


def test_all_variants_are_meant_where_none_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ablate.main(["--out", str(run), "--tracking", "none", "--seeds", "1", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("-0:")[0] for line in lines] == [v.name for v in VARIANTS]


def test_variants_are_trained_judged_and_not_trained_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = words(run, "--only", "no-latent,no-augment")
    ablate.main(some)
    assert "3 trained, 0 were there" in capsys.readouterr().out
    folder = run / "ablation"
    labels = {path.parent.name for path in folder.glob("*/result.json")}
    assert labels == {"full-0", "no-latent-0", "no-augment-0"}, "full: the upsampler's"
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run / 'mlflow.db'}")
    table = (folder / "table.md").read_text()
    for label in labels:
        result = json.loads((folder / label / "result.json").read_text())
        kept = client.get_run(result["mlflow_run"])
        assert kept.info.status == "FINISHED" and result["mlflow_run"] in table
        for name, value in result["metrics"].items():
            assert kept.data.metrics[name] == pytest.approx(value), name
        assert {f"fd_{FEATURES}", "val_loss", "psnr_portraits"} <= set(result["metrics"])
        assert ("psnr_upsampled" in result["metrics"]) == (label == "no-augment-0")
    assert "latent against none" in table and "roll-out against" not in table
    assert (folder / "sheet.png").stat().st_size > 2000
    weights = folder / "full-0/models/base/model.safetensors"
    before = weights.stat().st_mtime_ns
    ablate.main(some)
    assert "0 trained, 3 were there" in capsys.readouterr().out
    assert weights.stat().st_mtime_ns == before


def test_a_stopped_training_goes_on_and_another_one_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ablate, "judged", stop)
        with pytest.raises(SystemExit):
            ablate.main(words(run, "--only", "stack"))
    model = run / "ablation/stack-0/models/base/model.json"
    before = model.stat().st_mtime_ns
    assert not (run / "ablation/stack-0/result.json").exists()
    ablate.main(words(run, "--only", "stack"))
    assert "1 trained" in capsys.readouterr().out
    assert model.stat().st_mtime_ns == before, "what was trained is judged as it is"
    with pytest.raises(SystemExit) as code:
        ablate.main(words(run, "--only", "stack", "--base.train.learning-rate", "0.5"))
    assert code.value.code == 2
    assert "learning_rate = 0.001, now it is 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--only", "stacks"], "--only stacks: unknown variant; choose from full, plain"),
        (["--seeds", "0"], "--seeds 0: use at least 1"),
    ],
)
def test_refusals(
    run: Path, more: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        ablate.main(words(run, *more))
    assert stop.value.code == 2 and text in capsys.readouterr().err


def test_members_of_a_pair_have_equal_parameters_and_other_settings() -> None:
    sizes = {}
    for variant in VARIANTS:
        net = TriplaneUNet(variant.stage(ABLATION, 0).model.unet)
        sizes[variant.name] = sum(p.numel() for p in net.parameters())
    for pair in PAIRS:
        assert sizes[pair.worse] == pytest.approx(sizes[pair.better], rel=0.03), pair.what
    stages = [v.stage(ABLATION, seed) for v in VARIANTS for seed in range(v.seeds)]
    assert len({digest(stage) for stage in stages}) == len(stages)
    assert changed(ABLATION, {"base.seed": 3, "sample.count": 9}).sample.count == 9
    with pytest.raises(TypeError, match="seeds"):
        changed(ABLATION, {"base.seeds": 3})


def test_gains_are_told_from_the_noise_between_seeds() -> None:
    metric = f"fd_{FEATURES}"
    column = next(c for c in ablation_table.COLUMNS if c.metric == metric)
    spread = {"plain": [2.0, 2.2, 2.4], "stack": [3.0, 3.4], "weak": [9.0]}
    results = [
        {
            "variant": name, "seed": seed, "metrics": {metric: value}, "mlflow_run": name,
            "parameters": 1000, "training_flops": 2e9, "cpu_seconds": 1.0,
        }
        for name, group in spread.items()
        for seed, value in enumerate(group)
    ]  # fmt: skip
    pooled = (
        (2 * statistics.variance([2.0, 2.2, 2.4]) + statistics.variance([3.0, 3.4])) / 3
    ) ** 0.5
    assert ablation_table.noise(results, column) == pytest.approx(pooled)
    value, error = ablation_table.gain(results, Pair("", "stack", "plain"), column) or (0, 0)
    assert value == pytest.approx(1.0), "a smaller distance is a gain"
    assert error == pytest.approx(pooled * (1 / 3 + 1 / 2) ** 0.5)
    assert ablation_table.gain(results, Pair("", "full", "plain"), column) is None
    text = ablation_table.markdown(VARIANTS, PAIRS, results)
    assert "| 2.200 ± 0.200 |" in text and "| 9.000 |" in text
    assert f"| +1.000 ({1 / error:+.1f}) |" in text
