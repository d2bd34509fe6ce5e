"""``python -m edge`` and the console script ``edge``."""

from __future__ import annotations

import io
import sys

from edge.ops.process import settle_process


def main() -> None:
    """Settle the process before anything heavy is imported, then run the command line."""
    settle_process()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal that lacks a letter gets a question mark, not a traceback
            stream.reconfigure(errors="replace")
    from edge.cli.main import main as run  # noqa: PLC0415 (after the process is settled)

    sys.exit(run())


if __name__ == "__main__":
    main()
