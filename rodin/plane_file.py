"""One tri-plane in a file: planes, the digest of the decoder that renders them, and plain facts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rodin.decoder import TriplaneDecoder


class PlaneFileError(ValueError):
    """A file that holds no tri-plane, or one of another decoder."""


@dataclass(frozen=True)
class PlaneFile:
    """planes (3, C, R, R) float16 in the order of `conventions`; `facts` is plain JSON."""

    planes: np.ndarray
    decoder: str  # TriplaneDecoder.digest()
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path | str) -> None:
        """Write an .npz that numpy alone can read."""
        facts = np.array(json.dumps(self.facts, sort_keys=True))
        with np.errstate(over="ignore"):
            half = self.planes.astype(np.float16)
        if not np.isfinite(half).all():
            raise PlaneFileError(
                "planes hold values that float16 cannot (NaN or past 65504); fit again with a lower"
                " plane_rate"
            )
        np.savez(Path(path), planes=half, decoder=np.array(self.decoder), facts=facts)

    @classmethod
    def load(cls, path: Path | str) -> PlaneFile:
        """Read a file of `save`. Raises PlaneFileError; nothing is unpickled."""
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                planes, decoder = file["planes"], str(file["decoder"])
                facts = json.loads(str(file["facts"]))
        except FileNotFoundError:
            raise PlaneFileError(f"{path} does not exist; make one with rodin fit-one") from None
        except Exception as error:  # numpy and zipfile raise many classes for damaged files
            raise PlaneFileError(
                f"{path} is no tri-plane file ({type(error).__name__}); make it again"
            ) from None
        if planes.ndim != 4 or planes.shape[0] != 3 or planes.dtype != np.float16:
            raise PlaneFileError(
                f"{path} holds {planes.dtype} {planes.shape}; float16 (3, C, R, R) is needed"
            )
        if not np.isfinite(planes).all():
            raise PlaneFileError(f"{path} holds NaN or infinity; make it again")
        return cls(planes, decoder, facts)

    def check(self, decoder: TriplaneDecoder) -> None:
        """Raises PlaneFileError unless `decoder` is the one that these planes belong to."""
        check_planes(self.planes, self.decoder, decoder)


def check_planes(planes: np.ndarray, digest: str, decoder: TriplaneDecoder) -> None:
    """Raises PlaneFileError unless planes (3, C, R, R) with that digest belong to `decoder`."""
    if planes.shape[1] != decoder.config.channels:
        raise PlaneFileError(
            f"the planes have {planes.shape[1]} channels and the decoder takes"
            f" {decoder.config.channels}; give the decoder that they were fitted with"
        )
    if digest != decoder.digest():
        raise PlaneFileError(
            f"the planes belong to decoder {digest[:12]} and this one is {decoder.digest()[:12]};"
            " give the decoder that they were fitted with"
        )
