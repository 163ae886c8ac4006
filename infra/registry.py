"""Trained models in MLflow's registry: versions with lineage, addressed as `models:/NAME@ALIAS`.

A version is a folder of plain files (safetensors, JSON) laid out as in a run, so that whatever
reads a run reads it. A version that `mlflow models serve` serves holds such a folder too. Reading
one here copies and compares files; it runs no code of the registry and unpickles nothing.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from infra.canon import canonical_json, sha256_hex
from infra.storage import FileStore
from infra.tracking import Tracking, brief, hide, mask, prepare_database

CHAMPION = "champion"  # MLflow's usual name for the version in use; "latest" it knows by itself
INSIDE = "artifacts/run"  # where a served version keeps the files of a run
_PREFIX = "models:/"
_ADDRESS = re.compile(r"models:/([\w\-. ]{1,200})(?:@([\w\-]{1,100})|/([1-9]\d{0,8}|latest))", re.A)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class RegistryError(ValueError):
    """A model cannot be registered, found or read; one line with the fix."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: int
    run_id: str  # of the run that registered it; "" where MLflow knows none
    tags: Mapping[str, str]  # digest (of the files), dataset, decoder, code, out, ...

    @property
    def address(self) -> str:
        """`models:/NAME/NUMBER`: names these very files for good, as no alias does."""
        return f"{_PREFIX}{self.name}/{self.number}"


def is_registered(address: str) -> bool:
    """Whether an address is one of the registry's."""
    return address.startswith(_PREFIX)


def register(
    tracking: Tracking,
    name: str,
    folder: Path,
    tags: Mapping[str, str],
    *,
    note: str = "",
    pack: Callable[[Path, Path], None] | None = None,
) -> Version:
    """A version of `folder`'s files (laid out as in a run), uploaded as artifacts of the run.

    Files that are registered under this name already are not registered again: their version is
    returned. The first version becomes `@champion`, later ones only `@latest`. `pack(folder, to)`
    makes of the folder what is uploaded, with the files themselves under `artifacts/run`.
    Raises RegistryError.
    """
    digest = digest_of(folder)
    client = tracking.client
    try:
        found = client.search_model_versions(f"name = '{name}' and tags.digest = '{digest}'")
        if found:
            return _version(found[0])
        with tempfile.TemporaryDirectory(prefix="rodin-register-") as scratch:
            source = folder
            if pack is not None:
                source = Path(scratch) / "packed"
                pack(folder, source)
            place = f"registered/{name}-{digest[:8]}"
            client.log_artifacts(tracking.run_id, str(source), place)
        first = _create(client, name)
        uri = client.get_run(tracking.run_id).info.artifact_uri
        entries = {key: hide(key, value)[:5000] for key, value in tags.items()}
        made = client.create_model_version(
            name,
            f"{uri}/{place}",
            tracking.run_id,
            tags={**entries, "digest": digest},
            description=note or None,
            await_creation_for=None,  # its files are there
        )
        if first:
            client.set_registered_model_alias(name, CHAMPION, made.version)
        return _version(made)
    except Exception as error:
        raise RegistryError(
            f"MLflow at {mask(tracking.uri)}: {name} was not registered ({brief(error)}); check the"
            " server, then register it again"
        ) from None


def promote(uri: str, version: Version) -> None:
    """Makes a version the `@champion`. Raises RegistryError."""
    call = partial(
        _client(uri).set_registered_model_alias, version.name, CHAMPION, str(version.number)
    )
    _ask(uri, version.address, call)


def find(address: str, uri: str) -> Version:
    """The version that `models:/NAME@ALIAS`, `models:/NAME/3` or `models:/NAME/latest` names.

    `uri` is MLflow's. Raises RegistryError for another address and for an unknown version.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RegistryError(
            f"{address[:200]!r} names no registered model; write models:/NAME@ALIAS"
            " (champion, latest) or models:/NAME/3"
        )
    name, alias, number = match.groups()
    client = _client(uri)
    if number is not None and number != "latest":
        return _version(_ask(uri, address, lambda: client.get_model_version(name, number)))
    word = alias or number
    return _version(_ask(uri, address, lambda: client.get_model_version_by_alias(name, word)))


def fetch(version: Version, uri: str, folder: Path) -> FileStore:
    """Copies the files of a version below `folder`; the store has the layout of a run.

    Raises RegistryError where they cannot be read or are not those that were registered.
    """
    from mlflow.artifacts import download_artifacts

    client = _client(uri)

    def download() -> str:
        source = client.get_model_version_download_uri(version.name, str(version.number))
        return download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=uri)

    root = Path(_ask(uri, version.address, download))
    if (root / INSIDE).is_dir():
        root = root / INSIDE
    wanted = version.tags.get("digest", "")
    if not _DIGEST.fullmatch(wanted) or digest_of(root) != wanted:
        raise RegistryError(
            f"{version.address}: its files are not those that were registered; restore the artifact"
            " store, or register the run again under another name"
        )
    return FileStore(root)


def digest_of(folder: Path) -> str:
    """sha256 (hex) of the names and contents of all files below a folder."""
    files: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise RegistryError(f"{path}: is a link; a model holds plain files alone")
        if path.is_file():
            with open(path, "rb") as file:
                name = path.relative_to(folder).as_posix()
                files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sha256_hex(canonical_json(files))


def _create(client: Any, name: str) -> bool:
    """Makes the entry for a name; False where there is one with versions."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
        return True
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return not client.search_model_versions(f"name = '{name}'", max_results=1)


def _version(found: Any) -> Version:
    return Version(found.name, int(found.version), found.run_id or "", dict(found.tags))


def _client(uri: str) -> Any:
    if uri == "none":
        raise RegistryError("the registry is MLflow's: it needs --tracking, not none")
    prepare_database(uri)
    from mlflow.tracking import MlflowClient

    return _ask(uri, "registry", lambda: MlflowClient(tracking_uri=uri, registry_uri=uri))


def _ask(uri: str, address: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # MLflow's, requests' and the artifact store's own
        raise RegistryError(
            f"{address}: {brief(error)} (MLflow at {mask(uri)}); check name and alias, and that"
            " --tracking is the MLflow that has it"
        ) from None
