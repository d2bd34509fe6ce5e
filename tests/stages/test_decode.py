from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.errors import Rejected
from edge.frame import Encoded, Frame, Pixels
from edge.stages.decode import decode
from edge.stages.decode_png import only_picture
from tests.places import ROOT, shared

MOST = 50_000_000
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LARGE, SMALL = (480, 360), (240, 180)

ODD: dict[str, tuple[int, int] | str] = {
    "all_black.jpg": LARGE,
    "all_white.jpg": LARGE,
    "animated.gif": SMALL,
    "animated.webp": SMALL,
    "bad_crc.png": "damaged",
    "bilevel.png": SMALL,
    "bomb_16000x12000_rgb.png": "too_many_pixels",
    "bomb_40000x40000_1bit.png": "too_many_pixels",
    "cmyk.jpg": LARGE,
    "exif_embedded_thumbnail.jpg": LARGE,
    "exif_gps_private.jpg": LARGE,
    **{f"exif_orientation_{n}.jpg": LARGE for n in range(1, 9)},
    "exif_orientation_invalid_99.jpg": LARGE,
    "float32.tiff": "unsupported_format",
    "gray.jpg": LARGE,
    "gray16.png": SMALL,
    "header_lies_65500.jpg": "too_many_pixels",
    "header_lies_65535.png": "too_many_pixels",
    "icc_profile.jpg": LARGE,
    "jpeg_444.jpg": LARGE,
    "jpeg_no_extension": LARGE,
    "jpeg_trailing_garbage.jpg": LARGE,
    "lossless.webp": SMALL,
    "lossy.webp": LARGE,
    "multipage.tiff": SMALL,
    "noise.jpg": LARGE,
    "odd_size_479x361.jpg": (479, 361),
    "palette.png": SMALL,
    "photo.avif": LARGE,
    "photo.bmp": SMALL,
    "photo.heic": "unsupported_format",
    "photo.jp2": SMALL,
    "png_named_jpg.jpg": SMALL,
    "progressive.jpg": LARGE,
    "rgb16.png": SMALL,
    "rgba.png": SMALL,
    "strip_3x8000.jpg": (3, 8000),
    "strip_8000x3.jpg": (8000, 3),
    "text_named_jpg.jpg": "not_a_picture",
    "tiny_1x1.png": (1, 1),
    "truncated.png": "damaged",
    "truncated_half.jpg": "damaged",
    "truncated_header.jpg": "damaged",
    "zero_byte.jpg": "not_a_picture",
    "zero_height.jpg": "damaged",
    "audio_only.mp4": "not_a_picture",
    "video.ts": "not_a_picture",
    "video_hevc.mp4": "not_a_picture",
    "video_hevc_10bit.mp4": "not_a_picture",
    "video_mjpeg.avi": "not_a_picture",
    "video_no_moov.mp4": "not_a_picture",
    "video_odd_yuv444.mp4": "not_a_picture",
    "video_one_frame.mp4": "not_a_picture",
    "video_rotated90_metadata.mp4": "not_a_picture",
    "video_truncated.mp4": "not_a_picture",
    "video_vfr.mp4": "not_a_picture",
    "video_with_audio.mp4": "not_a_picture",
    "video_zero_byte.mp4": "not_a_picture",
}
"""Every odd file: the size of the frame that it gives, or the reason why it gives none."""

CLOSE_TO_UPRIGHT = {
    "exif_embedded_thumbnail.jpg": 0,
    "exif_gps_private.jpg": 0,
    **{f"exif_orientation_{n}.jpg": 4 for n in range(1, 9)},
    "exif_orientation_invalid_99.jpg": 0,
    "cmyk.jpg": 4,
    "gray.jpg": 9,
    "icc_profile.jpg": 0,
    "jpeg_444.jpg": 4,
    "jpeg_trailing_garbage.jpg": 0,
    "lossy.webp": 5,
    "photo.avif": 5,
    "progressive.jpg": 0,
    **dict.fromkeys(("rgb16.png", "rgba.png", "palette.png", "photo.bmp", "photo.jp2"), 10),
    **dict.fromkeys(("lossless.webp", "multipage.tiff", "animated.gif", "animated.webp"), 10),
    **dict.fromkeys(("png_named_jpg.jpg", "gray16.png"), 12),
}
"""Mean difference in levels from the same scene that a file may have."""

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]
TURNED = [
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_270,
]
"""How a picture lies in a file of orientation 1 to 8."""


def encoded(body: bytes, name: str = "picture.jpg") -> Encoded:
    return Encoded(body=body, name=name, taken_at=WHEN, source="yard", subject=name)


def decoded(body: bytes) -> Frame:
    return decode(encoded(body), max_pixels=MOST)


def odd(name: str) -> bytes:
    return (shared("data/odd") / name).read_bytes()


