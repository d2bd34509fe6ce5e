"""Names in the store, in the operator's file."""

from __future__ import annotations

import pytest

from edge.config.load import loads
from tests.config.test_load import faults
from tests.config.test_load_buckets import SECRETS, s3, source

CAMERA = '[sources.gate]\nkind = "camera"\nurl = "rtsp://h/1"\n'


def store(text: str = "", **other: object) -> str:
    keys = "".join(f"{name} = {str(value).lower()}\n" for name, value in other.items())
    template = f"key_template = '{text}'\n" if text else ""
    return f'[store]\nkind = "folder"\npath = "/out"\n{template}{keys}'


@pytest.mark.parametrize(
    "template",
    [
        "{source}/{yyyy}/{mm}/{dd}/{time}-{id}.{ext}",
        "{id}.{ext}",
        "red acted/{source} ü+%/{dir}/{stem}-{id}.{ext}",
        "{dir}{id}.x.{ext}",
    ],
)
def test_a_sound_template_is_taken(template: str) -> None:
    config = loads(store(template), "edge.toml")
    assert config.store.key_template == template


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{id}-{camera}.{ext}", "there is no {camera}; expected one of {source}"),
        ("{id}-{}.{ext}", "there is no {}"),
        ("{id}-{ID}.{ext}", "there is no {ID}"),
        ("{id", "{ at character 1 has no partner"),
        ("{id}}.{ext}", "} at character 5 has no partner"),
        ("{{id}.{ext}", "{ at character 1 has no partner"),
        ("picture.jpg", "every picture would get one name"),
        ("picture.{ext}", "every picture would get one name"),
        (" ", "every picture would get one name"),
        ("{id}", "expected .{ext} at the end"),
        ("{id}.{ext}/", "expected .{ext} at the end"),
        ("{id}.jpg", "expected .{ext} at the end"),
        ("/{id}.{ext}", "expected a relative path"),
        ("a//{id}.{ext}", "expected a relative path"),
        ("../{id}.{ext}", "expected a relative path"),
        ("a/ .. /{id}.{ext}", "expected a relative path"),
        ("./{id}.{ext}", "expected a relative path"),
        ("{source}.jpg/{id}.{ext}", "named like a file"),
        ("a.JSON/{id}.{ext}", "named like a file"),
        (".edge-tmp-{id}.{ext}", "unfinished"),
        ("x" * 250 + "{id}.{ext}", "at most 256 bytes"),
        ("ü" * 124 + "{id}.{ext}", "at most 256 bytes"),
    ],
)
def test_an_unsound_template_is_refused_wherever_it_stands(template: str, says: str) -> None:
    found = faults(store(template))
    assert list(found) == ["store.key_template"]
    assert says in found["store.key_template"]
    found = faults(f"{CAMERA}key_template = '{template}'\n" + store())
    assert list(found) == ["sources.gate.key_template"]
    assert says in found["sources.gate.key_template"]


def test_a_control_character_is_refused() -> None:
    found = faults(f'{CAMERA}key_template = "a\\u0000{{id}}.{{ext}}"\n' + store())
    assert "control characters" in found["sources.gate.key_template"]


def test_a_template_without_id_needs_to_overwrite_and_the_fault_says_why() -> None:
    (fault,) = faults(store("{dir}/{stem}.{ext}")).values()
    assert "two pictures may get one name" in fault
    assert "store.overwrite = true" in fault
    loads(store("{dir}/{stem}.{ext}", overwrite=True), "edge.toml")
    camera = f"{CAMERA}key_template = 'now.{{time}}.{{ext}}'\n"
    assert list(faults(camera + store())) == ["sources.gate.key_template"]
    loads(camera + store(overwrite=True), "edge.toml")


@pytest.mark.parametrize("kind", [CAMERA, '[sources.gate]\nkind = "scene"\n'])
def test_a_frame_has_no_name_of_which_a_key_could_be_made(kind: str) -> None:
    found = faults(f"{kind}key_template = '{{dir}}/{{stem}}-{{id}}.{{ext}}'\n" + store())
    assert "{dir} and {stem} are made of one" in found["sources.gate.key_template"]
    found = faults(kind + store("{stem}-{id}.{ext}"))
    assert list(found) == ["sources.gate.key_template"]
    assert "{stem} is made of one in store.key_template" in found["sources.gate.key_template"]
    loads(f"{kind}key_template = '{{id}}.{{ext}}'\n" + store("{stem}-{id}.{ext}"), "edge.toml")


def test_pictures_with_names_may_have_them_in_their_keys() -> None:
    folder = '[sources.in]\nkind = "folder"\npath = "/in"\n'
    config = loads(folder + store("{stem}-{id}.{ext}"), "edge.toml")
    assert config.sources["in"].key_template == ""
    template = "key_template = '{dir}/{stem}-{id}.{ext}'"
    environ = {"HOME": "/", **SECRETS}
    config = loads(source(template) + store(), "edge.toml", environ=environ)
    assert config.sources["in"].key_template == "{dir}/{stem}-{id}.{ext}"


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("/red/", "relative path"),
        ("red//", "relative path"),
        ("../", "relative path"),
        ("red/x.json/", "named like a file"),
        ("x" * 257, "at most 256 bytes"),
    ],
)
def test_what_stands_before_names_must_be_sound(prefix: str, says: str) -> None:
    found = faults(store() + f'results = "{prefix}"\n')
    assert list(found) == ["store.results"]
    assert says in found["store.results"]
    found = faults(s3(prefix), **SECRETS)
    assert says in found["store.prefix"]


def test_a_key_leaves_room_for_what_stands_before_and_behind_it() -> None:
    environ = {"HOME": "/", **SECRETS}
    config = loads(s3("red/") + 'results = "ü/"\n', "edge.toml", environ=environ)
    assert config.store.key_room == 1024 - len("red/") - len("ü/".encode()) - len(".json")


@pytest.mark.parametrize(
    ("names", "path", "says"),
    [
        ('["camera", "Source"]', "sources.in.metadata[1]", "sha256, source, taken-at"),
        ('["taken-at"]', "sources.in.metadata[0]", "another name"),
        ('["x-amz-meta-camera"]', "sources.in.metadata[0]", "without x-amz-meta-"),
        ('["a b"]', "sources.in.metadata[0]", "letters, digits"),
        ('[""]', "sources.in.metadata[0]", "letters, digits"),
        ('["a", "A"]', "sources.in.metadata[1]", "once"),
    ],
)
def test_metadata_that_cannot_go_along_is_refused(names: str, path: str, says: str) -> None:
    found = faults(source(f"metadata = {names}") + store(), **SECRETS)
    assert list(found) == [path]
    assert says in found[path]
