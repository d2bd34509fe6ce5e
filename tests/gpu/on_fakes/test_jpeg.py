"""JPEGs by a GPU that is a processor: the gate with our nvJPEG, which errs as it is told to.

What this shows is Edge's own part. NVIDIA's nvJPEG encoded nothing here.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.config.privacy import Format, Policy
from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels
from edge.parcel import Parcel
from edge.privacy.gate import PrivacyGate
from edge.privacy.jpeg import CheckedJpeg
from edge.privacy.jpeg_check import must_show
from edge.privacy.jpeg_form import read
from edge.stages.engines import tensorrt_cuda
from edge.stages.kernels.jpeg import GpuJpeg
from edge.stages.redact import redact
from tests.bench import gpu_jpeg
from tests.gpu.fakes import FakeGpu, FakeNvJpeg
from tests.privacy.parts import OTHER, PERSON, people, seen, shown
from tests.stages.parts import a_frame, an_event

SIZES = [(1920, 1080), (1280, 720), (641, 479), (16, 16), (1, 1), (17, 600)]
SILENT = [
    "another",
    "truncated",
    "size",
    "longer",
    "nothing",
    "endless",
    "colours",
    "444",
    "progressive",
    "shifted",
    "stale half",
]
"""What nvJPEG does and calls success."""


@pytest.fixture
def nvjpeg() -> Iterator[FakeNvJpeg]:
    fake = FakeNvJpeg()
    fake.reset()
    yield fake
    fake.reset()


class Encoding:
    """An encoder with a gate before it, and what the gate was told."""

    def __init__(self, *, patience: float = 30.0) -> None:
        self.gpu = GpuJpeg(patience=patience)
        self.lost: list[GpuLost] = []
        self.checked = CheckedJpeg(self.gpu, lost=self.lost.append)

    def released(self, number: int = 0, policy: Policy | None = None, **size: object) -> Parcel:
        """Let a picture with two people through; each number is another picture."""
        policy = policy or Policy()
        frame = a_frame(**size)  # type: ignore[arg-type]
        pixels = frame.pixels.copy()
        pixels[:, :, number % 3] //= 2
        frame = replace(frame, pixels=pixels)
        sighting = seen(frame, people(PERSON, OTHER))
        redaction = redact(sighting, policy)
        gate = PrivacyGate(lambda _: policy, engine_ok=lambda _: True, jpeg=self.checked)
        parcel = gate.release(an_event(frame), sighting, redaction)
        plain = PrivacyGate(lambda _: policy, engine_ok=lambda _: True)
        want = plain.release(an_event(frame), sighting, redaction)
        assert_alike(parcel, want, redaction.pixels)
        return parcel


def assert_alike(parcel: Parcel, want: Parcel, pixels: Pixels) -> None:
    """What leaves is what would have left without a GPU: it shows the same, and says the same."""
    assert (parcel.id, parcel.key, parcel.content_type) == (want.id, want.key, want.content_type)
    assert exif_of(parcel) == exif_of(want)
    assert marks_of(parcel.body) <= marks_of(want.body) | {0xDD}
    far, may = (np.abs(shown(one).astype(int) - pixels) for one in (parcel, want))
    assert far.mean() <= 1.05 * may.mean() + 0.1
    assert far.max() <= may.max() + 8


def exif_of(parcel: Parcel) -> bytes:
    at = parcel.body.index(b"Exif\0\0")
    return parcel.body[at : at + int.from_bytes(parcel.body[at - 2 : at], "big") - 2]


def marks_of(jpeg: bytes) -> set[int]:
    """Return the kinds of the segments before the scan."""
    kinds, at = set[int](), 2
    while jpeg[at + 1] != 0xDA:
        kinds.add(jpeg[at + 1])
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return kinds


def decoded(jpeg: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def noise(width: int, height: int, seed: int = 1) -> Pixels:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(1, height // 4), max(1, width // 4), 3), np.uint8)
    return cv2.resize(small, (width, height)).astype(np.uint8)


@pytest.fixture
def encoding(nvjpeg: FakeNvJpeg) -> Iterator[Encoding]:
    opened = Encoding()
    yield opened
    opened.gpu.close()
    if not opened.lost:
        assert nvjpeg.left() == 0


def test_what_the_gpu_encodes_leaves_as_if_the_processor_had(
    encoding: Encoding, nvjpeg: FakeNvJpeg
) -> None:
    encoding.checked.show_itself()
    before = nvjpeg.pictures()
    for number in range(5):
        encoding.released(number)
    assert nvjpeg.pictures() == before + 5
    assert encoding.checked.given_up == ""
    assert encoding.gpu.name == "nvJPEG 13.3.2"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quality", [1, 30, 85, 100])
def test_any_size_and_quality_is_encoded(
    encoding: Encoding, nvjpeg: FakeNvJpeg, size: tuple[int, int], quality: int
) -> None:
    pixels = noise(*size)
    for _ in range(4):  # each row of blocks is looked at once
        body = encoding.checked(pixels, quality)
        assert body is not None, encoding.checked.given_up
        assert decoded(body).shape == pixels.shape
    assert nvjpeg.pictures() == 4


@pytest.mark.parametrize("kind", ["webp", "png"])
def test_other_formats_are_the_processors(
    encoding: Encoding, nvjpeg: FakeNvJpeg, kind: Format
) -> None:
    frame, policy = a_frame(), Policy(format=kind)
    sighting = seen(frame, people(PERSON))
    gate = PrivacyGate(lambda _: policy, engine_ok=lambda _: True, jpeg=encoding.checked)
    parcel = gate.release(an_event(frame), sighting, redact(sighting, policy))
    assert parcel.content_type == f"image/{kind}"
    assert nvjpeg.pictures() == 0


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
@pytest.mark.parametrize("fault", SILENT)
def test_whatever_it_does_in_silence_the_right_picture_leaves(
    encoding: Encoding,
    nvjpeg: FakeNvJpeg,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    size: tuple[int, int],
) -> None:
    for number in range(3):
        encoding.released(number, size=size)
    assert encoding.checked.given_up == ""
    nvjpeg.fault(fault)
    with caplog.at_level(logging.WARNING):
        for number in range(3, 6):
            encoding.released(number, size=size)
    assert encoding.checked.given_up
    assert caplog.text.count("encoded by the processor from now on: nvJPEG 13.3.2 failed: ") == 1
    assert encoding.lost == []
    done = nvjpeg.pictures()
    nvjpeg.reset()
    encoding.released(7, size=size)
    assert nvjpeg.pictures() == 0, f"it was asked again after {done}"


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_damage_within_a_row_of_blocks_is_found_within_some_pictures(
    encoding: Encoding, nvjpeg: FakeNvJpeg, size: tuple[int, int]
) -> None:
    nvjpeg.fault("damaged")
    made = [encoding.checked(noise(*size, seed=n % 3), 85) for n in range(60)]
    assert encoding.checked.given_up
    if size[1] < 512:  # is compared whole
        assert not any(made)


def test_what_it_writes_besides_the_picture_stays_here(
    encoding: Encoding, nvjpeg: FakeNvJpeg
) -> None:
    nvjpeg.fault("comment")
    assert b"somebody" not in encoding.released().body
    assert encoding.checked.given_up == ""


def test_without_restart_markers_every_picture_is_compared_whole(
    encoding: Encoding, nvjpeg: FakeNvJpeg
) -> None:
    nvjpeg.fault("no restarts")
    encoding.released(size=(1280, 720))
    assert encoding.checked.given_up == ""


def test_an_upload_that_copies_nothing_is_found(
    encoding: Encoding, nvjpeg: FakeNvJpeg, gpu: FakeGpu
) -> None:
    encoding.released(1, size=(1280, 720))
    gpu.lazy(yes=True)
    # what comes out is black, and not the picture before
    body = encoding.gpu.encode(noise(640, 480), 85)
    assert decoded(body).max() == 0
    encoding.released(2, size=(1280, 720))
    assert "another picture" in encoding.checked.given_up
    assert nvjpeg.pictures() == 3


def test_its_own_memory_comes_zeroed(encoding: Encoding, nvjpeg: FakeNvJpeg) -> None:
    for size in ((64, 64), (1280, 720)):
        assert encoding.checked(noise(*size), 85)
    assert nvjpeg.dirty() == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("cuMemAlloc_v2", 2),
        ("cuMemcpyHtoDAsync_v2", 1),
        ("cuMemsetD8Async", 1),
        ("cuStreamSynchronize", 1),
        ("nvJPEG", 6),
    ],
)
def test_a_failure_costs_no_picture(
    encoding: Encoding, nvjpeg: FakeNvJpeg, gpu: FakeGpu, call: str, code: int
) -> None:
    encoding.released()
    if call == "nvJPEG":
        nvjpeg.fault("encode")
    else:
        gpu.fail(call, code)
    encoding.released(1, size=(1280, 720))
    assert f"answered {code}" in (why := encoding.checked.given_up) or f"error {code}" in why
    assert encoding.lost == []


def test_a_lost_gpu_is_told_once_and_costs_no_picture(
    encoding: Encoding, nvjpeg: FakeNvJpeg, gpu: FakeGpu
) -> None:
    encoding.released()
    gpu.fail("cuStreamSynchronize", 700)
    for number in range(3):
        encoding.released(number)
    assert [error.reason for error in encoding.lost] == ["gpu_lost"]
    assert "700" in encoding.checked.given_up
    with pytest.raises(GpuLost):
        encoding.gpu.encode(noise(16, 16), 85)
    encoding.gpu.close()
    assert nvjpeg.left() == 3, "nothing of a lost GPU is touched again"
    tensorrt_cuda.lost("what is left on the GPU is left on purpose")


def test_one_that_hangs_is_a_lost_gpu_and_costs_no_picture(nvjpeg: FakeNvJpeg) -> None:
    encoding = Encoding(patience=1.0)
    encoding.released()
    nvjpeg.fault("hang")
    for number in range(3):
        encoding.released(number)
    assert "hangs" in encoding.checked.given_up
    assert len(encoding.lost) == 1
    encoding.gpu.close()
    nvjpeg.reset()
    encoding.gpu._thread.join(30)
    assert nvjpeg.left() == 0


def test_threads_take_turns_and_each_gets_its_own_picture(
    encoding: Encoding, nvjpeg: FakeNvJpeg
) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(4):
            pixels = noise(320 + 16 * number, 240, seed=10 * number + turn)
            body = encoding.gpu.encode(pixels, 90)
            try:
                must_show(read(body, *pixels.shape[1::-1]), pixels, 90)
            except PartFailed:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,), name=f"picture-{n}") for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert nvjpeg.pictures() == 24


def test_what_cannot_be_opened_holds_nothing(nvjpeg: FakeNvJpeg, gpu: FakeGpu) -> None:
    nvjpeg.fault("create")
    with pytest.raises(PartFailed, match=r"nvjpegCreateEx answered 6 \(execution failed\)"):
        GpuJpeg()
    nvjpeg.reset()
    gpu.fail("cuMemAlloc_v2", 2)
    with pytest.raises(PartFailed, match="nvjpegEncoderStateCreate answered 5"):
        GpuJpeg()
    assert nvjpeg.left() == 0


def test_a_gpu_that_encodes_wrongly_is_not_begun_with(
    encoding: Encoding, nvjpeg: FakeNvJpeg
) -> None:
    for fault in ("colours", "another", "stale half"):
        nvjpeg.fault(fault)
        with pytest.raises(PartFailed) as caught:
            encoding.checked.show_itself()
        assert caught.value.reason == "jpeg"


def test_the_bench_runs_through(nvjpeg: FakeNvJpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_jpeg, "ROUNDS", 1)
    rows = gpu_jpeg.measure()
    assert len(rows) == 3
    assert all(row.value for row in rows)
    nvjpeg.fault("colours")
    (row,) = gpu_jpeg.measure()
    assert row.value is None
    assert "another picture" in row.note
