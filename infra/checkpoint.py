"""Checkpoints that survive a kill at any moment and load without unpickling code.

The data goes under a name made of the samples seen and its content; `latest.json` names it, with
its hash, last. The one before stays, in case the newest is damaged.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.canon import canonical_json
from infra.storage import NotFoundError, Store

LATEST = "latest.json"
_NAME = re.compile(r"\d{12}-([0-9a-f]{16})\.pt")
_PLAIN = (bool, int, float, str, bytes, type(None))


class CheckpointError(ValueError):
    """No checkpoint can be used although there are some; one line with the fix."""


def save_checkpoint(
    store: Store, state: Mapping[str, Any], meta: Mapping[str, Any], keep: int = 2
) -> str:
    """Write a checkpoint and forget all but the `keep` newest; returns its key.

    `state` nests dicts, lists and tuples of tensors and plain values; `meta` is plain JSON with
    `samples`, the count of samples seen. Raises ValueError for anything that could not be loaded
    again without unpickling code. One writer at a time (rank 0).
    """
    import torch

    samples = meta.get("samples")
    if type(samples) is not int or samples < 0:
        raise ValueError(f"meta['samples'] is {samples!r}; pass the samples seen, an int >= 0")
    if keep < 1:
        raise ValueError(f"keep {keep} is under 1")
    _check_plain(state, "state")
    note = json.loads(canonical_json(dict(meta)))
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
        path = Path(folder) / "state.pt"
        torch.save({"state": dict(state), "meta": note}, path)
        digest = _file_hash(path)
        name = f"{samples:012d}-{digest[:16]}.pt"
        store.put_file(path, name)
        size = path.stat().st_size
    entry = {"name": name, "sha256": digest, "size": size, "samples": samples, "meta": note}
    older = [old for old in _entries(store) if old["name"] != name]
    entries = [entry, *older][:keep]
    store.write(LATEST, canonical_json({"version": 1, "entries": entries}, indent=1) + b"\n")
    kept = {each["name"] for each in entries}
    for key in list(store.list()):
        if _NAME.fullmatch(key) and key not in kept:
            store.delete(key)
    return name


def load_checkpoint(
    store: Store, map_location: Any = "cpu"
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(state, meta) of the newest whole checkpoint, None where there is none at all.

    A damaged one is named on stderr and the one before is used. Raises CheckpointError when all
    are damaged: starting over is a decision for a person.
    """
    names = [entry["name"] for entry in _entries(store)]
    names += sorted(
        (k for k in store.list() if _NAME.fullmatch(k) and k not in names), reverse=True
    )
    for name in names:
        try:
            return _load(store, name, map_location)
        except (NotFoundError, ValueError) as error:
            print(f"checkpoint {store.location(name)}: {error}; trying older", file=sys.stderr)
    if names:
        raise CheckpointError(
            f"{store.uri}: none of {len(names)} checkpoints can be read; "
            "delete this folder to start the training over"
        )
    return None


def _load(store: Store, name: str, map_location: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch

    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError("has a name that this code does not write")
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
        path = Path(folder) / "state.pt"
        store.get_file(name, path)
        found = _file_hash(path)[:16]
        if found != match[1]:
            raise ValueError(f"damaged, its hash begins with {found}")
        try:
            content = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:  # pickle, zip and torch raise many classes
            raise ValueError(f"refused ({type(error).__name__})") from None
    if not isinstance(content, dict) or set(content) != {"state", "meta"}:
        raise ValueError("is no checkpoint of ours")
    return content["state"], content["meta"]


def _entries(store: Store) -> list[dict[str, Any]]:
    """What latest.json lists, newest first; nothing where it is missing or damaged."""
    try:
        content = json.loads(store.read(LATEST, 0, 16 << 20))
        entries = [entry for entry in content["entries"] if _NAME.fullmatch(entry["name"])]
    except NotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        print(f"{store.location(LATEST)}: damaged; looking at the files", file=sys.stderr)
        return []
    return entries


def _check_plain(value: Any, path: str) -> None:
    """Only what `torch.load(weights_only=True)` takes; names the first that it would not."""
    import torch

    if type(value) in _PLAIN or isinstance(value, torch.Tensor):
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if type(key) not in (str, int):
                raise ValueError(f"{path} has a key {key!r}; use str or int keys")
            _check_plain(inner, f"{path}[{key!r}]")
        return
    if type(value) in (list, tuple):
        for index, inner in enumerate(value):
            _check_plain(inner, f"{path}[{index}]")
        return
    raise ValueError(
        f"{path} is a {type(value).__name__}, which loads only by unpickling code; "
        "keep tensors and plain values"
    )


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
