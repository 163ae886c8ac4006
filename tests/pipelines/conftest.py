"""One thread: tensors as small as these tests' only wait for each other on more."""

from __future__ import annotations

from tests.rodin.conftest import one_thread

__all__ = ["one_thread"]
