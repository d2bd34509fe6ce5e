from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edge.errors import GpuLost, PartFailed
from edge.stages.engines import tensorrt_cuda
from edge.stages.engines.tensorrt_slot import Slot
from tests.catalog import tiny
from tests.gpu import fake_tensorrt
from tests.gpu.fakes import FakeGpu
from tests.gpu.on_fakes.parts import opened

STICKY = sorted(tensorrt_cuda.STICKY)
CALLS = [
    "cuMemAlloc_v2",
    "cuMemHostAlloc",
    "cuStreamCreate",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventQuery",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuLaunchHostFunc",
    "cuGraphLaunch",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuStreamQuery",
    "cuDevicePrimaryCtxRetain",
]
_SLOT = 32 * 32 * 3 * 8 + fake_tensorrt.WORKSPACE


@pytest.mark.parametrize("code", STICKY)
def test_a_sticky_error_loses_the_gpu_to_this_process(gpu: FakeGpu, code: int) -> None:
    engine = opened(cuda_graphs=False)
    gpu.fail("cuEventQuery", code)
    with pytest.raises(GpuLost, match=f"error {code}"):
        engine.infer(tiny.picture(255), [None])
    with pytest.raises(GpuLost):
        engine.infer(tiny.picture(255), [None])
    engine.close()
    gpu.reset()  # even if the driver answered again: this process does not try
    with pytest.raises(GpuLost, match="lost to this process"):
        opened()


@pytest.mark.parametrize(
    "call", ["cuMemcpyHtoDAsync_v2", "cuMemsetD8Async", "cuLaunchHostFunc", "cuEventRecord"]
)
def test_it_does_not_matter_which_call_says_it_first(gpu: FakeGpu, call: str) -> None:
    engine = opened(cuda_graphs=False)
    gpu.fail(call, 700)
    with pytest.raises(GpuLost, match="error 700"):
        engine.infer(tiny.picture(255), [None])
    engine.close()


def test_a_replay_says_it_too(gpu: FakeGpu) -> None:
    engine = opened()
    gpu.fail("cuGraphLaunch", 719)
    with pytest.raises(GpuLost, match="error 719"):
        engine.infer(tiny.picture(255), [None])
    engine.close()


def test_everybody_who_waits_hears_of_it(gpu: FakeGpu) -> None:
    engine = opened(slots=2, detect={"max_batch": 1})
    gpu.latency(0.3)
    heard: list[BaseException] = []

    def ask() -> None:
        try:
            engine.infer(tiny.picture(255), [None])
        except GpuLost as error:
            heard.append(error)

    callers = [threading.Thread(target=ask, name=f"caller {i}") for i in range(5)]
    for caller in callers:
        caller.start()
    time.sleep(0.1)
    gpu.fail("cuEventQuery", 700)
    for caller in callers:
        caller.join(10)
    assert len(heard) == 5
    engine.close()


def test_a_gpu_that_hangs_is_lost(gpu: FakeGpu) -> None:
    engine = opened(patience=0.3)
    gpu.hang(True)
    with pytest.raises(GpuLost, match="hangs"):
        engine.infer(tiny.picture(255), [None])
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["start", "done", "answer", "read"])
def test_a_bug_of_ours_fails_its_callers_at_once(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    engine = opened()

    def bug(*_: object) -> None:
        raise IndexError(where)

    if where == "read":
        monkeypatch.setattr("edge.stages.engines.tensorrt._check", bug)
    else:
        monkeypatch.setattr(Slot, where, bug)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(PartFailed, match="ended by itself"):
            engine.infer(tiny.picture(255), [None])
    assert time.monotonic() - began < 5
    engine.close()


def test_an_error_that_is_not_sticky_fails_one_batch(gpu: FakeGpu) -> None:
    engine = opened()
    gpu.fail("cuGraphLaunch", 1)
    with pytest.raises(PartFailed, match="a graph") as raised:
        engine.infer(tiny.picture(255), [None])
    assert raised.value.reason == "gpu_failed"
    assert not isinstance(raised.value, GpuLost)
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    engine.close()


def test_where_two_slots_do_not_fit_one_serves(
    gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.memory(int(_SLOT * 1.5))
    engine = opened(slots=2)
    assert "1 slots for batches of up to 8" in engine.facts
    assert "do not fit" in caplog.text
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    engine.close()


def test_where_a_batch_does_not_fit_a_smaller_one_does(gpu: FakeGpu) -> None:
    gpu.memory(fake_tensorrt.WORKSPACE + 32 * 32 * 3 * 3)
    engine = opened()
    assert engine.max_batch == 2
    found = engine.infer(np.concatenate([tiny.picture(255)] * 5), [None] * 5)
    assert [len(one) for one in found] == [1] * 5
    engine.close()


def test_where_not_one_picture_fits_it_says_so(gpu: FakeGpu) -> None:
    gpu.memory(1000)
    with pytest.raises(PartFailed) as raised:
        opened()
    assert raised.value.reason == "gpu_memory"


def test_memory_that_runs_out_later_costs_a_slot_and_no_picture(gpu: FakeGpu) -> None:
    engine = opened()
    used = gpu.in_use()
    gpu.fail("cuGraphLaunch", 2)
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    assert gpu.in_use() < used * 0.6
    assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
    engine.close()


def test_memory_that_stays_out_fails_the_engine(gpu: FakeGpu) -> None:
    engine = opened(cuda_graphs=False)
    gpu.fail("cuMemcpyHtoDAsync_v2", 2, times=99)
    with pytest.raises(PartFailed) as raised:
        engine.infer(tiny.picture(255), [None])
    assert raised.value.reason == "gpu_memory"
    with pytest.raises(PartFailed) as raised:
        engine.infer(tiny.picture(255), [None])
    assert raised.value.reason == "gpu_memory"
    engine.close()


@pytest.mark.parametrize("call", ["cuGraphLaunch", "cuStreamEndCapture"])
def test_a_graph_that_fails_at_first_is_never_replayed(gpu: FakeGpu, call: str) -> None:
    gpu.fail(call, 901, after=1, times=99)
    engine = opened(slots=1)
    gpu.reset()
    for _ in range(3):
        assert len(engine.infer(tiny.picture(255), [None])[0]) == 1
        assert len(engine.infer(tiny.picture(0), [None])[0]) == 0
    engine.close()


@pytest.mark.parametrize("code", [1, 2, 700])
@pytest.mark.parametrize("call", CALLS)
def test_whatever_fails_an_answer_is_right_or_an_error(gpu: FakeGpu, call: str, code: int) -> None:
    for after in (0, 3, 9):
        gpu.reset()
        tensorrt_cuda._lost.clear()
        gpu.fail(call, code, after=after)
        try:
            engine = opened()
        except PartFailed:
            continue
        for bright in (255, 0, 255, 0):
            try:
                (found,) = engine.infer(tiny.picture(bright), [None])
            except PartFailed:
                continue
            assert len(found) == bool(bright)
        engine.close()
    tensorrt_cuda.lost("a sticky error may have come and gone")


def test_a_process_that_lost_its_gpu_ends_in_order() -> None:
    script = """
from tests.gpu.fakes import FakeGpu
from tests.gpu.on_fakes.parts import opened
from tests.catalog import tiny
from edge.errors import GpuLost
gpu, engine = FakeGpu(), opened(patience=0.3)
gpu.hang(True)
try:
    engine.infer(tiny.picture(255), [None])
except GpuLost:
    engine.close()
    raise SystemExit(75)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 75, run.stderr
