"""``edge engine build-child``: the process that builds an engine. Started by Edge, not by people.

A request (``BuildRequest``) comes as JSON on standard input; lines of JSON go to standard output::

    {"phase": "Timing tactics", "share": 0.41}
    {"plan": "...", "seconds": 93.1, "library": "tensorrt 11.4.0.106", "device": "..."}
    {"error": "...", "hint": "...", "reason": "..."}

One of the last two is the last. It exits 0 or 1. What the library itself prints goes to standard
error.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

_PR_SET_PDEATHSIG = 1
_NICE = 10


@click.command(name="build-child", hidden=True)
@click.option("--parent", type=int, default=0, help="Process that it belongs to.")
def build_child(*, parent: int) -> None:
    """Build an engine as standard input says."""
    from edge.errors import PartFailed
    from edge.stages.engines.tensorrt_build import BuildRequest, build

    _settle(parent)
    # The library prints where it likes: this descriptor is kept from it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**facts: Any) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    began = time.monotonic()
    try:
        request = BuildRequest.read(sys.stdin.read())
        library = build(request, lambda phase, share: say(phase=phase, share=share))
    except PartFailed as error:
        say(error=str(error), hint=error.hint, reason=error.reason)
        raise click.exceptions.Exit(1) from error
    seconds = round(time.monotonic() - began, 1)
    say(plan=request.plan, seconds=seconds, library=library, device=request.device)


def _settle(parent: int) -> None:
    """Make this process the first to give way, and the one that does not outlive its parent."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        raise click.exceptions.Exit(1)
    # What the library said last is worth more than where Python stood.
    faulthandler.disable()
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
