"""A run's models in MLflow's registry, and the registry's models where a run is asked for.

    rodin-decoder rodin-base rodin-upsampler rodin-refiner    weights, each with its decoder
    rodin                                                      all of them; `mlflow models serve`

Every version says in its tags what it was made from: the data set's digest, the decoder's, the code
and the run. Stages register what they finish; `rodin register RUN` what MLflow has missed.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra import registry
from infra.canon import settings_hash
from infra.manifest import open_dataset
from infra.registry import RegistryError, Version
from infra.storage import StorageError, Store, open_store
from infra.tracking import Tracking
from pipelines import models
from pipelines.context import code_version, default_tracking, sample_stage, whole_uri
from pipelines.options import whole
from pipelines.settings import as_dict

GENERATOR = "rodin"  # the entry that draws avatars; parts are named `rodin-PART`
DECODER = "triplanes/decoder.safetensors"
# settings of sampling that say which avatars and sheets are made, not how
WHICH = ("models", "count", "first_seed", "portraits", "frames", "shard_size")
_FILES = {"base": ("model.safetensors", "latents.safetensors"), "": ("model.safetensors",)}
# What drawing an avatar imports; the code itself travels with the model.
_PACKAGES = (
    "torch", "numpy", "einops", "safetensors", "pillow", "pydantic", "mlflow", "tyro", "pyarrow",
    "ray", "scipy",
)  # fmt: skip


def files_of(part: str) -> tuple[str, ...]:
    """Names within a run of what makes up a part, the decoder among it; model.json last."""
    if part == "decoder":
        return (DECODER,)
    names = (*_FILES.get(part, _FILES[""]), "model.json")
    return (DECODER, *(f"models/{part}/{name}" for name in names))


def register_part(out: Store, part: str, tracking: Tracking) -> Version | None:
    """Registers the decoder, base, upsampler or refiner of a run; None while tracking is off."""
    if tracking.disabled:
        return None
    return _register(out, f"rodin-{part}", files_of(part), [part], tracking)


def register_generator(out: Store, tracking: Tracking) -> Version | None:
    """Registers what draws a run's avatars, in a form that MLflow serves."""
    if tracking.disabled:
        return None
    parts = finished(out)
    names = sorted({name for part in parts for name in files_of(part)})
    return _register(out, GENERATOR, names, parts, tracking)


def finished(out: Store) -> list[str]:
    """The models of a run that are trained to their end."""
    return [part for part in models.KINDS if models.read_meta(out.child(f"models/{part}"))]


def announce(register: Any, out: Store, *rest: Any) -> None:
    """Calls `register(out, ...)` at the end of a stage, whose work a refusal must not undo."""
    try:
        version = register(out, *rest)
    except (RegistryError, StorageError, OSError) as error:
        print(f"{error}: rodin register {out.uri}", file=sys.stderr)
        return
    if version is not None:
        print(f"registered: {version.address}")


def _register(
    out: Store, name: str, files: Sequence[str], parts: Sequence[str], tracking: Tracking
) -> Version:
    with tempfile.TemporaryDirectory(prefix="rodin-model-") as scratch:
        folder = Path(scratch) / Path(registry.INSIDE).name
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            out.get_file(file, folder / file)
        served = name == GENERATOR
        if served:  # how the run samples, and no more of its config: that is not of the model
            stage = {k: v for k, v in as_dict(sample_stage(out)).items() if k not in WHICH}
            (folder / "config.json").write_text(json.dumps({"settings": {"sample": stage}}))
        tags = _lineage(out, parts) | {"out": out.uri, "code": code_version()}
        return registry.register(tracking, name, folder, tags, pack=_pack if served else None)


def _lineage(out: Store, parts: Sequence[str]) -> dict[str, str]:
    """Data set, decoder and settings that decided the parts of a run; the decoder's are views."""
    tags: dict[str, str] = {"decoder": models.load_decoder(out.child("triplanes")).digest()}
    for part in parts:
        meta = models.read_meta(out.child(f"models/{part}"))
        if meta is not None:
            tags |= {k: str(v) for k, v in meta["identity"]["data"].items()}
            tags[f"model_{part}"] = settings_hash(meta["identity"])
        elif part == "decoder":
            tags["dataset"] = str(open_dataset(out.child("triplanes")).info["lineage"].get("views"))
    return tags


def _pack(folder: Path, to: Path) -> None:
    """What MLflow serves: the weights, generator.py, and the code that it imports."""
    import mlflow

    here = Path(__file__).parent
    mlflow.pyfunc.save_model(
        path=str(to),
        python_model=str(here / "generator.py"),
        artifacts={"run": str(folder)},
        code_paths=[str(here.parent / package) for package in ("rodin", "infra", "pipelines")],
        pip_requirements=[f"{name}=={public_version(name)}" for name in _PACKAGES],
    )


def public_version(package: str) -> str:
    """A package's version without what tells its build (`+cpu`), which no index has."""
    return importlib.metadata.version(package).partition("+")[0]


@contextmanager
def opened(address: str, tracking: str = "") -> Iterator[tuple[Store, Mapping[str, str]]]:
    """A run, or a model of the registry laid out as one, and the latter's tags.

    The registry's files are copied to a folder that lasts as long as the block. Raises
    RegistryError.
    """
    if not registry.is_registered(address):
        yield open_store(whole(address)), {}
        return
    uri = whole_uri(tracking) or default_tracking(address)
    version = registry.find(address, uri)
    print(f"{address}: version {version.number} of {version.name}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="rodin-model-") as folder:
        yield registry.fetch(version, uri, Path(folder)), version.tags


def adopt(out: Store, address: str, tracking: str) -> None:
    """Copies a registered model into a run that has none, as if it had been trained there.

    Nothing happens where the run has these models already. Raises RegistryError where it has others
    or the address names but a part.
    """
    with opened(address, tracking) as (found, _):
        lacking = [part for part in models.NEEDED if part not in finished(found)]
        if lacking:
            raise RegistryError(
                f"{address} has no {lacking[0]}; sampling takes models:/{GENERATOR}"
            )
        files = sorted(found.list(), key=lambda name: name.endswith("model.json"))  # seals last
        for name in files:
            if name == "config.json":
                continue
            data = found.read(name)
            if not out.exists(name):
                out.write(name, data)
            elif out.read(name) != data:
                raise RegistryError(
                    f"{out.location(name)} is not that of {address}; use another --out"
                )
