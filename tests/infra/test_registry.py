"""Versions in a real MLflow registry: found by alias, compared by hash, never twice the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import registry
from infra.registry import RegistryError, Version
from infra.tracking import Tracking


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"


@pytest.fixture(scope="module")
def tracking(uri: str) -> Tracking:
    return Tracking(uri, "rodin-train-base", "demo")


def folder(root: Path, weights: bytes) -> Path:
    (root / "models/base").mkdir(parents=True)
    (root / "models/base/model.safetensors").write_bytes(weights)
    return root


@pytest.fixture(scope="module")
def two(tracking: Tracking, tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    tags = {"dataset": "ab" * 32, "code": "1.2-3", "out": "s3://me:pw@bucket/run", "hf_token": "x"}
    parts = [folder(tmp_path_factory.mktemp("model"), data) for data in (b"old", b"new")]
    return [registry.register(tracking, "rodin-base", part, tags) for part in parts]


def test_aliases_and_numbers(two: list[Version], uri: str) -> None:
    old, new = two
    assert [old.number, new.number] == [1, 2]
    for name, version in (("@champion", old), ("@latest", new), ("/latest", new), ("/1", old)):
        assert registry.find(f"models:/rodin-base{name}", uri) == version
    registry.promote(uri, new)
    assert registry.find("models:/rodin-base@champion", uri) == new
    registry.promote(uri, old)


def test_lineage_without_secrets(two: list[Version], tracking: Tracking) -> None:
    tags = two[0].tags
    assert tags["dataset"] == "ab" * 32 and tags["code"] == "1.2-3"
    assert tags["out"] == "s3://***@bucket/run" and tags["hf_token"] == "***"
    assert two[0].run_id == tracking.run_id


def test_the_same_files_are_one_version(
    two: list[Version], tracking: Tracking, tmp_path: Path
) -> None:
    again = registry.register(tracking, "rodin-base", folder(tmp_path, b"old"), {})
    assert again == two[0]
    assert len(tracking.client.search_model_versions("name = 'rodin-base'")) == 2


def test_what_is_fetched_is_what_was_registered(
    two: list[Version], uri: str, tmp_path: Path
) -> None:
    for version, data in zip(two, (b"old", b"new"), strict=True):
        store = registry.fetch(version, uri, tmp_path / data.decode())
        assert store.read("models/base/model.safetensors") == data
        assert list(store.list()) == ["models/base/model.safetensors"]


def test_a_packed_version_keeps_the_files_inside(
    tracking: Tracking, uri: str, tmp_path: Path
) -> None:
    def pack(source: Path, to: Path) -> None:
        (to / registry.INSIDE).parent.mkdir(parents=True)
        source.rename(to / registry.INSIDE)
        (to / "MLmodel").write_bytes(b"a recipe")

    source = folder(tmp_path / "source", b"packed")
    version = registry.register(tracking, "rodin", source, {}, pack=pack)
    store = registry.fetch(version, uri, tmp_path / "back")
    assert list(store.list()) == ["models/base/model.safetensors"]


def test_damage_is_noticed(tracking: Tracking, uri: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "source", b"weights")
    version = registry.register(tracking, "rodin-damaged", source, {})
    client = tracking.client
    place = client.get_model_version_download_uri(version.name, str(version.number))
    path = Path(place.removeprefix("file://")) / "models/base/model.safetensors"
    path.write_bytes(b"weightz")
    with pytest.raises(RegistryError, match="are not those that were registered"):
        registry.fetch(version, uri, tmp_path / "back")
    client.set_model_version_tag(version.name, str(version.number), "digest", "")
    with pytest.raises(RegistryError, match="are not those that were registered"):
        registry.fetch(registry.find(version.address, uri), uri, tmp_path / "again")


def test_links_are_not_models(tracking: Tracking, tmp_path: Path) -> None:
    source = folder(tmp_path / "source", b"weights")
    (source / "key").symlink_to("/etc/hostname")
    with pytest.raises(RegistryError, match="is a link"):
        registry.register(tracking, "rodin-linked", source, {})


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("models:/rodin-base@nobody", "alias nobody not found"),
        ("models:/rodin-base/99", "99"),
        ("models:/nothing@latest", "nothing"),
        ("models:/rodin-base", "write models:/NAME@ALIAS"),
        ("models:/a/b/c", "write models:/NAME@ALIAS"),
        ("models:/../x@y", "write models:/NAME@ALIAS"),
    ],
)
def test_mistakes_name_the_fix(two: list[Version], uri: str, address: str, words: str) -> None:
    with pytest.raises(RegistryError, match=words) as caught:
        registry.find(address, uri)
    assert "\n" not in str(caught.value)


def test_without_mlflow_there_is_no_registry() -> None:
    with pytest.raises(RegistryError, match="needs --tracking"):
        registry.find("models:/rodin@latest", "none")
