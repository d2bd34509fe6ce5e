from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from edge.cli.main import main
from tests.cli.running_box import RunningBox
from tests.web.traffic_parts import letter


@pytest.fixture
def full(box: RunningBox) -> RunningBox:
    box.bus.kept = [
        letter(number, trigger="cloud" if number % 2 else "store") for number in range(12)
    ]
    return box


def terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Let a person sit there who types ``answer``."""
    lines = iter(f"{answer}\n")
    stdin = SimpleNamespace(isatty=lambda: True, readline=lambda: "".join(lines))
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: stdin.readline().strip())


@pytest.mark.usefixtures("full")
def test_letters_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "ls", "--limit", "2", "--trigger", "cloud"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "ID       DIED                           TRIGGER  REASON   TYPE                 SUBJECT",
        "event-1  2026-05-04T09:31:00.250+00:00  cloud    refused  io.example.thing.v1  things/e-1",
        "event-3  2026-05-04T09:33:00.250+00:00  cloud    refused  io.example.thing.v1  things/e-3",
    ]
    assert "--after event-3" in printed.err
    assert main(["dlq", "ls", "--after", "event-9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in found["letters"]] == ["event-10", "event-11"]
    assert main(["dlq", "ls", "--reason", "none"]) == 0
    assert capsys.readouterr().out == "no dead letters\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--since", "2026-05-04T09:40:00Z"], [10, 11]),
        (["--until", "2026-05-04T09:31:00Z"], [0]),
        (["--subject", "e-11"], [11]),
        (["--type", "io.example.thing.v1", "--source", "/site/box", "--limit", "1"], [0]),
        (["--since", "1h"], []),
    ],
)
def test_the_filters_are_those_of_the_box(
    full: RunningBox,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    expected: list[int],
) -> None:
    if "1h" in options:
        full.bus.kept = [
            letter(1, died_at=datetime.now(UTC).timestamp() - 3700),
        ]
    assert main(["dlq", "ls", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)["letters"]
    assert [one["id"] for one in found] == [f"event-{number}" for number in expected]


@pytest.mark.parametrize("when", ["yesterday", "2h ago", "20260504x", "99999999999d", "3"])
def test_a_time_that_is_none_is_wrong_usage(
    full: RunningBox, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    assert main(["dlq", "drop", "--since", when, "--yes"]) == 2
    assert "2h or 3d" in capsys.readouterr().err
    assert len(full.bus.kept) == 12


@pytest.mark.usefixtures("full")
def test_one_letter_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "show", "event-3"]) == 0
    shown = capsys.readouterr().out
    assert "event-3: refused: the sink answered 400" in shown
    assert "https://sink.example/in" in shown
    assert "things/e-3" in shown
    assert main(["dlq", "show", "event-3", "--json"]) == 0
    event = json.loads(capsys.readouterr().out)["event"]
    assert (event["id"], event["data"], event["knativeerrorcode"]) == ("e-3", {"a": 1}, 400)
    assert main(["dlq", "show", "event-99"]) == 1
    assert "404 not_found" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "past"), [("replay", "replayed"), ("drop", "dropped")])
def test_letters_are_replayed_or_dropped(
    full: RunningBox, capsys: pytest.CaptureFixture[str], verb: str, past: str
) -> None:
    assert main(["dlq", verb, "event-1", "event-2", "--yes"]) == 0
    assert capsys.readouterr().out == f"{past} 2 dead letters\n"
    assert main(["dlq", verb, "--trigger", "store", "--limit", "1", "-y", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 1
    assert [one.id for one in full.bus.kept][:2] == ["event-3", "event-4"]
    assert main(["dlq", verb, "--all", "--yes"]) == 0
    assert full.bus.kept == []
    assert len(full.bus.replayed) == (12 if verb == "replay" else 0)


@pytest.mark.usefixtures("full")
def test_an_id_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "replay", "event-1", "event-99", "--yes"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "replayed 1 dead letter\n"
    assert "1 dead letter of those named" in printed.err


def test_a_dry_run_changes_nothing(full: RunningBox, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "drop", "--all", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "would drop 12 dead letters, 1200 bytes",
        "  by trigger: cloud 6, store 6",
        "  by reason: refused 12",
    ]
    assert len(full.bus.kept) == 12


@pytest.mark.parametrize("arguments", [[], ["--yes"], ["--limit", "3", "--yes"]])
def test_every_letter_is_meant_only_if_that_is_said(
    full: RunningBox, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["dlq", "drop", *arguments]) == 2
    assert "--all" in capsys.readouterr().err
    assert len(full.bus.kept) == 12


@pytest.mark.parametrize(("typed", "code", "left"), [("n", 1, 12), ("", 1, 12), ("y", 0, 6)])
def test_a_person_is_asked_first(
    full: RunningBox, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, left: int
) -> None:
    terminal(monkeypatch, typed)
    assert main(["dlq", "drop", "--trigger", "store"]) == code
    assert len(full.bus.kept) == left


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_where_nobody_can_be_asked_nothing_is_done(
    full: RunningBox, capsys: pytest.CaptureFixture[str], more: list[Any]
) -> None:
    assert main(["dlq", "drop", "--trigger", "store", *more]) == 2
    printed = capsys.readouterr()
    assert "would drop 6 dead letters" in printed.out + printed.err
    assert "--yes" in printed.out + printed.err
    assert len(full.bus.kept) == 12
