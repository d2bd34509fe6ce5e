"""What every test shares: the process is settled as in production, before any heavy import."""

from __future__ import annotations

from edge.ops.process import settle_process

settle_process()
