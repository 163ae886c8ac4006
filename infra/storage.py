"""One small interface for files and S3 objects.

A store is a folder or an S3 prefix; keys are relative names with `/`. Writes are atomic: a reader
sees the old bytes or the new ones, never a part. Stores travel to Ray workers by pickle.
Endpoint, region and credentials of S3 come from the standard AWS environment variables and
files, read by boto3 itself; they are never in a URI, an error text or a pickle.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

_TEMP_PREFIX = ".tmp-"
_BAD_KEY = re.compile(r"[\x00-\x1f\x7f\\]")


class StorageError(RuntimeError):
    """Storage said no. One line that names the URI and the fix.

    `transient` is True where trying again may help (network, throttling, 5xx).
    """

    def __init__(self, uri: str, problem: str, fix: str, *, transient: bool = False) -> None:
        super().__init__(f"{uri}: {problem}; {fix}")
        self.uri, self.problem, self.fix, self.transient = uri, problem, fix, transient

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.uri, self.problem, self.fix, self.transient)


class NotFoundError(StorageError):
    """The key does not exist."""


def _rebuild(kind: type[StorageError], uri: str, problem: str, fix: str, transient: bool) -> Any:
    return kind(uri, problem, fix, transient=transient)


class Store(ABC):
    """A folder of objects. `uri` names it to people and to `open_store`."""

    uri: str

    @abstractmethod
    def read(self, key: str, offset: int | None = None, size: int | None = None) -> bytes:
        """All bytes, or `size` bytes from `offset`; fewer where the object ends before."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Create or replace the object, atomically and durably."""

    @abstractmethod
    def put_file(self, path: str | os.PathLike[str], key: str) -> None:
        """Copy a local file to `key` with bounded memory, atomically."""

    @abstractmethod
    def get_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Copy the object to a local file with bounded memory."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that start with `prefix`, in byte order, lazily."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes of the object. Raises NotFoundError."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""

    @abstractmethod
    def child(self, prefix: str) -> Store:
        """The store of a sub-folder."""

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except NotFoundError:
            return False
        return True

    def location(self, key: str) -> str:
        """The address of one object, for people and for other tools."""
        return f"{self.uri.rstrip('/')}/{check_key(key)}"

    def sweep_temporary(self) -> int:
        """Remove what killed writers left; only while nobody writes. Returns how many."""
        return 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"


def check_key(key: str) -> str:
    """The key itself, when it stays inside its store. Raises ValueError otherwise."""
    parts = key.split("/")
    if not key or _BAD_KEY.search(key) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"bad storage key {key[:120]!r}; use relative names without '..', '\\' or empty parts"
        )
    if any(part.startswith(_TEMP_PREFIX) for part in parts):
        raise ValueError(f"bad storage key {key[:120]!r}; names in {_TEMP_PREFIX}* are private")
    return key


def open_store(uri: str | os.PathLike[str]) -> Store:
    """A store for a plain path, `file:///path` or `s3://bucket/prefix`.

    Nothing is contacted or created yet. Raises StorageError for another scheme, a URI with
    credentials, or no bucket.
    """
    text = os.fspath(uri)
    scheme = text.split("://", 1)[0].lower() if "://" in text else ""
    if not scheme:
        if not text:
            raise StorageError("''", "no address", "pass a path, file:// or s3://bucket/prefix")
        return FileStore(text)
    parts = urlsplit(text)
    safe = f"{scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StorageError(
            safe,
            "credentials or options do not belong in the address",
            "set the AWS_* environment variables instead",
        )
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise StorageError(text, "names another host", "write file:///absolute/path")
        return FileStore(unquote(parts.path))
    if scheme == "s3":
        from infra.s3 import S3Store

        if not parts.netloc:
            raise StorageError(text, "names no bucket", "write s3://bucket/prefix")
        return S3Store(parts.netloc, parts.path.strip("/"))
    raise StorageError(safe, f"unknown scheme {scheme!r}", "use a path, file:// or s3://")


class FileStore(Store):
    """A folder. Symbolic links below it are not followed: a shared dataset is not trusted."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.realpath(os.path.expanduser(os.fspath(root))))
        self.uri = str(self.root)

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        if os.path.realpath(path) != str(path):
            raise StorageError(
                str(path),
                "goes through a symbolic link",
                "copy the data, or open the link's target",
            )
        return path

    def _guard(self, error: OSError, path: Path) -> StorageError:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return NotFoundError(str(path), "does not exist", "check the address")
        fix = "free some space" if error.errno == 28 else "check disk, owner and permissions"
        return StorageError(str(path), error.strerror or type(error).__name__, fix)

    def read(self, key: str, offset: int | None = None, size: int | None = None) -> bytes:
        path = self._path(key)
        start, length = _range(offset, size)
        try:
            with open(path, "rb", opener=_open_plain) as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except OSError as error:
            raise self._guard(error, path) from None

    def write(self, key: str, data: bytes) -> None:
        self._replace(key, lambda file: file.write(data))

    def put_file(self, path: str | os.PathLike[str], key: str) -> None:
        if not os.path.isfile(path):
            raise NotFoundError(os.fspath(path), "is no file", "check the path")

        def fill(file: IO[bytes]) -> None:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)

        self._replace(key, fill)

    def get_file(self, key: str, path: str | os.PathLike[str]) -> None:
        source = self._path(key)
        try:
            with open(source, "rb", opener=_open_plain) as inside, open(path, "wb") as file:
                shutil.copyfileobj(inside, file, 1 << 20)
        except OSError as error:
            raise self._guard(error, source) from None

    def _replace(self, key: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Fill a private file beside the target, make it durable, then rename it into place."""
        path = self._path(key)
        temporary = path.parent / f"{_TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "xb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise self._guard(error, path) from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def list(self, prefix: str = "") -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self.root
        yield from self._walk(start, f"{folder}/" if folder else "", prefix)

    def _walk(self, folder: Path, base: str, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._guard(error, folder) from None
        # A folder sorts as "name/", so that the order is that of whole keys, as S3 has it.
        named = [(e.name + ("/" if e.is_dir(follow_symlinks=False) else ""), e) for e in entries]
        for name, entry in sorted(named, key=lambda pair: pair[0]):
            key = base + name
            if name.startswith(_TEMP_PREFIX):
                continue
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / entry.name, key, prefix)
            elif key.startswith(prefix) and entry.is_file(follow_symlinks=False):
                yield key

    def size(self, key: str) -> int:
        path = self._path(key)
        try:
            if path.is_dir():
                raise NotFoundError(str(path), "is a folder", "check the address")
            return path.stat().st_size
        except OSError as error:
            raise self._guard(error, path) from None

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._guard(error, path) from None

    def child(self, prefix: str) -> FileStore:
        return FileStore(self._path(prefix.strip("/")))

    def sweep_temporary(self) -> int:
        left = [path for path in self.root.rglob(f"{_TEMP_PREFIX}*") if path.is_file()]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


def _open_plain(path: str, flags: int) -> int:
    """An opener that refuses pipes and devices: a read of one may never end."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is a folder" if stat.S_ISDIR(mode) else "is no plain file")
    return handle


def _range(offset: int | None, size: int | None) -> tuple[int, int | None]:
    start = 0 if offset is None else offset
    if start < 0 or (size is not None and size < 0):
        raise ValueError(f"bad range: offset {offset}, size {size}; both must be 0 or more")
    return start, size


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
