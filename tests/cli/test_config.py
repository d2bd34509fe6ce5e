"""``edge config``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.config.explain import reference

TEXT = """
[sources.gate]
kind = "camera"
url = "rtsp://viewer:${secret:gate}@10.0.0.5/s"
[sources.yard]
kind = "camera"
url = "rtsp://admin:hunter2@10.0.0.6/s?channel=1"
[store]
kind = "s3"
endpoint = "http://127.0.0.1:9000"
bucket = "redacted"
access_key = "${secret:access}"
secret_key = "hunter3"
[web]
token = "hunter4"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(TEXT)
    monkeypatch.setenv("EDGE_SECRET_GATE", "hunter1")
    monkeypatch.setenv("EDGE_SECRET_ACCESS", "hunter5")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return path


def test_a_sound_file_is_ok_with_warnings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "validate", "--config", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{file}: ok, 2 sources\n"
    assert [line.split(": ")[2] for line in printed.err.splitlines()] == [
        "sources.yard.url",
        "store.secret_key",
        "web.token",
    ]
    assert "hunter" not in printed.err


def test_faults_exit_with_three_and_come_as_json_too(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('[web]\nport = 70000\ntokn = "hunter2"\n')
    assert main(["config", "validate", "--config", str(file)]) == 3
    assert capsys.readouterr().err.startswith(f"edge: {file}: 3 faults\n  web.port = 70000: ")
    assert main(["config", "validate", "--config", str(file), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert [fault["path"] for fault in error["faults"]] == ["web.port", "web.tokn", "store"]
    assert error["exit"] == 3


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_shown_configuration_has_defaults_and_no_secret(
    form: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "show", "--config", str(file), *form]) == 0
    text = capsys.readouterr().out
    assert "hunter" not in text
    shown = json.loads(text) if form else tomllib.loads(text)
    assert shown["sources"]["gate"]["url"] == "rtsp://***@10.0.0.5/s"
    assert shown["sources"]["yard"]["url"] == "rtsp://***@10.0.0.6/s?channel=1"
    assert shown["sources"]["gate"]["stall_after"] == "5s"
    assert shown["store"]["access_key"] == "${secret:access}"
    assert shown["store"]["secret_key"] == "********"
    assert shown["web"]["token"] == "********"
    assert shown["outbox"]["max_bytes"] == "2GiB"


def test_without_the_credentials_of_the_service_the_file_can_be_checked_and_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDGE_SECRET_GATE")
    assert main(["config", "validate", "--config", str(file)]) == 3
    assert 'no secret "gate"' in capsys.readouterr().err
    assert main(["config", "validate", "--config", str(file), "--no-secrets"]) == 0
    assert main(["config", "show", "--config", str(file)]) == 0
    assert "rtsp://***@10.0.0.5/s" in capsys.readouterr().out


def test_the_file_of_the_environment_is_used(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_CONFIG", str(file))
    assert main(["config", "validate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(file)


def test_a_key_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "sources.gate.stall_after"]) == 0
    text = capsys.readouterr().out
    assert text.startswith('sources.NAME.stall_after (kind = "camera")\n')
    assert 'default: "5s"' in text
    assert main(["config", "explain", "web.port", "--json"]) == 0
    (key,) = json.loads(capsys.readouterr().out)
    assert (key["path"], key["default"], key["change"]) == ("web.port", "8080", "restart")


def test_an_unknown_key_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "web.prot"]) == 1
    assert "web.port" in capsys.readouterr().err


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Config"


def test_the_reference_is_printed_as_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    assert capsys.readouterr().out == reference()
    assert main(["config", "reference", "--json"]) == 0
    assert any(key["path"] == "store.bucket" for key in json.loads(capsys.readouterr().out))
    assert main(["config", "reference", "--metrics"]) == 0
    assert "`edge_bugs_total`" in capsys.readouterr().out


def test_what_is_shown_of_triggers_and_handlers_can_be_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        '[store]\nkind = "folder"\npath = "out"\n[handlers.r]\nkind = "route"\n'
        'rules = [{subject = "a", set = {x = "1"}}]\n[handlers.f]\nkind = "forward"\n'
        'uri = "https://u:hidden@h/"\nheaders = {authorization = "hidden"}\n'
        '[triggers.t]\nsubscribers = [{ref = "r"}, {uri = "http://u:hidden@h/"}]\n'
        'filters = [{any = [{exact = {type = "x"}}, {cesql = "TRUE"}]}]\n'
        'delivery = {timeout = "PT1M"}\n'
    )
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "hidden" not in shown
    again = tmp_path / "again.toml"
    again.write_text(shown.replace('"********"', '"http://h/"'))
    assert main(["config", "validate", "--config", str(again)]) == 0
    capsys.readouterr()
    file.write_text(file.read_text().replace("TRUE", "TRUE AND"))
    assert main(["config", "validate", "--config", str(file)]) == 3
    assert "triggers.t.filters[0].any[1].cesql" in capsys.readouterr().err
