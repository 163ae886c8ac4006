"""Command lines: presets, overrides, and errors of one line that name the fix."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipelines.context import whole_uri
from pipelines.options import Options, UsageError, entry, parse
from pipelines.presets import PRESETS
from pipelines.settings import RenderStage, RunSettings, digest


def read(*words: str) -> tuple[Options, RunSettings]:
    return parse("rodin fit", "text", ("fit", "resources"), words)


def test_a_preset_and_overrides_in_both_spellings() -> None:
    options, settings = read("--preset", "tiny", "--fit.engine.steps", "7", "fit.seed=0")
    assert options.out == str(Path("runs/tiny").absolute())
    assert settings.fit.engine.steps == 7
    assert settings.fit.seed == 0
    assert settings.fit.engine.resolution == PRESETS["tiny"].fit.engine.resolution
    assert settings.render == PRESETS["tiny"].render


def test_local_addresses_are_whole_for_workers_in_other_folders() -> None:
    options, _ = read("--out", "x/y", "--assets", "z")
    assert (options.out, options.assets) == (str(Path("x/y").absolute()), str(Path("z").absolute()))
    assert read("--out", "s3://bucket/x")[0].out == "s3://bucket/x"
    assert whole_uri("sqlite:///x.db") == f"sqlite:///{Path('x.db').absolute()}"
    assert whole_uri("sqlite:////x.db") == "sqlite:////x.db"
    assert whole_uri("http://server") == "http://server"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--fit.engine.step", "5"], "did you mean fit.engine.steps"),
        (["fit.engine.step=5"], "did you mean fit.engine.steps"),
        (["--preset", "huge"], "choose one of: tiny, demo"),
        (["fit.subjects=none"], "--fit.subjects"),
        (["--fit.subjects", "0"], "subjects=0"),
        (["--fit.engine.resolution", "1"], "resolution is 1"),
        (["--render.size", "64"], "unknown setting 'render.size'"),
    ],
)
def test_a_bad_word_is_one_line_that_names_it(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_exit_code_of_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        entry("fit", "text", ("fit",), lambda options, settings: None, ["--fit.sed", "3"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_help_teaches_every_knob(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in ("--preset", "--dry-run", "--fit.engine.smooth-weight", "--resources.workers"):
        assert name in text
    assert "where the settings start from" in text


def test_the_digest_sees_every_knob() -> None:
    stage = RenderStage()
    assert digest(stage) == digest(RenderStage())
    seen = {digest(stage)}
    for item in dataclasses.fields(stage):
        value = getattr(stage, item.name)
        if isinstance(value, str):
            changed = "varied"
        else:
            changed = not value if isinstance(value, bool) else value / 2 or 0.1
            changed = int(value + 1) if type(value) is int else changed
        seen.add(digest(dataclasses.replace(stage, **{item.name: changed})))
    assert len(seen) == 1 + len(dataclasses.fields(stage))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_together(name: str) -> None:
    """Channels and sizes of one stage are those of the next."""
    settings = PRESETS[name]
    engine, base, up = settings.fit.engine, settings.base.model, settings.upsampler.model
    assert base.unet.plane_channels == engine.decoder.channels == up.unet.plane_channels
    assert (base.size, up.low_size) == (engine.base_resolution, engine.base_resolution)
    assert up.size == engine.resolution
    assert settings.render.views - engine.held_out >= 4
