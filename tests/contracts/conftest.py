"""Servers that the contract suites run on."""

from __future__ import annotations

from tests.servers.rgw import bucket, rgw

__all__ = ["bucket", "rgw"]
