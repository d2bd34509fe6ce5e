from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.config.key_template import KEY_TEMPLATE, LONGEST_KEY, LONGEST_PART
from edge.privacy.naming import Named, Naming
from edge.sinks.keys import checked, message_name

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)
MIRROR = "{dir}/{stem}.{ext}"
DIGEST = r"~[0-9a-f]{20}"
NAMES = st.text(st.characters() | st.sampled_from("./\\\0 %+~ü") | st.sampled_from("abc"))
ODD_NAMES = NAMES | st.builds(lambda text, times: text * times, NAMES, st.integers(1, 400))
TEMPLATES = st.sampled_from(
    [
        KEY_TEMPLATE,
        MIRROR,
        "{id}.{ext}",
        "{stem}.{ext}",
        "{dir}.{ext}",
        "red {source}/{dir}{stem}-{id}.{ext}",
        "a/{dir}/b/{dir}/{stem}{stem}.{ext}",
    ]
)


def named(original: str = "", **other: object) -> Named:
    given = Named(source="yard", taken_at=WHEN, id="event.policy", ending="jpg", original=original)
    return replace(given, **other)  # type: ignore[arg-type]


def key(template: str, original: str = "", room: int = LONGEST_KEY, **other: object) -> str:
    return Naming(lambda _: template, room)(named(original, **other))


def test_the_usual_template_says_source_and_time_in_utc() -> None:
    made = Naming()(named())
    assert re.fullmatch(r"yard/2026/03/04/050607\.089-[0-9a-f]{16}\.jpg", made)
    east = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert Naming()(named(taken_at=east)) == made
    assert Naming()(named(id="other.policy")) != made


@pytest.mark.parametrize(
    ("original", "made"),
    [
        ("in/cam 1/häll+7%.JPEG", "in/cam 1/häll+7%.webp"),
        ("7.jpg", "7.webp"),
        ("7", "7.webp"),
        ("in/.hidden", "in/.hidden.webp"),
        ("a.b/c.d.png", "a.b/c.d.webp"),
        ("in/日本/é\u3000x.png", "in/日本/é\u3000x.webp"),
        ("x" * 100 + "/" + "y" * 220 + ".jpg", "x" * 100 + "/" + "y" * 220 + ".webp"),
    ],
)
def test_a_sound_name_is_kept_to_the_letter(original: str, made: str) -> None:
    assert key(MIRROR, original, ending="webp") == made


@pytest.mark.parametrize(
    ("original", "like"),
    [
        ("../../etc/passwd", rf"_\.\./_\.\./etc/passwd{DIGEST}\.jpg"),
        ("a/ .. /b.jpg", rf"a/_\.\./b{DIGEST}\.jpg"),
        ("/a.jpg", rf"a{DIGEST}\.jpg"),
        ("a//b.jpg", rf"a/b{DIGEST}\.jpg"),
        ("a/b/", rf"a/b{DIGEST}\.jpg"),
        ("/", rf"{DIGEST}\.jpg"),
        ("a\n\0/b\x7f.jpg", rf"a__/b_{DIGEST}\.jpg"),
        ("a\ud800.jpg", rf"a_{DIGEST}\.jpg"),
        ("a\uffff.jpg", rf"a_{DIGEST}\.jpg"),
        ("x.jpg/y.jpg", rf"x\.jpg_/y{DIGEST}\.jpg"),
        ("x.json/y.jpg", rf"x\.json_/y{DIGEST}\.jpg"),
        (".edge-tmp-1/y.jpg", rf"_\.edge-tmp-1/y{DIGEST}\.jpg"),
        (f"a~{'0' * 20}.jpg", rf"a~0{{20}}{DIGEST}\.jpg"),
        ("ü" * 200 + "/b.jpg", rf"ü{{127}}/b{DIGEST}\.jpg"),
        ("ü" * 200 + ".jpg", rf"ü{{114}}{DIGEST}\.jpg"),
    ],
)
def test_a_name_that_no_store_could_have_is_changed_and_says_so(original: str, like: str) -> None:
    assert re.fullmatch(like, key(MIRROR, original))


def test_a_long_key_is_cut_to_the_room_there_is() -> None:
    original = "/".join(["d" * 200] * 4) + "/" + "s" * 90 + ".jpg"
    assert key(MIRROR, original) == original
    short = key(MIRROR, original, room=507)
    assert len(short) == 507
    assert short.startswith("d" * 200 + "/" + "d" * 200 + "/")
    assert short != key(MIRROR, original.replace("s", "t"), room=507)


def test_the_original_plays_no_part_where_no_name_is_asked_for() -> None:
    assert Naming()(named("../x\0")) == Naming()(named(""))


@given(TEMPLATES, ODD_NAMES, st.sampled_from(["jpg", "webp", "png"]), st.sampled_from([507, 1019]))
@example(MIRROR, "ü" * 900, "webp", 507)
@example(MIRROR, "d" * 255 + "/" + "e" * 255, "webp", 507)
@example("{dir}.{ext}", "x.json/", "png", 507)
def test_every_key_is_one_that_every_store_takes(
    template: str, original: str, ending: str, room: int
) -> None:
    made = key(template, original, room, ending=ending)
    path = checked(made)
    assert str(path) == made
    assert len(made.encode()) <= room
    for place in (path, message_name(path)):
        assert all(0 < len(part.encode()) <= LONGEST_PART for part in place.parts)
    assert path.suffix == f".{ending}"
    assert not any(
        PurePosixPath(part).suffix in {".jpg", ".webp", ".png", ".json"} for part in path.parts[:-1]
    )
    assert key(template, original, room, ending=ending) == made


def split(original: str) -> tuple[str, str]:
    """What a template for names sees of one: two that are the same share a key by intent."""
    above, slash, name = original.rpartition("/")
    return above + slash, name.rpartition(".")[0] or name


@given(ODD_NAMES, ODD_NAMES, st.sampled_from([507, 1019]))
@example("a\0", "a\1", 507)
@example("a//b", "a/b", 507)
@example("/a", "a", 507)
@example("in/.hidden", "in", 507)
@example("in/", "in", 507)
@example("d" * 600 + "/x", "d" * 600 + "/y", 507)
def test_two_names_never_share_a_key_by_being_changed(one: str, other: str, room: int) -> None:
    if one and other and split(one) != split(other):
        assert key(MIRROR, one, room) != key(MIRROR, other, room)


@given(ODD_NAMES.filter(bool))
def test_nobody_can_name_a_picture_so_that_it_meets_one_that_was_changed(original: str) -> None:
    made = key(MIRROR, original)
    if re.search(DIGEST, made):
        assert key(MIRROR, made) != made
