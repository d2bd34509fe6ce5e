from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.cli.main import main

EVENT = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "hop": 5}

CASES: list[tuple[dict[str, Any], object, str | None]] = [
    ({"filters": [{"exact": {"type": "t"}}]}, True, None),
    ({"filters": [{"exact": {"missing": "t"}}]}, False, None),
    ({"filters": []}, True, None),
    ({"filters": [{"cesql": "1 / 0 = 0"}]}, False, "math"),
    ({"filters": [{"cesql": "("}]}, False, "parse"),
    ({"filters": [{"exact": {}, "prefix": {}}]}, False, "invalid"),
    ({"filters": [{"not": {"exact": {"type": "x"}}}]}, True, None),
    ({"cesql": "hop * 2"}, 10, None),
    ({"cesql": "CONCAT(type, '-', hop)"}, "t-5", None),
    ({"cesql": "hop = 5"}, True, None),
    ({"cesql": ""}, True, None),
    ({"cesql": "missing * 5"}, 0, "missingAttribute"),
    ({"cesql": "LEFT('abc', -1)"}, "abc", "functionEvaluation"),
    ({"cesql": "ABC("}, False, "parse"),
    ({"cesql": "NOWHERE()"}, False, "missingFunction"),
    ({"cel": "ce.hop == 5 && data.a == 1"}, True, None),
    ({"cel": "ce.missing == 5"}, False, "missingAttribute"),
    ({"cel": "ce.hop"}, False, "cast"),
    ({"cel": "1 +"}, False, "parse"),
    ({"cel": "data.a.all(x, data.a.all(y, x == y))"}, False, "limit"),
]

NO_CASES = [
    "{",
    "[]",
    "null",
    '{"event": {}}',
    '{"cesql": "a"}',
    '{"cesql": 1, "event": {}}',
    '{"cesql": "a", "cel": "a", "event": {}}',
    '{"cesql": "a", "event": []}',
    '{"cesql": "a", "event": {"a": NaN}}',
    '{"cesql": "a", "event": {"a": {}}}',
    "[" * 100_000,
    "\ufeff{}",
]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_case_is_answered_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cases.jsonl"
    event = EVENT | {"data": {"a": 1}}
    file.write_text("\n".join(json.dumps(case | {"event": event}) for case, _, _ in CASES))
    assert main(["filter", "test", "--cases", str(file)]) == 0
    found = lines(capsys.readouterr().out)
    expected = [{"value": value, "error": error} for _, value, error in CASES]
    assert found == expected
    # to Python, True == 1
    assert [type(one["value"]) for one in found] == [type(one["value"]) for one in expected]


def test_bad_lines_are_told_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps({"cesql": "hop", "event": EVENT})
    text = (
        "\n".join([good, *NO_CASES, "", good]).encode() + b'\n{"cesql": "\xff"}\n' + good.encode()
    )
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert main(["filter", "test", "--cases", "-"]) == 1
    printed = capsys.readouterr()
    bad = [{"value": None, "error": "badCase"}]
    fine = [{"value": 5, "error": None}]
    assert lines(printed.out) == fine + bad * len(NO_CASES) + fine + bad + fine
    assert "line 2: expected a JSON object" in printed.err


def test_a_file_that_is_not_there_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "test", "--cases", "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
