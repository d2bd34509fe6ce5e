from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli.main import main
from tests.places import ROOT

RULES = r"""
[handlers.cameras]
kind = "route"

[[handlers.cameras.rules]]
subject = '^(?P<site>\w+)/(?P<camera>\w+)/'
type = 'redacted'
set_type = "com.example.{site}"
set = {camera = "{camera}"}
stop = false

[[handlers.cameras.rules]]
source = "^/north"
set = {floor = "2"}

[handlers.keep]
kind = "log"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, RULES)


def written(folder: Path, text: str) -> Path:
    file = folder / "edge.toml"
    head = f'[box]\nstate = "{folder}"\n[store]\nkind = "folder"\npath = "{folder}/out"\n'
    file.write_text(head + text)
    return file


def run(file: Path, *arguments: str) -> int:
    return main(["route", "test", *arguments, "--config", str(file)])


def test_a_key_shows_which_rule_matches_and_what_comes_out(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, "north/gate/1.jpg") == 0
    assert capsys.readouterr().out.splitlines() == [
        "cameras: rule 1 of 2",
        "  type  com.example.north  (was io.edge.picture.redacted.v1)",
        "  camera = gate",
    ]


def test_type_and_source_may_be_given(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("north/gate/1.jpg", "--type", "a.redacted", "--source", "/north/box")
    assert run(file, *arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "handler": "cameras",
        "rules": 2,
        "matched": [1, 2],
        "changed": True,
        "type": "com.example.north",
        "set": {"camera": "gate", "floor": "2"},
    }


def test_no_rule_matches_and_the_shell_learns_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, "gate.jpg") == 1
    assert capsys.readouterr().out == "cameras: none of 2 rules matches\n"
    assert run(file, "gate.jpg", "--json") == 1
    assert json.loads(capsys.readouterr().out)["matched"] == []


def test_a_rule_that_changes_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, '[handlers.r]\nkind = "route"\nrules = [{subject = "x"}]\n')
    assert run(file, "x") == 0
    assert "changes nothing: no event comes of it" in capsys.readouterr().out


def test_bad_rules_are_faults_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = 'rules = [{set_type = "a"}, {subject = "a(", set = {id = "{x}"}}]'
    file = written(tmp_path, f'[handlers.r]\nkind = "route"\n{rules}\n')
    assert run(file, "x", "--json") == 3
    faults = json.loads(capsys.readouterr().out)["error"]["faults"]
    assert [fault["path"] for fault in faults] == [
        "handlers.r.rules[1].subject",
        "handlers.r.rules[1].set.id",
        "handlers.r.rules[1].set.id",
    ]
    assert faults[0]["given"] == '"a("'
    assert "missing )" in faults[0]["message"]


def test_without_rules_there_is_nothing_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(written(tmp_path, ""), "x") == 3
    assert 'expected one with kind = "route"' in capsys.readouterr().err


def test_of_several_handlers_one_must_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = "".join(
        f'[handlers.{name}]\nkind = "route"\nrules = [{{set_type = "{name}"}}]\n'
        for name in ("first", "second")
    )
    file = written(tmp_path, two)
    assert run(file, "x") == 2
    assert "--handler one of first, second" in capsys.readouterr().err
    assert run(file, "x", "--handler", "second") == 0
    assert "type  second" in capsys.readouterr().out
    assert run(file, "x", "--handler", "third") == 2
    assert "expected one of first, second" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["x" * 2000, "a\udc80"])
def test_a_key_that_no_rule_can_look_at_fails(
    file: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, key) == 1
    assert "the subject has" in capsys.readouterr().err


def test_an_empty_type_is_wrong_usage(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "x", "--type", "") == 2
    assert "expected text" in capsys.readouterr().err


def test_the_example_of_old_names_in_the_documentation_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "edge" / "bus" / "README.md").read_text()
    example = next(part for part in page.split("```") if "[handlers.old-names]" in part)
    file = written(tmp_path, example.removeprefix("toml"))
    kind = "com.amazonaws.s3.ObjectCreated:CompleteMultipartUpload"
    assert run(file, "a.jpg", "--type", kind, "--json") == 0
    assert "dev.knative.source.rgwpubsub" in capsys.readouterr().out
