"""What every test shares: the process is settled as in production, before any heavy import."""

from __future__ import annotations

import signal

from edge.ops.process import settle_process

settle_process()
# A shell ignores it for what runs in the background, and commands that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