def outcome(body: bytes, most: int = MOST) -> Frame | str:
    """Return the frame, or the reason why there is none."""
    try:
        return decode(encoded(body), max_pixels=most)
    except Rejected as refusal:
        return refusal.reason


def reason_of(body: bytes, most: int = MOST) -> str:
    with pytest.raises(Rejected) as caught:
        decode(encoded(body), max_pixels=most)
    assert caught.value.hint
    return caught.value.reason


def saved(picture: Image.Image, kind: str, **how: object) -> bytes:
    body = io.BytesIO()
    picture.save(body, kind, **how)
    return body.getvalue()


def scene(size: tuple[int, int] = SMALL) -> Image.Image:
    return Image.open(io.BytesIO(odd("exif_orientation_1.jpg"))).convert("RGB").resize(size)


def distance(pixels: Pixels, other: Pixels) -> float:
    assert pixels.shape == other.shape
    return float(np.abs(pixels.astype(int) - other).mean())


def test_every_odd_file_is_expected() -> None:
    assert {path.name for path in shared("data/odd").iterdir()} == set(ODD)


@pytest.mark.parametrize("name", sorted(ODD))
def test_an_odd_file_gives_a_frame_or_a_reason(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = ODD[name]
    if isinstance(expected, str):
        assert reason_of(odd(name)) == expected
    else:
        frame = decode(encoded(odd(name), name), max_pixels=MOST)
        assert frame.size == expected
        assert (frame.taken_at, frame.source, frame.subject) == (WHEN, "yard", name)
        assert not frame.live
        assert not frame.pixels.flags.writeable
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", sorted(CLOSE_TO_UPRIGHT))
def test_an_odd_picture_shows_the_upright_scene(name: str) -> None:
    frame = decoded(odd(name))
    upright = decoded(odd("exif_orientation_1.jpg")).pixels
    wanted = cv2.resize(upright, frame.size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    assert distance(frame.pixels, wanted) <= CLOSE_TO_UPRIGHT[name]


@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 99])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_is_turned_upright(kind: str, orientation: int) -> None:
    wanted = scene()
    turn = TURNED[orientation - 1] if 1 <= orientation <= 8 else None
    lying = wanted if turn is None else wanted.transpose(turn)
    exif = Image.Exif()
    exif[274] = orientation
    how = {"exif": exif} if kind != "TIFF" else {"tiffinfo": {274: orientation}}
    frame = decoded(saved(lying, kind, quality=95, **how))
    assert distance(frame.pixels, np.asarray(wanted)[:, :, ::-1]) < 4


def test_orientation_is_found_behind_other_metadata() -> None:
    body = odd("exif_orientation_6.jpg")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    segment = b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp
    assert decoded(body[:2] + segment + body[2:]).size == LARGE


def test_what_transparency_hides_is_looked_at() -> None:
    picture = scene()
    picture.putalpha(0)
    frame = decoded(saved(picture, "PNG"))
    assert distance(frame.pixels, np.asarray(scene())[:, :, ::-1]) == 0


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_only_the_first_picture_of_many_is_taken(kind: str) -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    body = saved(first, kind, save_all=True, append_images=[second])
    red = np.full((30, 40, 3), (0, 0, 255), np.uint8)
    assert distance(decoded(body).pixels, red) < 3


def test_a_jpeg_with_more_pictures_behind_it_is_read() -> None:
    body = saved(scene(), "MPO", save_all=True, append_images=[scene()])
    assert decoded(body).size == SMALL


