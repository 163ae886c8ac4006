"""A long inspection that was stopped goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blender.notes import Notes, code_digest
from blender.validate import Validate, validate


def picture(level: int) -> np.ndarray:
    return np.full((4, 4, 3), level, np.uint8)


def test_what_was_seen_is_known_again(tmp_path: Path) -> None:
    notes = Notes(tmp_path, "a")
    notes.add(7, ["eyes hidden"], picture(7))
    notes.add(3, ["could not be built (x)"], None)
    again = Notes(tmp_path, "a")
    assert again.defects == {7: ["eyes hidden"], 3: ["could not be built (x)"]}
    shown = again.portraits([3, 7, 9])
    assert list(shown) == [7] and (shown[7] == 7).all()


def test_a_person_that_a_kill_cut_short_is_drawn_again(tmp_path: Path) -> None:
    notes = Notes(tmp_path, "a")
    for seed in (1, 2, 3):
        notes.add(seed, [], picture(seed))
    (tmp_path / "000002.png").unlink()
    text = notes.path.read_text()
    notes.path.write_text(text[:-9])
    again = Notes(tmp_path, "a")
    assert list(again.defects) == [1]
    again.add(3, [], picture(3))
    assert list(Notes(tmp_path, "a").defects) == [1, 3]


def test_other_code_begins_anew(tmp_path: Path) -> None:
    Notes(tmp_path, "a").add(1, [], picture(1))
    assert Notes(tmp_path, "b").defects == {}
    assert Notes(tmp_path, "a").defects == {}
    assert len(code_digest()) == 64


def test_validate_draws_only_who_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The people themselves are drawn in test_validate; here it is about who is asked for."""
    drawn: list[int] = []
    stops = [6]

    def instead(function: Any, seeds: list[int], *rest: Any, workers: int) -> Iterator[Any]:
        for seed in seeds:
            drawn.append(seed)
            if stops == [seed]:
                stops.clear()
                raise KeyboardInterrupt
            yield seed, {"defects": [], "portrait": picture(9), "process": 1, "memory_mb": 5.0}

    monkeypatch.setattr("blender.validate.over_seeds", instead)
    args = Validate("4,5,6,8", out=str(tmp_path), size=4)
    with pytest.raises(KeyboardInterrupt):
        validate(args)
    assert drawn == [4, 5, 6]
    assert validate(args) == {4: [], 5: [], 6: [], 8: []}
    assert drawn == [4, 5, 6, 6, 8]
    assert len(np.load(tmp_path / "portraits.npz")["rgb"]) == 4
    assert validate(args) and len(drawn) == 5
    assert "0 of 4" in capsys.readouterr().out
