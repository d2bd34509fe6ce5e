from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli.main import main
from tests.cli.running_box import RunningBox

SPEC = {"filters": [{"prefix": {"type": "io.edge."}}], "subscriber": {"ref": "log"}}


def test_a_trigger_is_put_listed_changed_and_removed(
    box: RunningBox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trigger.json"
    file.write_text(json.dumps(SPEC))
    assert main(["trigger", "put", "cloud ü", "-f", str(file)]) == 0
    assert main(["trigger", "ls"]) == 0
    capsys.readouterr()
    assert main(["trigger", "show", "cloud ü"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["spec"] == SPEC
    shown["spec"]["order"] = "ordered"
    file.write_text(json.dumps(shown))
    assert main(["trigger", "put", "cloud ü", "-f", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["order"] == "ordered"
    assert main(["trigger", "rm", "cloud ü"]) == 0
    assert capsys.readouterr().out == "removed cloud ü\n"
    assert list(box.bus.table) == ["redact"]


def test_a_trigger_that_is_not_ready_says_why(
    box: RunningBox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trigger.json"
    file.write_text("{}")
    assert main(["trigger", "put", "lame", "-f", str(file), "--url", box.url]) == 0
    capsys.readouterr()
    assert main(["trigger", "ls"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "redact (config): ready; 0 waiting, 0 under way, 0 done, 0 dead",
        "lame (api): not ready (no_subscriber); 0 waiting, 0 under way, 0 done, 0 dead",
        "  nobody to hand events to",
    ]
    assert main(["trigger", "ls", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["triggers"]) == 2


def test_every_fault_is_told(
    box: RunningBox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trigger.json"
    file.write_text(json.dumps({"filtres": [], "filters": [{"cesql": "("}]}))
    assert main(["trigger", "put", "bad", "-f", str(file)]) == 1
    error = capsys.readouterr().err
    assert "422 bad_trigger" in error
    assert "filtres" in error
    assert "filters[0].cesql" in error
    assert main(["trigger", "put", "bad", "-f", str(file), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["reason"] == "bad_trigger"
    assert [fault["path"] for fault in told["faults"]] == ["filtres", "filters[0].cesql"]
    assert list(box.bus.table) == ["redact"]


def test_what_the_box_refuses_is_told(
    box: RunningBox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trigger.json"
    file.write_text("filters: []\n")
    assert main(["trigger", "put", "cloud", "-f", str(file)]) == 1
    assert "expected JSON" in capsys.readouterr().err
    assert main(["trigger", "rm", "redact"]) == 1
    assert "409 in_config: redact stands in the file" in capsys.readouterr().err
    assert main(["trigger", "rm", "nobody"]) == 1
    assert "404 not_found" in capsys.readouterr().err
    assert list(box.bus.table) == ["redact"]