@pytest.mark.parametrize(
    "name",
    [
        "exif_orientation_1.jpg", "progressive.jpg", "jpeg_444.jpg", "png_named_jpg.jpg",
        "palette.png", "lossy.webp", "lossless.webp", "photo.bmp", "multipage.tiff", "photo.jp2",
        "photo.avif",
    ],
)  # fmt: skip
def test_half_a_picture_is_never_shown(name: str) -> None:
    body = odd(name)
    whole = decoded(body).pixels
    for tenth in range(1, 20):
        shown = outcome(body[: len(body) * tenth // 20])
        if isinstance(shown, str):
            assert shown in {"damaged", "not_a_picture", "unsupported_format"}
        else:  # what is missing was not of the first picture
            assert np.array_equal(shown.pixels, whole)
            assert name == "multipage.tiff"


def test_a_tiff_whose_strips_lie_behind_its_end_is_damaged() -> None:
    body = saved(scene(), "TIFF")
    with Image.open(io.BytesIO(body)) as opened:
        offset = opened.tag_v2.get(273)[-1]  # type: ignore[attr-defined]
    assert reason_of(body.replace(offset.to_bytes(4, "little"), b"\xff\xff\xff\x0f")) == "damaged"


def test_a_png_chunk_that_claims_gigabytes_is_damaged() -> None:
    body = bytearray(odd("tiny_1x1.png"))
    assert body[37:41] == b"IDAT"
    body[33] = 0xF5  # OpenCV alone would take 4 GB and ten seconds
    assert reason_of(bytes(body)) == "damaged"


def test_a_png_is_read_without_what_does_not_draw_it() -> None:
    body = odd("bilevel.png")  # with a colour profile that libpng complains about
    left = only_picture(body)
    assert b"iCCP" in body
    assert b"iCCP" not in left
    assert left.endswith(b"IEND\xaeB`\x82")


def test_a_png_of_a_hundred_thousand_chunks_is_damaged() -> None:
    body = odd("tiny_1x1.png")
    empty = b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    assert isinstance(outcome(body[:57] + empty * 50 + body[57:]), Frame)
    assert reason_of(body[:57] + empty * 100_000 + body[57:]) == "damaged"


def test_a_jpeg_of_thousands_of_scans_is_damaged() -> None:
    body = odd("progressive.jpg")
    first = body.index(b"\xff\xda")
    second = body.index(b"\xff\xda", first + 2)
    assert reason_of(body[:second] + body[first:second] * 200 + body[second:]) == "damaged"


def test_a_webp_is_judged_by_its_header() -> None:
    for lossless in (False, True):
        body = saved(scene(), "WEBP", lossless=lossless)
        assert decode(encoded(body), max_pixels=240 * 180).size == SMALL
        assert reason_of(body, most=240 * 180 - 1) == "too_many_pixels"
    extended = bytearray(saved(scene(), "WEBP", exif=Image.Exif(), icc_profile=b"x" * 200))
    assert extended[12:16] == b"VP8X"
    extended[24:30] = b"\xff\x3f\x00\xff\x3f\x00"
    assert reason_of(bytes(extended)) == "too_many_pixels"
    assert reason_of(bytes(extended[:25])) == "damaged"
    assert reason_of(bytes(extended[:12]) + b"JUNK" + bytes(extended[16:])) == "damaged"


def test_formats_that_take_more_memory_may_have_fewer_pixels() -> None:
    assert decode(encoded(odd("photo.jp2")), max_pixels=4 * 240 * 180).size == SMALL
    assert reason_of(odd("photo.jp2"), most=4 * 240 * 180 - 1) == "too_many_pixels"
    assert reason_of(odd("photo.avif"), most=2 * 480 * 360 - 1) == "too_many_pixels"


def test_a_heic_says_what_to_send_instead() -> None:
    with pytest.raises(Rejected) as caught:
        decoded(odd("photo.heic"))
    assert "HEIC" in str(caught.value)
    assert "JPEG" in caught.value.hint


def test_a_refusal_shows_nothing_of_the_content() -> None:
    with pytest.raises(Rejected) as caught:
        decoded(b"my secret diary")
    assert "diary" not in str(caught.value) + caught.value.hint


def test_the_whole_set_takes_little_memory_and_time() -> None:
    """In a process of its own: one that may have 2 GiB of addresses and ends after a minute."""
    folder = shared("data/odd")
    done = subprocess.run(
        [sys.executable, "-c", DECODE_ALL, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["results"] == {
        name: list(result) if isinstance(result, tuple) else result for name, result in ODD.items()
    }
    assert report["peak_mib"] < 1024
    assert done.stderr == ""


DECODE_ALL = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from tests.stages.test_decode import MOST, Rejected, decode, encoded
results = {}
for path in Path(sys.argv[1]).iterdir():
    try:
        results[path.name] = decode(encoded(path.read_bytes()), max_pixels=MOST).size
    except Rejected as refusal:
        results[path.name] = refusal.reason
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"results": results, "peak_mib": peak}))
"""


@st.composite
def mutations(draw: st.DrawFn, names: tuple[str, ...]) -> bytes:
    """A real file with a few bytes changed, left out or put in, most of them in its header."""
    body = bytearray(odd(draw(st.sampled_from(names))))
    reach = draw(st.sampled_from([40, 700, len(body)]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(reach, len(body)) - 1))
        put = draw(st.binary(max_size=6))
        body[at : at + draw(st.integers(0, 6))] = put
        if not body:
            break
    return bytes(body)


MUTATED = (
    "exif_orientation_6.jpg", "progressive.jpg", "cmyk.jpg", "palette.png", "rgb16.png",
    "tiny_1x1.png", "lossless.webp", "animated.webp", "photo.bmp", "multipage.tiff",
    "animated.gif", "photo.jp2", "photo.avif", "photo.heic",
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=mutations(MUTATED))
def test_a_changed_file_gives_a_frame_or_a_reason(body: bytes) -> None:
    ended = outcome(body, most=1_000_000)
    if isinstance(ended, str):
        assert ended in {"not_a_picture", "unsupported_format", "too_many_pixels", "damaged"}
    else:
        assert ended.size[0] * ended.size[1] <= 1_000_000


@given(body=st.binary(max_size=64), name=st.sampled_from(MUTATED))
def test_a_beginning_without_a_picture_is_refused(body: bytes, name: str) -> None:
    assert reason_of(odd(name)[:12] + body)
