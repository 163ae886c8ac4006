"""Crafted bad files, each in a data set whose hashes are all right: what a stranger could send."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from infra.canon import canonical_json
from infra.storage import FileStore
from tests.infra import people

KEY = "avatar_000001"
FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + data


def shaped(shape: str, dtype: str = "<f2", order: str = "False") -> bytes:
    return npy(f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}", b"\0" * 96)


def array(value: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def riff(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14 | 1 << 28
    return riff(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(64))


def canvas(width: int, height: int, flags: int = 0) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(b"VP8X", bytes([flags, 0, 0, 0]) + sides + bytes(32))


def png(width: int, height: int, raw: bytes = b"", text: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    extra = chunk(b"zTXt", b"k\0\0" + text) if text else b""
    body = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def plain(mark: Path) -> dict[str, bytes]:
    return people.triplane_members(KEY)


def with_json(name: str, **change: object) -> Callable[[Path], dict[str, bytes]]:
    def make(mark: Path) -> dict[str, bytes]:
        members = plain(mark)
        members[name] = json.dumps({**json.loads(members[name]), **change}).encode()
        return members

    return make


def put(name: str, make: bytes | Callable[[Path], bytes]) -> Callable[[Path], dict[str, bytes]]:
    return lambda mark: {**plain(mark), name: make(mark) if callable(make) else make}


def without(name: str) -> Callable[[Path], dict[str, bytes]]:
    return lambda mark: {n: data for n, data in plain(mark).items() if n != name}


def zipped(mark: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", bytes(1 << 20))
    return buffer.getvalue()


CAMERA = {"camera_to_world": np.eye(4).tolist(), "intrinsics": np.eye(3).tolist()}
NPY, WEBP, META, CAMERAS = "triplane.npy", "view000.webp", "meta.json", "cameras.json"

# name -> (members of the sample, words of the error)
MEMBERS: dict[str, tuple[Callable[[Path], dict[str, bytes]], str]] = {
    "npy: 2^60 texels": (put(NPY, shaped("(3, 1048576, 1048576, 1048576)")), "needs|past"),
    "npy: terabyte of channels": (put(NPY, shaped("(3, 999999999, 8, 8)")), "needs|past"),
    "npy: negative side": (put(NPY, shaped("(3, -4, 8, 8)")), "shape|needs"),
    "npy: no side": (put(NPY, shaped("(3, 0, 0, 0)")), "shape|needs"),
    "npy: one axis": (put(NPY, shaped("(48,)")), "shape"),
    "npy: float64": (put(NPY, shaped("(3, 1, 2, 2)", "<f8")), "dtype float64"),
    "npy: Fortran order": (put(NPY, shaped("(3, 4, 2, 2)", order="True")), "Fortran"),
    "npy: version 9": (put(NPY, npy("{}", version=b"\x09\x00")), "no npy|unknown version"),
    "npy: header of 4 GB": (
        put(NPY, b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{" * 999),
        "no npy",
    ),
    "npy: code in the header": (put(NPY, npy("__import__('os').abort()")), "no npy"),
    "npy: brackets without end": (put(NPY, npy("(" * 5000)), "no npy"),
    "npy: pickled object": (
        put(NPY, lambda mark: array(np.array([Evil(mark)], dtype=object))),
        "pickled objects are never read",
    ),
    "npy: object in a structure": (
        put(NPY, shaped("(3, 4, 2, 2)").replace(b"'<f2'", b"[('a', 'O')]")),
        "no npy|pickled objects",
    ),
    "npy: a pickle": (put(NPY, lambda mark: pickle.dumps(Evil(mark))), "no npy"),
    "npy: a zip": (put(NPY, zipped), "no npy"),
    "npy: NaN": (put(NPY, array(np.full((3, 4, 8, 8), np.nan, np.float16))), "NaN"),
    "npy: cut off": (lambda m: put(NPY, plain(m)[NPY][:-2])(m), "needs"),
    "npy: too long": (lambda m: put(NPY, plain(m)[NPY] + b"x")(m), "needs"),
    "npy: missing": (without(NPY), "no npy"),
    "webp: 16,384 a side": (put(WEBP, lossless(16384, 16384)), "16384|cameras.json says"),
    "webp: 2^24 a side": (put(WEBP, canvas(1 << 24, 1 << 24)), "16777216"),
    "webp: portrait of 2^24": (put("portrait.webp", canvas(1 << 24, 1 << 24)), "sample needs"),
    "webp: animated": (put(WEBP, canvas(6, 6, flags=2)), "animated"),
    "webp: lossy": (put(WEBP, riff(b"VP8 ", bytes(64))), "lossy"),
    "webp: cut off": (lambda m: put(WEBP, plain(m)[WEBP][:40])(m), "truncated|no WebP"),
    "webp: noise after the header": (put(WEBP, lossless(6, 6)), "cannot be decoded"),
    "webp: canvas unlike its picture": (put(WEBP, canvas(6, 6)), "cannot be decoded|claims"),
    "webp: a PNG": (put(WEBP, png(6, 6)), "no WebP"),
    "webp: PostScript": (put(WEBP, b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(99)), "no WebP"),
    "webp: empty": (put(WEBP, b""), "no WebP"),
    "webp: one without camera": (lambda m: put("view002.webp", plain(m)[WEBP])(m), "no camera"),
    "meta: brackets without end": (put(META, b"[" * 100_000), "is not JSON"),
    "meta: 17 MB": (put(META, b" " * (17 << 20)), "more than"),
    "meta: a number of a million digits": (put(META, b'{"a":' + b"9" * 10**6 + b"}"), "not JSON"),
    "meta: NaN": (put(META, b'{"a":NaN}'), "is not JSON"),
    "meta: a list": (put(META, b"[]"), "holds a list"),
    "meta: no UTF-8": (put(META, b"\xff\xfe\xff"), "is not JSON"),
    "meta: another's key": (with_json(META, key="avatar_000002"), "key is"),
    "meta: another version": (with_json(META, schema_version=10**9), "schema_version is"),
    "meta: another decoder": (with_json(META, decoder="../../x"), "decoder is"),
    "cameras: a million": (with_json(CAMERAS, cameras=[0] * 1_000_000), "no list of 0-"),
    "cameras: 10^9 px": (with_json(CAMERAS, width=10**9, height=10**9), "are not 1-"),
    "cameras: negative": (with_json(CAMERAS, width=-6), "are not 1-"),
    "cameras: words": (with_json(CAMERAS, cameras=["x", "y"]), "is not 4x4|camera_to_world"),
    "cameras: infinite": (
        put(CAMERAS, json.dumps({"cameras": [], "width": 1e999, "height": 6}).encode()),
        "is not JSON",
    ),
    "cameras: more than views": (with_json(CAMERAS, cameras=[CAMERA] * 3), "view002.webp"),
}


def tar(*entries: tuple[str, bytes, bytes], pax: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, kind, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, "/etc/passwd", len(data)
            info.pax_headers = pax or {}
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()[: -(-buffer.tell() // 512) * 512]


def claims(size: bytes) -> bytes:
    info = tarfile.TarInfo(f"{KEY}.meta.json")
    head = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    head[124:136] = size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(512)


NAME = f"{KEY}.meta.json"
# name -> (bytes of the sample's range, words of the error)
TARS: dict[str, tuple[bytes, str]] = {
    "tar: out of the folder": (tar(("../../etc/cron.d/x", FILE, b"x")), "does not belong"),
    "tar: absolute": (tar(("/etc/passwd", FILE, b"x")), "does not belong"),
    "tar: out, after the key": (tar((f"{KEY}.a/../../x", FILE, b"x")), "does not belong"),
    "tar: another's member": (tar(("avatar_000002.meta.json", FILE, b"x")), "does not belong"),
    "tar: symbolic link": (tar((NAME, LINK, b"")), "no plain file"),
    "tar: hard link": (tar((NAME, HARD, b"")), "no plain file"),
    "tar: pipe": (tar((NAME, tarfile.FIFOTYPE, b"")), "no plain file"),
    "tar: device": (tar((NAME, tarfile.CHRTYPE, b"")), "no plain file"),
    "tar: folder": (tar((NAME, tarfile.DIRTYPE, b"")), "no plain file"),
    "tar: sparse": (tar((NAME, tarfile.GNUTYPE_SPARSE, b"")), "no plain file|no tar"),
    "tar: twice": (tar((NAME, FILE, b"x"), (NAME, FILE, b"y")), "twice"),
    "tar: path in a pax header": (
        tar((NAME, FILE, b"x"), pax={"path": "../../x"}),
        "does not belong",
    ),
    "tar: size in a pax header": (
        tar((NAME, FILE, b"x"), pax={"size": str(1 << 60)}),
        "claims|no tar|end of data",
    ),
    "tar: sparse map in a pax header": (
        tar((NAME, FILE, b"x" * 512), pax={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9" * 12}),
        "no plain file|claims|no tar",
    ),
    "tar: 8 GB in a header": (claims(b"77777777777\0"), "claims|no tar"),
    "tar: 2^63 in a header": (claims(b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7), "claims|no tar"),
    "tar: less than nothing": (claims(b"\xff" * 12), "claims|no tar"),
    "tar: 5,000 members": (
        tar(*[(f"{KEY}.m{i}", FILE, b"") for i in range(5000)]),
        "more than 4096",
    ),
    "tar: no tar": (b"\xff" * 4096, "no tar|no members"),
    "tar: gzip of zeros": (zlib.compress(bytes(1 << 20)).ljust(2048, b"\0"), "no tar|no members"),
}


def data_set(root: Path, sample: bytes) -> FileStore:
    """A data set of one person whose range of the shard is `sample`; every hash is right."""
    store = FileStore(root)
    people.make(store, [KEY], val_fraction=0.0)
    sidecar = json.loads(store.read("train/000000.json"))
    shard = sample + bytes(1024)
    digest = hashlib.sha256(shard).hexdigest()
    name = f"train/000000-{digest[:8]}.tar"
    store.delete(sidecar["shard"]["name"])
    store.write(name, shard)
    sidecar["shard"] = {"name": name, "size": len(shard), "sha256": digest}
    found = hashlib.sha256(sample).hexdigest()
    sidecar["rows"][0] |= {"offset": 0, "size": len(sample), "sha256": found}
    store.write("train/000000.json", canonical_json(sidecar))
    return store


def packed(members: dict[str, bytes]) -> bytes:
    return tar(*[(f"{KEY}.{name}", FILE, data) for name, data in sorted(members.items())])
