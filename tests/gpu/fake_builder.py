"""A builder for tests, in place of ``edge engine build-child``: a plan is the graph it is given.

``FAKE_BUILDER`` says how: ``slow`` takes five seconds, ``blind`` makes an engine that sees nobody,
``no plan`` makes what no library takes, and one that begins with ``crash`` ends without a word.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge.stages.engines.tensorrt_build import BuildRequest
from tests.gpu.fake_tensorrt import plan_of

STEPS = 20
_SLOW_S = 5.0


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def blinded(graph: bytes) -> bytes:
    """Return an engine form whose scores are all zero."""
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        node.output[:] = ["seen" if name == "scores" else name for name in node.output]
        node.input[:] = ["seen" if name == "scores" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    model.graph.node.append(helper.make_node("Mul", ["seen", "nothing"], ["scores"]))
    blind: bytes = model.SerializeToString()
    return blind


def main() -> None:
    how = os.environ.get("FAKE_BUILDER", "")
    request = BuildRequest.read(sys.stdin.read())
    if how.startswith("crash"):
        os.abort()
    began = time.monotonic()
    for step in range(STEPS):
        say(phase="Timing tactics", share=step / STEPS)
        time.sleep(_SLOW_S / STEPS if how == "slow" else 0)
    graph = Path(request.onnx).read_bytes()
    if how == "blind":
        graph = blinded(graph)
    plan = graph if how == "no plan" else plan_of(graph, most=request.most)
    Path(request.plan).write_bytes(plan)
    say(
        plan=request.plan,
        seconds=round(time.monotonic() - began, 1),
        library=f"{request.library} {request.library_version}",
        device=request.device,
    )


if __name__ == "__main__":
    main()
