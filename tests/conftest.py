"""What every test shares: the process is settled as in production, and the servers' fixtures."""

from __future__ import annotations

from edge.ops.process import settle_process

settle_process()

pytest_plugins: list[str] = []
