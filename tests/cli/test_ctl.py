"""``edge ctl`` without a box; with one it is walked in ``tests/journeys/test_commands.py``."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edge.cli.main import main
from edge.control.commands.reference import schema
from edge.control.commands.table import VERBS


def test_its_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ctl", "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in VERBS if f"  {name} " not in shown] == []


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_a_sound_schema(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ctl", verb, "--schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(schema(verb)))
    for part in printed["properties"].values():
        jsonschema.Draft202012Validator.check_schema(part)
    unknown = {"no_such_argument": 1}
    validator = jsonschema.Draft202012Validator(printed["properties"]["args"])
    assert verb == "source.add" or not validator.is_valid(unknown)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["no.such"], 2, "no verb no.such"),
        (["ping", "name"], 2, "expected NAME=VALUE"),
        (["ping", "--args", "[]"], 2, "expected a JSON object"),
        (["ping", "--args", "{"], 2, "expected JSON"),
        (["ping"], 4, "no box answers at"),
    ],
)
def test_what_goes_wrong_is_said(
    words: list[str], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ctl", *words, "--socket", str(tmp_path / "none.sock")]) == code
    assert told in capsys.readouterr().err
