"""`rodin card` over a small run: its numbers are of no worth, its tables are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from infra.manifest import open_dataset
from infra.storage import open_store
from pipelines import card, prompts
from pipelines.judge import Judge
from pipelines.presets import TINY
from tests.pipelines import small_run


def test_a_card_has_its_tables_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run.make(tmp_path / "run", [f"{i:09d}" for i in range(12)])
    small_run.portraits(run, ["000000021", "000000022"], ["000000024", "000000025"])
    path = run / "models/prior/model.json"
    meta = json.loads(path.read_text())
    meta["identity"]["settings"]["views"] = "portraits/views"
    path.write_text(json.dumps(meta))
    monkeypatch.setattr(card, "SIDE", 32)
    monkeypatch.setattr(card, "SAMPLES", 16)
    monkeypatch.setattr(prompts, "TEXTS", {k: prompts.TEXTS[k] for k in ("sex", "hat")})
    monkeypatch.setattr(prompts, "SHOWN", prompts.SHOWN[:1])
    monkeypatch.setattr(prompts, "EDITS", {"Beard": prompts.EDITS["Beard"]})
    out = tmp_path / "card"
    card.main([str(run), "--out", str(out), "--avatars", "11", "--each", "1", "--edited", "2"])
    lines = (out / "model_card.md").read_text().splitlines()
    assert "| people | 12 trained with, 1 held out |" in lines
    assert "| people of whom there are portraits alone | 2 trained with, 2 held out |" in lines
    assert "| hat | too few people to learn it | | |" in lines
    (sex,) = [line for line in lines if line.startswith("| sex | man ")]
    # every class counts alike: what is made of no text has each half of the times on average
    assert sex.endswith("| 50% |")
    (edit,) = [line for line in lines if line.startswith("| with a full beard | ")]
    assert edit.count("%") == 3
    sheet = Image.open(out / "model_card.jpg")
    assert sheet.size == (10 * card.SIDE, 2 * card.SIDE)
    assert Image.open(out / "model_card_nearest.jpg").size == (10 * card.SIDE, 2 * card.SIDE + 32)
    assert (out / "model_card_texts.jpg").exists()


def test_a_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = tmp_path / "model_card.md"
    page.write_text("# Card\n<!-- measured -->\nold\n<!-- end -->\nLimits\n")
    head, tail = card.around(page)
    assert f"{head}new{tail}" == "# Card\n<!-- measured -->\nnew\n<!-- end -->\nLimits\n"
    page.write_text("# Card of somebody else\n")
    with pytest.raises(ValueError, match="has no lines <!-- measured --> and <!-- end -->"):
        card.around(page)


def test_a_run_without_attributes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_run, "facts", lambda key: {})
    run = small_run.make(tmp_path / "run")
    with pytest.raises(SystemExit) as stop:
        card.main([str(run), "--out", str(tmp_path / "card")])
    assert stop.value.code == 2
    assert "attributes cannot be learned from 12 images" in capsys.readouterr().err


def test_a_reader_learns_from_portraits_alone_too(tmp_path: Path) -> None:
    run = small_run.make(tmp_path / "run", [f"{i:09d}" for i in range(2)])
    small_run.portraits(run, [f"{i:09d}" for i in range(20, 30)], ["000000099"])
    out = open_store(str(run))
    judge = Judge(out, open_dataset(out.child("triplanes")), TINY.sample, 100, lambda text: None)
    with pytest.raises(ValueError, match="cannot be learned from 6 images"):
        judge.reader()
    portraits = open_dataset(out.child("portraits/views"))
    assert set(judge.reader(portraits).models["sex"].classes_) == {"man", "woman"}
    side = judge.train[0].real.shape[1]
    image, known = next(card.portraits_of(portraits, "val", side))
    assert image.shape == (side, side, 3) and float(image.max()) <= 1.001
    assert known["sex"] == "man" and float(image[0, 0].min()) > 0.99, "over white"


def test_attributes_of_portraits_are_those_of_their_people(tmp_path: Path) -> None:
    """Real views in place of avatars: what is read of them is what can be reached, others' not."""
    out = open_store(str(small_run.make(tmp_path / "run", [f"{i:09d}" for i in range(12)])))
    shards = open_dataset(out.child("triplanes"))
    judge = Judge(out, shards, TINY.sample, 100, lambda text: None)
    judge.held_out = judge.train[:6]  # men and women take turns: the next one is of the other sex
    found = judge.attributes([who.real for who in judge.held_out])
    # two thirds of what it learned from are renders of planes that are noise here
    assert found["attributes_of_portraits"] == found["attributes_of_real_portraits"] >= 0.8
    assert found["attributes_of_other_portraits"] <= 0.2
    judge.train = judge.train[:2]
    assert judge.attributes([who.real for who in judge.held_out]) == {}
