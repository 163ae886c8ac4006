"""Canonical JSON, hashes of settings, and the field in which two settings differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any, *, indent: int | None = None) -> bytes:
    """The one spelling of `value`: sorted keys, no NaN. Raises ValueError for what JSON lacks."""
    try:
        text = json.dumps(
            value,
            sort_keys=True,
            indent=indent,
            separators=(",", ":") if indent is None else (",", ": "),
            allow_nan=False,
            ensure_ascii=False,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"not plain JSON ({error}); use str, int, finite float, bool, None, list and dict"
        ) from None
    return text.encode()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def settings_hash(settings: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON of the settings; tuples and lists hash alike."""
    return sha256_hex(canonical_json(settings))


def first_difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """(dotted field, old value, new value) of the first field that differs, None when equal.

    A field that one side lacks is shown as the string "(absent)".
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(set(old) | set(new), key=str):
            inner = f"{path}.{name}" if path else str(name)
            found = first_difference(old.get(name, "(absent)"), new.get(name, "(absent)"), inner)
            if found is not None:
                return found
        return None
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        if list(old) == list(new):
            return None
        return path, list(old), list(new)
    return None if old == new else (path, old, new)
