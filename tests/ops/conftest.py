"""What the tests of the operations share: small disks."""

from __future__ import annotations

from tests.sinks.conftest import small_disk

__all__ = ["small_disk"]
