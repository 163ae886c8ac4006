"""Deterministic tars: the same members give the same bytes, on any machine, at any time."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.plan import check_sample_key

_EXTENSION = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*")
_END = bytes(2 * tarfile.BLOCKSIZE)
MAX_MEMBERS = 4096  # members of one sample


def _fixed_parts() -> tuple[bytes, bytes, bytes, bytes]:
    """What the packer's headers have in common: all but name, size and checksum."""
    head = _header("k.a", 0)
    return head[100:124], head[135:148], head[154:257], head[257:]


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


_FIXED = _fixed_parts()


@dataclass(frozen=True)
class Span:
    """Where a sample lies: all its members, headers included, are one range of the tar."""

    key: str
    offset: int  # bytes from the start of the tar
    size: int  # bytes, a multiple of 512
    sha256: str  # hex, of that range


class TarPacker:
    """Streams samples into a tar: one sample in memory at a time.

    Keys must come in ascending order; times, owners and modes are constants, members are sorted.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  closed by close()
        self._total = hashlib.sha256()
        self._last = ""
        self.size = 0  # bytes written
        self.spans: list[Span] = []

    def add(self, key: str, members: Mapping[str, bytes]) -> Span:
        """Append one sample `{extension: bytes}`. Raises ValueError for bad names or order."""
        check_sample_key(key)
        if key <= self._last:
            raise ValueError(f"sample {key!r} after {self._last!r}: pack keys in ascending order")
        if not members:
            raise ValueError(f"sample {key!r} has no members")
        for extension in members:
            if not _EXTENSION.fullmatch(extension) or len(key) + len(extension) > 99:
                raise ValueError(
                    f"sample {key!r}: bad extension {extension[:80]!r}; "
                    "use lower-case letters, digits and dots, 100 characters with the key"
                )
        start, digest = self.size, hashlib.sha256()
        for extension in sorted(members):
            data = members[extension]
            head = _header(f"{key}.{extension}", len(data))
            for part in (head, data, bytes(-len(data) % tarfile.BLOCKSIZE)):
                digest.update(part)
                self._write(part)
        span = Span(key, start, self.size - start, digest.hexdigest())
        self.spans.append(span)
        self._last = key
        return span

    def close(self) -> str:
        """End the archive; returns the sha256 (hex) of the whole file."""
        if not self._file.closed:
            self._write(_END + bytes(-(self.size + len(_END)) % tarfile.RECORDSIZE))
            self._file.close()
        return self._total.hexdigest()

    def _write(self, data: bytes) -> None:
        self._total.update(data)
        self.size += self._file.write(data)


def unpack_sample(data: bytes, key: str) -> dict[str, bytes]:
    """`{extension: bytes}` of the one sample in a range of a tar.

    The names never touch the file system. Raises ValueError for links, devices, foreign or
    repeated names, and headers that claim more than the range holds.
    """
    return _own_members(data, key) or _any_members(data, key)


def _own_members(data: bytes, key: str) -> dict[str, bytes]:
    """The members of a range as `TarPacker` writes it, seven times faster than tarfile.

    Nothing for a header that differs in any byte: tarfile then says what is wrong with it.
    """
    members: dict[str, bytes] = {}
    begin, at = f"{key}.".encode(), 0
    while at < len(data):
        head = data[at : at + tarfile.BLOCKSIZE]
        name, size_text = head[:100].rstrip(b"\0"), head[124:135]
        if len(head) < tarfile.BLOCKSIZE or not size_text.isdigit():
            return {}
        try:
            extension, size = name[len(begin) :].decode("ascii"), int(size_text, 8)
        except ValueError:
            return {}
        fixed = head[100:124], head[135:148], head[154:257], head[257:]
        total = sum(head) - sum(head[148:156]) + 8 * 32
        start = at + tarfile.BLOCKSIZE
        at = start + size + -size % tarfile.BLOCKSIZE
        if (
            fixed != _FIXED
            or head[148:154] != b"%06o" % total
            or not name.startswith(begin)
            or not _EXTENSION.fullmatch(extension)
            or extension in members
            or at > len(data)
            or len(members) >= MAX_MEMBERS
        ):
            return {}
        members[extension] = data[start : start + size]
    return members


def _any_members(data: bytes, key: str) -> dict[str, bytes]:
    """The slow twin: the members of any tar that is fit to read."""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data + _END), mode="r:") as tar:
            for info in tar:
                name = info.name
                if not info.isreg() or info.issparse():
                    raise ValueError(f"member {name[:120]!r} is no plain file")
                extension = name[len(key) + 1 :]
                if not name.startswith(f"{key}.") or not _EXTENSION.fullmatch(extension):
                    raise ValueError(f"member {name[:120]!r} does not belong to sample {key!r}")
                if extension in members:
                    raise ValueError(f"member {name[:120]!r} appears twice")
                if not 0 <= info.size <= len(data) - info.offset_data:
                    raise ValueError(f"member {name[:120]!r} claims {info.size} bytes")
                if len(members) >= MAX_MEMBERS:
                    raise ValueError(f"more than {MAX_MEMBERS} members")
                file = tar.extractfile(info)
                assert file is not None  # a plain file has content
                members[extension] = file.read()
    except tarfile.TarError as error:
        raise ValueError(f"is no tar ({str(error)[:100]})") from None
    if not members:
        raise ValueError("holds no members")
    return members
