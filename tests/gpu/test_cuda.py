"""CUDA as our wrapper asks for it: on a real GPU where this machine has one and pycuda.

``test_on_fakes.py`` runs it on the fake GPU, too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from edge.errors import PartFailed
from edge.stages.engines.tensorrt_cuda import Buffer, Device, Memory, OutOfMemory, Stream
from edge.stages.engines.tensorrt_graphs import Graph
from edge.stages.engines.tensorrt_probe import probe
from tests.gpu.fakes import LIBRARY_PATH


@pytest.fixture
def device() -> Iterator[Device]:
    if not probe().usable:
        pytest.skip("no GPU on this machine")
    if not (LIBRARY_PATH / "pycuda").exists() and find_spec("pycuda") is None:
        pytest.skip("no pycuda on this machine")
    with Device(0, str(LIBRARY_PATH)) as opened:
        yield opened


def finish(stream: Stream) -> None:
    stream.mark()
    end = time.monotonic() + 30
    while not stream.done():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def stream(device: Device) -> Iterator[Stream]:
    made = device.stream()
    yield made
    made.free()


@pytest.fixture
def buffer(device: Device) -> Iterator[Buffer]:
    made = device.buffer((8, 100), np.float32)
    yield made
    made.free()


def test_what_goes_to_the_gpu_comes_back(stream: Stream, buffer: Buffer) -> None:
    expected = np.arange(800, dtype=np.float32).reshape(8, 100)
    buffer.host[:] = expected
    buffer.to_gpu(8, stream)
    finish(stream)
    if buffer.address != buffer.host.ctypes.data:
        buffer.host[:] = 0
    buffer.to_host(8, stream)
    finish(stream)
    assert (buffer.host == expected).all()


def test_only_the_first_rows_are_copied(stream: Stream, buffer: Buffer) -> None:
    buffer.host[:] = 1
    buffer.to_gpu(8, stream)
    finish(stream)
    buffer.host[:] = 2
    buffer.to_host(3, stream)
    finish(stream)
    assert (buffer.host[3:] == 2).all()


def test_what_is_spoilt_is_not_a_number(device: Device, stream: Stream, buffer: Buffer) -> None:
    if device.integrated:
        pytest.skip("nothing is copied here")
    buffer.host[:] = 1
    buffer.to_gpu(8, stream)
    buffer.spoil(5, stream)
    buffer.to_host(8, stream)
    finish(stream)
    assert np.isnan(buffer.host[:5]).all()
    assert (buffer.host[5:] == 1).all()


def test_what_was_recorded_is_replayed_with_what_is_there_now(
    device: Device, stream: Stream, buffer: Buffer
) -> None:
    other = device.buffer((8, 100), np.float32)

    def work() -> None:
        buffer.to_gpu(8, stream)
        other.spoil(8, stream)
        other.to_host(8, stream)

    graph = Graph(device, stream, work)
    for _ in range(3):
        other.host[:] = 7
        graph.launch()
        finish(stream)
        assert device.integrated or np.isnan(other.host).all()
    graph.free()
    other.free()


def test_a_recording_that_fails_leaves_the_stream_as_it_was(
    device: Device, stream: Stream, buffer: Buffer
) -> None:
    def work() -> None:
        buffer.to_gpu(8, stream)
        raise PartFailed("no", reason="engine_failed")

    with pytest.raises(PartFailed, match="no"):
        Graph(device, stream, work)
    buffer.to_gpu(8, stream)
    finish(stream)
    assert stream.done()


def test_memory_that_there_is_not_is_out_of_memory_and_nothing_else(
    device: Device, stream: Stream, buffer: Buffer
) -> None:
    with pytest.raises(OutOfMemory):
        Memory(device, 1 << 50)
    buffer.to_gpu(8, stream)
    finish(stream)
    assert stream.done()


def test_threads_with_a_device_of_their_own_come_and_go(device: Device) -> None:
    done: list[float] = []

    def work() -> None:
        with Device(0, str(LIBRARY_PATH)) as own:
            stream, buffer = own.stream(), own.buffer((4,), np.float32)
            buffer.host[:] = 3
            buffer.to_gpu(4, stream)
            buffer.to_host(4, stream)
            finish(stream)
            done.append(float(buffer.host.sum()))
            buffer.free()
            stream.free()

    for number in range(3):
        thread = threading.Thread(target=work, name=f"gpu {number}")
        thread.start()
        thread.join(30)
    assert done == [12.0] * 3
    assert device.cuda.mem_get_info()
    assert "pycuda.autoinit" not in sys.modules
