from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.catalog.installed import Catalog
from edge.cli.main import main
from tests.journeys.box import check_covered, pixels, traces
from tests.places import free_port, shared
from tests.servers.rgw import Rgw, bucket, rgw

__all__ = ["bucket", "rgw"]

PERSON = "data/people-dev/images/coco_000000001268.jpg"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    Catalog(directory).import_file(shared("data/models/originals/picodet_s_416_coco.onnx"))
    return directory


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGE_CONFIG", "CONFIGURATION_DIRECTORY", "EDGE_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path / "etc"))


class Infer:
    """Calls the command and reads what it said."""

    def __init__(self, models: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._models, self._capture = models, capture
        self.errors = ""

    def __call__(self, *arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
        code = main(["infer", "--models", str(self._models), *(str(one) for one in arguments)])
        said = self._capture.readouterr()
        self.errors = said.err
        return code, [json.loads(line) for line in said.out.splitlines()]


@pytest.fixture
def infer(models: Path, capsys: pytest.CaptureFixture[str]) -> Infer:
    return Infer(models, capsys)


def config_of(rgw: Rgw, bucket: str, home: Path) -> Path:
    file = home / "edge.toml"
    file.write_text(
        f'[box]\nstate = "{home}/state"\n[store]\nkind = "folder"\npath = "{home}/out"\n'
        f'[sources.yard]\nkind = "bucket"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}"\n'
        f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\nmax_object = "1MB"\n'
    )
    return file


def test_what_is_found_is_one_line_with_sizes_engine_and_times(infer: Infer) -> None:
    path = shared(PERSON)
    code, (line,) = infer("--file", path)
    assert code == 0
    height, width = pixels(path).shape[:2]
    assert line["size"] == [width, height]
    assert line["engine"]["model"] == "picodet_s_416"
    assert len(line["engine"]["digest"]) == 64
    assert line["engine"]["safe_mode"] is False
    assert set(line["times_ms"]) == {"read", "decode", "detect"}
    assert len(line["found"]) >= 2
    for one in line["found"]:
        x, y, w, h = one["box"]
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 0.2
        assert y + h <= height + 0.2
        assert one["label"] == "person"
        assert 0 < one["score"] <= 1


def test_several_pictures_are_several_lines_and_a_bad_one_does_not_end_it(
    infer: Infer, tmp_path: Path
) -> None:
    person = shared(PERSON)
    odd = shared("data/odd/photo.heic")
    code, lines = infer("-f", odd, "-f", tmp_path / "nowhere.jpg", "-f", person)
    assert code == 1
    assert [one.get("error", {}).get("reason") for one in lines] == [
        "unsupported_format",
        "unreadable",
        None,
    ]
    assert "photo.heic" in infer.errors
    assert lines[2]["found"]


def test_the_redacted_copy_is_covered_and_nothing_raw_is_written(
    infer: Infer, tmp_path: Path
) -> None:
    person, out = shared(PERSON), tmp_path / "out" / "copy.png"
    code, (line,) = infer("-f", person, "--out", out)
    assert (code, line["output"]) == (0, str(out))
    assert out.read_bytes().startswith(b"\x89PNG")
    boxes = [[round(side) for side in one["box"]] for one in line["found"]]
    facts = {
        "subject": "copy",
        "data": {
            "people": [{"box": box} for box in boxes],
            "covered": [[max(0, x - w), max(0, y - h), 3 * w, 3 * h] for x, y, w, h in boxes],
        },
    }
    check_covered(pixels(out), pixels(person), facts)
    assert list(traces([person.read_bytes()], tmp_path)) == []
    assert [path.name for path in out.parent.iterdir()] == ["copy.png"]


def test_copies_in_a_directory_have_names_of_their_own(infer: Infer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "a.png.jpg"):
        shutil.copy(shared(PERSON), folder / name)
    code, lines = infer(
        *("-f", folder / "a.jpg", "-f", folder / "a.png.jpg", "-f", folder / "a.jpg"),
        *("-o", tmp_path / "out"),
    )
    assert code == 0
    assert [Path(one["output"]).name for one in lines] == ["a.jpg", "a.png.jpg", "a-2.jpg"]
    before = (folder / "a.jpg").read_bytes()
    code, lines = infer("-f", folder / "a.jpg", "-o", folder)
    assert (code, lines) == (1, [])
    assert "written over" in infer.errors
    assert (folder / "a.jpg").read_bytes() == before


def test_standard_input_is_read_and_turned_upright(
    infer: Infer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, body = cv2.imencode(".jpg", np.zeros((40, 80, 3), np.uint8))
    assert done
    # EXIF that says: turn it by 90 degrees
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = body.tobytes()[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    stdin = io.TextIOWrapper(io.BytesIO(turned + body.tobytes()[2:]))
    monkeypatch.setattr(sys, "stdin", stdin)
    code, (line,) = infer("--file", "-")
    assert (code, line["size"], line["found"]) == (0, [40, 80], [])


def test_an_engine_that_cannot_judge_is_a_matter_of_privacy(infer: Infer, tmp_path: Path) -> None:
    code, (line,) = infer("-f", shared(PERSON), "--engine", "builtin", "-o", tmp_path / "a.jpg")
    assert (code, line["error"]["reason"]) == (5, "safe_mode_still_picture")
    assert not (tmp_path / "a.jpg").exists()


def test_a_model_that_was_asked_for_and_is_not_there_is_no_safe_mode(infer: Infer) -> None:
    code, lines = infer("-f", shared(PERSON), "--model", "no_such_model")
    assert (code, lines) == (78, [])
    assert "no_such_model" in infer.errors


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "name a picture"),
        (("--bucket", "yard"), "--key"),
        (("--key", "a.jpg"), "--bucket"),
        (("--file", "-", "--file", "-"), "once"),
        (("--file", "a.jpg", "--endpoint", "http://h"), "--endpoint"),
        (("--file", "a.jpg", "--out", "a.bmp"), "ends with"),
        (("--bucket", "yard", "--key", "a.jpg", "--endpoint", "http://h:1"), "EDGE_SECRET_KEY"),
    ],
)
def test_options_that_do_not_fit_together_are_told(
    infer: Infer, arguments: tuple[str, ...], word: str
) -> None:
    code, lines = infer(*arguments)
    assert (code, lines) == (2, [])
    assert word in infer.errors


def test_an_object_is_looked_at_with_the_keys_of_the_configuration(
    infer: Infer, rgw: Rgw, bucket: str, tmp_path: Path
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    key = "cam 1/häll+1%.jpg"
    rgw.client().fput_object(bucket_name=bucket, object_name=key, file_path=str(shared(PERSON)))
    large = io.BytesIO(bytes(2_000_000))
    rgw.client().put_object(
        bucket_name=bucket, object_name="large.jpg", data=large, length=2_000_000
    )
    config = config_of(rgw, bucket, tmp_path)
    code, lines = infer(
        *("--config", config, "--bucket", bucket, "--key", key, "--key", "none.jpg"),
        *("--key", "large.jpg", "--key", "a/../b.jpg", "--out", tmp_path / "copies"),
    )
    assert code == 1
    assert lines[0]["input"] == f"s3://{bucket}/{key}"
    assert lines[0]["found"]
    assert set(lines[0]["times_ms"]) == {"fetch", "decode", "detect", "redact", "encode"}
    assert lines[0]["output"] == str(tmp_path / "copies" / "häll+1%.jpg")
    reasons = [one["error"]["reason"] for one in lines[1:]]
    assert reasons == ["gone", "too_large", "bad_key"]
    code, (line,) = infer("--config", config, "--bucket", "other", "--key", key)
    assert (code, line["error"]["reason"]) == (1, "unknown_bucket")
    assert bucket in line["error"]["message"]


@pytest.mark.parametrize("endpoint", ["h:9000", "ftp://h", "http://u:p@h", "", "http://h/x"])
def test_what_is_no_address_of_a_server_is_told(
    infer: Infer, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_ACCESS_KEY", "a")
    monkeypatch.setenv("EDGE_SECRET_KEY", 's3cr3t\\"${secret:x}')
    code, lines = infer("--bucket", "yard", "--key", "a.jpg", "--endpoint", endpoint)
    assert (code, lines) == (2, [])
    assert "http://host:port" in infer.errors
    assert "s3cr3t" not in infer.errors


def test_an_object_is_looked_at_with_the_keys_of_the_environment(
    infer: Infer, rgw: Rgw, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    rgw.client().fput_object(bucket_name=bucket, object_name="a.jpg", file_path=str(shared(PERSON)))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.secret_key)
    where = ("--bucket", bucket, "--key", "a.jpg")
    code, (line,) = infer(*where, "--endpoint", rgw.endpoint)
    assert (code, bool(line["found"])) == (0, True)
    code, lines = infer(*where, "--endpoint", f"http://127.0.0.1:{free_port()}")
    assert (code, lines) == (4, [])
    assert "cannot be reached" in infer.errors
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-key")
    code, lines = infer(*where, "--endpoint", rgw.endpoint)
    assert (code, lines) == (4, [])
    assert "wrong-key" not in infer.errors
