from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.cli.main import main
from edge.cloudevents import json_format
from tests.places import shared
from tests.sources.buckets.notifications import KEY, listen, minio, records, webhook


def test_a_notification_becomes_a_json_line_for_each_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(
        json.dumps(json.loads(records(minio("a.jpg"), minio("b.jpg"))), indent=1).encode()
    )
    assert main(["event", "convert", "--from", "s3", str(file)]) == 0
    events = [json_format.decode(line.encode()) for line in capsys.readouterr().out.splitlines()]
    assert [event.subject for event in events] == ["a.jpg", "b.jpg"]
    assert {event.type for event in events} == {"com.amazonaws.s3.ObjectCreated:Put"}


def test_a_recorded_stream_is_converted_from_the_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = b'{"Records":null}\n' + listen() + b'{"Records":null}\n' + webhook()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert main(["event", "convert", "--from", "s3", "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["subject"] for line in lines] == [KEY, KEY]


def test_how_keys_are_written_can_be_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(records(minio("a%2Bb.jpg")))
    for keys, subject in (("auto", "a%2Bb.jpg"), ("encoded", "a+b.jpg")):
        assert main(["event", "convert", "--from", "s3", "--keys", keys, str(file)]) == 0
        assert json.loads(capsys.readouterr().out)["subject"] == subject


def test_a_real_page_of_the_gateway_is_four_events(capsys: pytest.CaptureFixture[str]) -> None:
    file = shared("samples/rgw") / "pull-events.json"
    assert main(["event", "convert", "--from", "s3", str(file)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_what_is_no_notification_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "body.json"
    file.write_text('{"a": 1}')
    assert main(["event", "convert", "--from", "s3", str(file)]) != 0
    said = capsys.readouterr()
    assert "expected Records, events" in said.err
    assert not said.out


def test_filters_that_go_by_the_old_type_can_be_fed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(records(minio("a.jpg")))
    assert main(["event", "convert", "--from", "s3", "--types", "both", str(file)]) == 0
    new, old = (json_format.decode(one.encode()) for one in capsys.readouterr().out.splitlines())
    assert (old.type, old.source) == ("dev.knative.source.rgwpubsub", "rgwpubsub")
    assert (old.id, old.subject, old.time, old.data) == (new.id, new.subject, new.time, new.data)
    assert main(["event", "convert", "--from", "s3", "--types", "legacy", str(file)]) == 0
    assert json_format.decode(capsys.readouterr().out.encode()) == old


def test_what_the_old_source_sent_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = json.loads((shared("samples/rgw") / "pull-events.json").read_text())
    file = tmp_path / "body.json"
    file.write_text(json.dumps(page["events"][0]))
    assert main(["event", "convert", "--from", "s3", str(file)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["subject"] == page["events"][0]["info"]["key"]["name"]
    assert json.loads(line)["type"].startswith("com.amazonaws.s3.Object")
