from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edge.config.privacy import Policy
from edge.detections import Sighting
from edge.frame import Frame
from edge.stages.kernels.pictures import Kernels
from edge.stages.redact import redact
from edge.stages.redact_gpu import GpuRedactor
from tests.stages.kernels.emulation import StandIn
from tests.stages.parts import INFO, a_frame
from tests.stages.test_redact import Box, Masks, seen

OVERLAPPING: tuple[Box, ...] = ((30, 20, 90, 100), (60, 40, 120, 118), (-9, -9, 20, 9))


@pytest.fixture
def kernels(gpu: StandIn) -> Iterator[Kernels]:
    with Kernels.open(library=gpu.library, fatbin=gpu.fatbin) as opened:
        yield opened


def a_sighting(*boxes: Box, masks: Masks | None = None) -> Sighting:
    frame: Frame = a_frame(size=(160, 120))
    return Sighting(frame=frame, detections=seen(*boxes, masks=masks), engine=INFO)


@pytest.mark.parametrize("method", ["cells", "fill"])
@pytest.mark.parametrize("boxes", [(), OVERLAPPING[:1], OVERLAPPING])
def test_it_looks_as_on_the_processor(
    kernels: Kernels, method: Any, boxes: tuple[Box, ...]
) -> None:
    sighting, policy = a_sighting(*boxes), Policy(method=method)
    picture = kernels.upload(sighting.frame.pixels)
    redactor = GpuRedactor(kernels)
    got, want = redactor.redact(sighting, policy, picture), redact(sighting, policy)
    assert not redactor.given_up
    # What a later area reads of an earlier one may differ as that does.
    assert (np.abs(got.pixels.astype(int) - want.pixels) > 1).mean() < 0.02
    assert np.array_equal(got.covered, want.covered)
    assert (got.method, got.sighting) == (want.method, sighting)
    assert not got.pixels.flags.writeable
    if boxes:
        # the processor did not draw it
        assert np.array_equal(kernels.download(picture), got.pixels)


def test_masks_blur_and_another_size_are_the_processors(kernels: Kernels) -> None:
    redactor = GpuRedactor(kernels)
    mask = np.zeros((1, 120, 160), np.bool_)
    mask[0, 30:90, 40:80] = True
    plain, masked = a_sighting(OVERLAPPING[0]), a_sighting(OVERLAPPING[0], masks=mask)
    raw = plain.frame.pixels
    whole, part = kernels.upload(raw), kernels.upload(raw[:60])
    for sighting, policy, picture in (
        (masked, Policy(), whole),
        (plain, Policy(method="blur"), whole),
        (plain, Policy(), part),
    ):
        got = redactor.redact(sighting, policy, picture)
        assert np.array_equal(got.pixels, redact(sighting, policy).pixels)
    assert np.array_equal(kernels.download(whole), raw)


@pytest.mark.parametrize(("launches", "result"), [(0, 1), (1, 700), (3, 719)])
def test_the_processor_takes_over_from_the_first_failure_on(
    kernels: Kernels,
    gpu: StandIn,
    launches: int,
    result: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sighting, policy = a_sighting(*OVERLAPPING), Policy()
    want = redact(sighting, policy).pixels
    picture = kernels.upload(sighting.frame.pixels)
    redactor = GpuRedactor(kernels)
    gpu.fail(launches, result)
    for _ in range(3):
        assert np.array_equal(redactor.redact(sighting, policy, picture).pixels, want)
    assert f"CUDA error {result}" in redactor.given_up
    assert [record.message for record in caplog.records].count(
        f"redaction goes on with the processor, the GPU failed: {redactor.given_up}"
    ) == 1
    gpu.fail(-1, 0)
