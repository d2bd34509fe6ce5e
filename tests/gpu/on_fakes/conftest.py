"""Tests that need the fake GPU in their process; ``tests/gpu/test_on_fakes.py`` runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from edge.stages.engines import tensorrt_cuda
from tests.gpu import fake_tensorrt
from tests.gpu.fakes import ON, FakeGpu

collect_ignore_glob = [] if os.environ.get(ON) else ["test_*.py"]


@pytest.fixture(autouse=True)
def gpu() -> Iterator[FakeGpu]:
    """A GPU that is well, and on which nothing is left afterwards."""
    fake = FakeGpu()
    _well(fake)
    before = fake.left()
    yield fake
    was_lost, orphans = tensorrt_cuda.is_lost(), list(fake_tensorrt.orphans)
    _well(fake)
    # what a lost GPU has is left there on purpose
    assert was_lost or fake.left() == before
    assert not orphans


def _well(fake: FakeGpu) -> None:
    fake.reset()
    fake_tensorrt.faults.clear()
    fake_tensorrt.ran.clear()
    fake_tensorrt.orphans.clear()
    tensorrt_cuda._lost.clear()
