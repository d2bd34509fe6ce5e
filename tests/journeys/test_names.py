"""Redacted pictures are named after their originals, and what is known of those goes along."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema

from tests.journeys.box import pictures, until
from tests.journeys.conftest import MakeBox
from tests.journeys.test_buckets import config
from tests.places import shared
from tests.servers.rgw import Rgw

KEYS = ("cam 1/häll+%.jpg", "/".join(["x" * 200, "y" * 200, "z" * 400]) + ".jpg", "a//b.jpg")


def put(rgw: Rgw, bucket: str, key: str, file: Path) -> None:
    body = file.read_bytes()
    rgw.client().put_object(
        bucket_name=bucket,
        object_name=key,
        data=io.BytesIO(body),
        length=len(body),
        metadata={"camera": "Kran%20%C3%BC", "phone": "0815"},
    )


def stored(rgw: Rgw, bucket: str) -> dict[str, str]:
    """Return the ETag of everything in the store's bucket."""
    client = rgw.client()
    if not client.bucket_exists(bucket_name=f"{bucket}-out"):
        return {}
    found = client.list_objects(bucket_name=f"{bucket}-out", recursive=True)
    return {str(one.object_name): str(one.etag) for one in found}


def check(rgw: Rgw, bucket: str, name: str, schema: object) -> tuple[str, str]:
    """Look at a message and its picture; return the original's key and the picture's name."""
    answer = rgw.client().get_object(bucket_name=f"{bucket}-out", object_name=name)
    message = json.loads(answer.read())
    answer.close()
    jsonschema.validate(message, schema)
    picture = f"out/{message['data']['picture']['key']}"
    assert message["data"]["metadata"] == {"camera": "Kran%20%C3%BC"}
    facts = rgw.client().stat_object(bucket_name=f"{bucket}-out", object_name=picture)
    headers = {key.lower(): value for key, value in (facts.metadata or {}).items()}
    assert headers["x-amz-meta-camera"] == "Kran%2520%25C3%25BC"
    assert "x-amz-meta-phone" not in headers
    assert facts.content_type == "image/jpeg"
    return message["data"]["origin"]["key"], picture


def test_a_bucket_is_mirrored_name_by_name_with_its_results_apart(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    files = sorted(shared("data/people-dev/images").iterdir())
    for key, file in zip(KEYS, files, strict=False):
        put(rgw, bucket, key, file)
    more = "metadata = [\"Camera\"]\nkey_template = 'red/{dir}/{stem}.{ext}'\n"
    text = config(rgw, bucket).replace('sweep_every = "5s"\n', f'sweep_every = "1s"\n{more}')
    box = make_box(f'{text}prefix = "out/"\nresults = "results/"\noverwrite = true\n')
    box.start()
    until("all are there", lambda: len(stored(rgw, bucket)) == 6)
    before = stored(rgw, bucket)
    assert "out/red/cam 1/häll+%.jpg" in before
    assert "out/results/red/cam 1/häll+%.json" in before
    schema = json.loads(box.get("/v1/schemas/picture.redacted.v1.json")[1])
    messages = [name for name in before if name.endswith(".json")]
    found = dict(check(rgw, bucket, name, schema) for name in messages)
    assert set(found) == set(KEYS)

    put(rgw, bucket, KEYS[0], files[5])
    name = found[KEYS[0]]
    until("the new one has the name", lambda: stored(rgw, bucket)[name] != before[name])
    box.come_to_rest()
    assert set(stored(rgw, bucket)) == set(before)
    assert box.metric("edge_bus_dead_letters") == 0
    assert box.stop() == 0


def test_dropped_files_keep_their_names_in_a_folder(make_box: MakeBox, tmp_path: Path) -> None:
    dropped, out = tmp_path / "in", tmp_path / "out"
    dropped.mkdir()
    files = sorted(shared("data/people-dev/images").iterdir())[:3]
    for number, file in enumerate(files):
        (dropped / f"cam {number}+ü%.jpg").write_bytes(file.read_bytes())
    box = make_box(
        f'[sources.in]\nkind = "folder"\npath = "{dropped}"\n[privacy]\nformat = "webp"\n'
        f'[store]\nkind = "folder"\npath = "{out}"\nresults = "json/"\n'
        "key_template = '{source}/{dir}/{stem}-{id}.{ext}'\n"
    )
    box.start()
    until("all are there", lambda: len(list(out.rglob("*.json"))) == 3)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.webp"))
    assert [name[: len("in/cam 0+ü%-")] for name in names] == [
        f"in/cam {number}+ü%-" for number in range(3)
    ]
    for name in names:
        message = json.loads((out / "json" / name).with_suffix(".json").read_text())
        assert message["data"]["picture"]["key"] == name
    assert not pictures(out)
    assert box.stop() == 0
