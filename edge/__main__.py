"""``python -m edge`` and the console script ``edge``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import NoReturn

from edge.ops.process import settle_process


def main() -> NoReturn:
    """Settle the process before anything heavy is imported, then run the command line."""
    settle_process()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal that lacks a letter gets a question mark, not a traceback
            stream.reconfigure(errors="replace")
    from edge.cli.main import main as run  # noqa: PLC0415 (after the process is settled)

    code = run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    # A thread that hangs in a driver or in OpenCV must neither hold up the end nor abort it.
    os._exit(code)


if __name__ == "__main__":
    main()
