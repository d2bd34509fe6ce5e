from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from edge import __version__
from edge.config.privacy import Format, Policy
from edge.errors import Withheld
from edge.frame import Encoded, Pixels
from edge.privacy.encode import encode, extension
from edge.stages.decode import decode
from tests.places import shared

FORMATS: tuple[Format, ...] = get_args(Format)
WRITTEN_BY_THE_FORMAT = {
    "jpeg": {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"},
    "webp": {"loop", "background", "timestamp", "duration"},
    "png": set[str](),
}
WHEN = datetime(2026, 3, 4, 7, 6, 7, 89123, tzinfo=timezone(timedelta(hours=2)))


def ramp(width: int = 64, height: int = 48) -> Pixels:
    rows, columns = np.mgrid[:height, :width]
    return np.stack((rows * 2, columns * 2, rows + columns), 2).astype(np.uint8)


def opened(body: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(body))
    picture.load()
    return picture


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_is_encoded_in_the_policys_format(kind: Format) -> None:
    pixels = ramp()
    body, content_type = encode(pixels, Policy(format=kind), WHEN, "yard")
    picture = opened(body)
    assert content_type == f"image/{kind}"
    assert (picture.format or "").lower() == kind
    assert picture.size == (64, 48)
    shown = np.asarray(picture.convert("RGB"))[:, :, ::-1].astype(int)
    assert np.abs(shown - pixels).mean() < 3


def test_png_keeps_every_pixel() -> None:
    pixels = ramp()
    body, _ = encode(pixels, Policy(format="png"), WHEN, "yard")
    assert np.array_equal(np.asarray(opened(body).convert("RGB"))[:, :, ::-1], pixels)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_metadata_say_when_where_and_by_what_and_nothing_else(kind: Format) -> None:
    body, _ = encode(ramp(), Policy(format=kind), WHEN, "yard-2")
    exif = opened(body).getexif()
    assert dict(exif.get_ifd(0x8769)) == {
        0x9003: "2026:03:04 05:06:07",
        0x9291: "089",
        0x9011: "+00:00",
    }
    assert {tag: value for tag, value in exif.items() if tag != 0x8769} == {
        0x010E: "yard-2",
        0x0131: f"Edge {__version__}",
    }


def test_a_source_may_have_any_name() -> None:
    for name in ("0000:00:00 00:00:00 ~~~", "Tor Süd", "x" * 500):
        body, _ = encode(ramp(), Policy(), WHEN, name)
        exif = opened(body).getexif()
        assert exif[0x010E] == name.encode("ascii", "replace").decode()
        assert exif.get_ifd(0x8769)[0x9003] == "2026:03:04 05:06:07"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "name", ["exif_gps_private.jpg", "exif_embedded_thumbnail.jpg", "icc_profile.jpg"]
)
def test_nothing_of_the_inputs_metadata_comes_through(kind: Format, name: str) -> None:
    before = (shared("data/odd") / name).read_bytes()
    arrived = Encoded(body=before, name=name, taken_at=WHEN, source="yard", subject=name)
    pixels = decode(arrived, max_pixels=1_000_000).pixels
    body, _ = encode(pixels, Policy(format=kind), WHEN, "yard")
    picture = opened(body)
    exif = picture.getexif()
    assert not exif.get_ifd(0x8825)  # GPS
    assert 0x010F not in exif  # maker
    assert not exif.get_ifd(1)  # thumbnail
    assert set(picture.info) <= {"exif"} | WRITTEN_BY_THE_FORMAT[kind]
    assert body.count(b"\xff\xd8\xff") == (kind == "jpeg")  # no picture in the picture
    assert b"http://ns.adobe.com" not in body


def test_quality_is_the_policys() -> None:
    sizes = [len(encode(ramp(), Policy(quality=quality), WHEN, "yard")[0]) for quality in (20, 95)]
    assert sizes[0] < sizes[1]


def test_a_size_that_the_format_has_not_is_withheld() -> None:
    pixels = np.zeros((1, 16_384, 3), np.uint8)
    with pytest.raises(Withheld) as caught:
        encode(pixels, Policy(format="webp"), WHEN, "yard")
    assert caught.value.reason == "not_encodable"
    assert encode(pixels, Policy(format="jpeg"), WHEN, "yard")[0]


def test_the_same_picture_gives_the_same_bytes() -> None:
    one, other = (encode(ramp(), Policy(), WHEN.astimezone(zone), "yard") for zone in (UTC, None))
    assert one == other


def test_names_end_as_people_expect() -> None:
    assert [extension(Policy(format=kind)) for kind in ("jpeg", "webp", "png")] == [
        "jpg",
        "webp",
        "png",
    ]
