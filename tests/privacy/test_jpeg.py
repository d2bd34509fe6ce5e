"""JPEGs by somebody else: what the gate believes of them, and what it finds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.config.privacy import Policy
from edge.errors import GpuLost, PartFailed
from edge.frame import Pixels
from edge.privacy.encode import encode, opencv_jpeg
from edge.privacy.jpeg import EVERY, CheckedJpeg
from edge.privacy.jpeg_check import must_show
from edge.privacy.jpeg_form import read
from tests.parts import MORNING
from tests.places import shared


class Encoder:
    """OpenCV, which keeps the contract, and whatever a test lets happen to what it gets or says."""

    name = "OpenCV"

    def __init__(self, *, restarts: bool = True) -> None:
        self.restarts = restarts
        self.see: Callable[[Pixels], Pixels] = lambda pixels: pixels
        self.say: Callable[[bytes], bytes] = lambda jpeg: jpeg
        self.asked = 0

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        self.asked += 1
        assert pixels.flags.c_contiguous
        assert not pixels.shape[0] % 16
        assert not pixels.shape[1] % 16
        parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
        if self.restarts:
            parameters += [cv2.IMWRITE_JPEG_RST_INTERVAL, pixels.shape[1] // 16]
        done, body = cv2.imencode(".jpg", self.see(pixels), parameters)
        assert done
        return self.say(body.tobytes())

    def close(self) -> None:
        """Nothing is held."""


def noise(width: int, height: int, seed: int = 1, grain: int = 1) -> Pixels:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (-(-height // grain), -(-width // grain), 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def decoded(jpeg: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@settings(deadline=None, max_examples=150)
@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 600)),
    grain=st.sampled_from([1, 2, 5, 16, 40]),
    quality=st.integers(1, 100),
    seed=st.integers(0, 9),
    contrast=st.floats(0, 1),
    restarts=st.booleans(),
)
def test_an_honest_encoder_is_believed(
    size: tuple[int, int], grain: int, quality: int, seed: int, contrast: float, *, restarts: bool
) -> None:
    pixels = (noise(*size, seed, grain) * contrast).astype(np.uint8)
    checked = CheckedJpeg(Encoder(restarts=restarts))
    made = [checked(pixels, quality) or b"" for _ in range(EVERY)]
    assert all(made), checked.given_up
    # but for the last blocks, which libjpeg fills up in another way, it is what OpenCV makes
    far = np.abs(decoded(made[0]).astype(int) - decoded(opencv_jpeg(pixels, quality)))
    whole = (size[1] // 16 * 16, size[0] // 16 * 16)
    assert not far[: whole[0] - 16, : whole[1] - 16].any()


@pytest.mark.parametrize("name", ["street_peds.jpg", "car_licence_plate.jpg"])
@pytest.mark.parametrize("quality", [40, 85, 100])
def test_photographs_are_believed_and_a_change_of_64_rows_is_found_at_once(
    name: str, quality: int
) -> None:
    photo = decoded((shared("data/photos") / name).read_bytes())
    photo = np.asarray(cv2.resize(photo, (1280, 720)), np.uint8)
    checked = CheckedJpeg(Encoder())
    assert all(checked(photo, quality) for _ in range(EVERY))
    for top in (0, 100, 333, 656):
        for _ in range(2 * EVERY):
            encoder = Encoder()
            encoder.see = changed(top, 64)
            checked = CheckedJpeg(encoder)
            assert checked(photo, quality) is None, f"rows from {top} on"


def changed(top: int, rows: int) -> Callable[[Pixels], Pixels]:
    """Return what puts another part of the picture in the place of some rows."""

    def change(pixels: Pixels) -> Pixels:
        pixels = pixels.copy()
        pixels[top : top + rows] = np.roll(pixels, (200, 300), (0, 1))[top : top + rows]
        return pixels

    return change


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros_like,
        lambda pixels: np.full_like(pixels, 128),
        lambda pixels: np.ascontiguousarray(pixels[:, :, ::-1]),
        lambda pixels: np.ascontiguousarray(pixels[::-1]),
        lambda pixels: np.roll(pixels, 16, 1),
        lambda pixels: np.roll(pixels, 16, 0),
        lambda pixels: noise(pixels.shape[1], pixels.shape[0], 99, 8),
        lambda pixels: (pixels * 0.9).astype(np.uint8),
    ],
)
@pytest.mark.parametrize("size", [(640, 480), (1000, 563), (40, 30)])
def test_another_picture_is_found(wrong: Callable[[Pixels], Pixels], size: tuple[int, int]) -> None:
    encoder = Encoder()
    checked = CheckedJpeg(encoder)
    pixels = noise(*size, 5, 7)
    assert checked(pixels, 85)
    encoder.see = wrong
    assert checked(pixels, 85) is None
    assert "another picture than was asked for" in checked.given_up


@pytest.mark.parametrize(
    "say",
    [
        lambda _: b"",
        lambda jpeg: jpeg[:-2],
        lambda jpeg: jpeg[: len(jpeg) // 2],
        lambda jpeg: jpeg[: len(jpeg) // 2] + b"\xff\xd9",
        lambda jpeg: jpeg + b"\0" * 64,
        lambda jpeg: jpeg + jpeg,
        lambda jpeg: b"\0" + jpeg,
        lambda jpeg: jpeg[:-2] + b"\xff\xe1\0\x09what was" + b"\xff\xd9",
        lambda jpeg: jpeg[:-2] + b"\xff" + b"\xff\xd9",
        lambda jpeg: jpeg.replace(b"\xff\xc0", b"\xff\xc2"),
        lambda jpeg: jpeg.replace(b"\xff\xc0", b"\xff\xc4"),
        lambda jpeg: jpeg.replace(b"\xff\xd0", b"\xff\xd5", 1),
        lambda jpeg: jpeg.replace(b"\xff\xdb\x00\x43", b"\xff\xdb\x00\x41", 1),
        lambda jpeg: opencv_jpeg(decoded(jpeg)[:-16], 85),
    ],
)
@pytest.mark.parametrize("size", [(640, 576), (40, 30)])
def test_what_is_no_such_jpeg_does_not_leave(
    say: Callable[[bytes], bytes], size: tuple[int, int]
) -> None:
    encoder = Encoder()
    encoder.say = say
    checked = CheckedJpeg(encoder)
    pixels = noise(*size, 5, 7)
    assert checked(pixels, 85) is None
    assert checked.given_up


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_is_an_answer_and_never_a_bug(data: st.DataObject) -> None:
    pixels = noise(48, 32, 3, 4)
    jpeg = bytearray(Encoder().encode(pixels, 85))
    for _ in range(data.draw(st.integers(1, 4))):
        jpeg[data.draw(st.integers(0, len(jpeg) - 1))] = data.draw(st.integers(0, 255))
    try:
        form = read(bytes(jpeg), 48, 32)
        must_show(form, pixels, 85)
    except PartFailed:
        return
    assert decoded(form.whole(48, 32)).shape == pixels.shape


def test_nothing_but_the_picture_is_taken_over() -> None:
    encoder = Encoder()
    secret = b"\xff\xfe\x00\x0cwhat was there"[:14]
    encoder.say = lambda jpeg: jpeg[:2] + secret + b"\xff\xe1\x00\x08Exif\0\0" + jpeg[2:]
    body, kind = encode(noise(64, 48), Policy(), MORNING, "yard", jpeg=CheckedJpeg(encoder))
    assert kind == "image/jpeg"
    assert b"what" not in body
    assert body.count(b"Exif") == 1
    assert encoder.asked == 1


@pytest.mark.parametrize("row", range(EVERY))
def test_every_row_has_its_turn(row: int) -> None:
    encoder = Encoder()
    checked = CheckedJpeg(encoder)
    pixels = noise(64, 512, 2, 9)

    def blot(pixels: Pixels) -> Pixels:
        pixels = pixels.copy()
        pixels[16 * row : 16 * row + 16] ^= 0x40
        return pixels

    encoder.see = blot
    made = [checked(pixels, 85) for _ in range(100)]  # it is missed once in 10^12
    assert checked.given_up
    assert made[-1] is None


def test_the_processor_takes_over_at_the_first_doubt_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoder = Encoder()
    checked = CheckedJpeg(encoder)
    pixels = noise(320, 240, 2, 8)
    encoder.see = np.zeros_like
    encoder.name = "nvJPEG 1.2.3"
    made = [encode(pixels, Policy(), MORNING, "yard", jpeg=checked)[0] for _ in range(3)]
    encoder.see = lambda pixels: pixels
    made.append(encode(pixels, Policy(), MORNING, "yard", jpeg=checked)[0])
    assert set(made) == {encode(pixels, Policy(), MORNING, "yard")[0]}
    assert encoder.asked == 1
    said = "pictures are encoded by the processor from now on: nvJPEG 1.2.3 failed: "
    assert caplog.text.count(said) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_lost_gpu_is_told_once_whoever_meets_it() -> None:
    lost: list[GpuLost] = []
    encoder = Encoder()
    checked = CheckedJpeg(encoder, lost=lost.append)
    together = threading.Barrier(4)

    def lose(_: Pixels) -> Pixels:
        together.wait(30)
        raise GpuLost("it is gone")

    encoder.see = lose
    pixels = noise(64, 64)
    threads = [
        threading.Thread(target=checked, args=(pixels, 85), name=f"picture-{n}") for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [str(one) for one in lost] == ["it is gone"]
    assert checked.given_up == "it is gone"


def test_what_is_longer_than_a_jpeg_may_be_is_the_processors_to_refuse() -> None:
    encoder = Encoder()
    checked = CheckedJpeg(encoder)
    assert checked(np.zeros((1, 65_500, 3), np.uint8), 85) is None
    assert (encoder.asked, checked.given_up) == (0, "")


@pytest.mark.parametrize("restarts", [True, False])
def test_an_honest_encoder_may_show_itself(*, restarts: bool) -> None:
    encoder = Encoder(restarts=restarts)
    CheckedJpeg(encoder).show_itself()
    assert encoder.asked == 12


def test_one_that_is_worse_than_opencv_is_not_begun_with() -> None:
    encoder = Encoder()
    # it keeps every block's mean, and loses what is in it
    encoder.see = lambda pixels: np.asarray(
        cv2.resize(
            cv2.resize(pixels, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA),
            pixels.shape[1::-1],
            interpolation=cv2.INTER_NEAREST,
        ),
        np.uint8,
    )
    with pytest.raises(PartFailed, match=r"another picture|worse than OpenCV"):
        CheckedJpeg(encoder).show_itself()
