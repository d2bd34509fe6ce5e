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


def test_a_bucket_is_mirrored_name_by_name_with_its_results_apart(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    client, files = rgw.client(), sorted(shared("data/people-dev/images").iterdir())
    client.make_bucket(bucket_name=bucket)

    def put(key: str, file: Path) -> None:
        body = file.read_bytes()
        client.put_object(
            bucket_name=bucket,
            object_name=key,
            data=io.BytesIO(body),
            length=len(body),
            metadata={"camera": "Kran%20%C3%BC", "phone": "0815"},
        )

    keys = ["cam 1/häll+%.jpg", "x" * 200 + "/" + "y" * 200 + "/" + "z" * 400 + ".jpg", "a//b.jpg"]
    for key, file in zip(keys, files, strict=False):
        put(key, file)
    text = config(rgw, bucket).replace('sweep_every = "5s"', 'sweep_every = "1s"')
    text = text.replace(
        'kind = "bucket"', 'kind = "bucket"\nmetadata = ["Camera"]\nkey_template = \'{template}\''
    ).replace("{template}", "red/{dir}/{stem}.{ext}")
    box = make_box(f'{text}prefix = "out/"\nresults = "results/"\noverwrite = true\n')
    box.start()

    def stored() -> list[str]:
        if not client.bucket_exists(bucket_name=f"{bucket}-out"):
            return []
        found = client.list_objects(bucket_name=f"{bucket}-out", recursive=True)
        return sorted(str(one.object_name) for one in found)

    until("all are there", lambda: len(stored()) == 6)
    names = stored()
    assert "out/red/cam 1/häll+%.jpg" in names
    assert "out/results/red/cam 1/häll+%.json" in names
    schema = json.loads(box.get("/v1/schemas/picture.redacted.v1.json")[1])
    origins = {}
    for name in (name for name in names if name.endswith(".json")):
        answer = client.get_object(bucket_name=f"{bucket}-out", object_name=name)
        message = json.loads(answer.read())
        answer.close()
        jsonschema.validate(message, schema)
        picture = f"out/{message['data']['picture']['key']}"
        assert picture in names
        assert message["data"]["metadata"] == {"camera": "Kran%20%C3%BC"}
        origins[message["data"]["origin"]["key"]] = picture
        facts = client.stat_object(bucket_name=f"{bucket}-out", object_name=picture)
        headers = {key.lower(): value for key, value in (facts.metadata or {}).items()}
        assert headers["x-amz-meta-camera"] == "Kran%2520%25C3%25BC"
        assert "x-amz-meta-phone" not in headers
        assert facts.content_type == "image/jpeg"
    assert set(origins) == set(keys)

    before = client.stat_object(bucket_name=f"{bucket}-out", object_name=origins[keys[0]]).etag
    put(keys[0], files[5])
    until(
        "the new picture has the name",
        lambda: (
            before
            != client.stat_object(bucket_name=f"{bucket}-out", object_name=origins[keys[0]]).etag
        ),
    )
    box.come_to_rest()
    assert stored() == names
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
