from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.cli.main import main
from edge.errors import TryLater
from edge.event import WireEvent
from edge.traffic import Attempt, Passage, Trace
from tests.cli.running_box import RunningBox, running_box
from tests.web.traffic_parts import AT, wire_event

EVENT = '{"specversion": "1.0", "id": "%s", "source": "/a", "type": "t", "data": {"x": 1.00}}'
PRETTY = """
{
  "specversion": "1.0", "id": "1",
  "source": "/a", "type": "t", "data": {"x": 1.00}
}
"""


def lines(*ids: str) -> str:
    return "".join(EVENT % event_id + "\n" for event_id in ids)


def taken(box: RunningBox) -> list[str]:
    return [event.id for event in box.bus.taken]


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (EVENT % "1", ["1"]),
        (PRETTY, ["1"]),
        ("\ufeff" + lines("1", "2"), ["1", "2"]),
        ("\n\n" + lines("1") + "\n" + lines("2"), ["1", "2"]),
        (f"[{EVENT % '1'},\n {EVENT % '2'}]", ["1", "2"]),
        ("[]", []),
        ("", []),
        (f'{{"at": "2026-05-04T09:30:00Z", "event": {EVENT % "1"}}}\n' + lines("2"), ["1", "2"]),
    ],
)
def test_events_are_sent_from_every_kind_of_file(
    box: RunningBox, tmp_path: Path, mode: str, text: str, ids: list[str]
) -> None:
    file = tmp_path / "events.json"
    file.write_text(text)
    assert main(["event", "send", "-f", str(file), "--mode", mode]) == 0
    assert taken(box) == ids
    assert [event.data for event in box.bus.taken] == [b'{"x": 1.00}'] * len(ids)


def test_events_are_read_from_the_input(
    box: RunningBox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(lines("1", "2").encode())))
    assert main(["event", "send", "-f", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"] == 2
    assert taken(box) == ["1", "2"]


def test_many_events_go_in_batches_in_their_order(box: RunningBox, tmp_path: Path) -> None:
    ids = [str(number) for number in range(250)]
    file = tmp_path / "events.jsonl"
    file.write_text(lines(*ids))
    assert main(["event", "send", "-f", str(file), "--mode", "batch"]) == 0
    assert taken(box) == ids


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("specversion: 1.0\nid: 1\n", "yq"),
        (lines("1", "2") + '{"specversion": "1.0"}\n', "line 3"),
        (lines("1", "2") + "{\n", "line 3"),
        (lines("1", "2") + '{"at": "noon", "event": ' + EVENT % "3" + "}\n", "line 3"),
        (lines("1", "2") + '{"event": 7}\n', "line 3"),
        ('{"specversion": "1.0"', "the end"),
        ("[1]", "event 1"),
        ("[" * 100_000, "nested"),
    ],
)
def test_what_is_no_event_ends_it_and_is_named(
    box: RunningBox, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    file = tmp_path / "events.json"
    file.write_text(text)
    assert main(["event", "send", "-f", str(file)]) == 1
    error = capsys.readouterr().err
    assert told in error
    sent = ["1", "2"] if text.startswith(EVENT % "1") else []
    assert taken(box) == sent
    assert ("2 events sent before" in error) == bool(sent)


def test_a_box_that_says_later_is_asked_again_for_a_while(
    box: RunningBox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "event.json"
    file.write_text(EVENT % "1")
    box.bus.refuses = TryLater("the journal is full", reason="journal_full", after=0.5)
    assert main(["event", "send", "-f", str(file), "--patience", "0"]) == 75
    assert "429 journal_full: the journal is full" in capsys.readouterr().err

    async def room_soon() -> None:
        asyncio.get_running_loop().call_later(0.5, setattr, box.bus, "refuses", None)

    box.do(room_soon)
    assert main(["event", "send", "-f", str(file)]) == 0
    assert taken(box) == ["1"]


def test_recorded_traffic_keeps_its_gaps(box: RunningBox, tmp_path: Path) -> None:
    moments = ("09:30:00Z", "09:29:59Z", "09:30:00.300000+00:00", "11:30:00.6+02:00")
    file = tmp_path / "traffic.jsonl"
    with file.open("w") as out:
        for number, moment in enumerate(moments):
            event = EVENT % number
            out.write(f'{{"at": "2026-05-04T{moment}", "event": {event}}}\n')
    began = time.monotonic()
    assert main(["event", "send", "-f", str(file), "--pace"]) == 0
    assert 0.6 <= time.monotonic() - began < 20
    assert taken(box) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--mode", "batch"], 2)])
def test_pace_needs_times_and_single_events(
    box: RunningBox, tmp_path: Path, more: list[str], code: int
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines("1"))
    assert main(["event", "send", "-f", str(file), "--pace", *more]) == code
    assert taken(box) == []


def when_watched(box: RunningBox, *events: WireEvent) -> None:
    """Let events pass as soon as somebody watches."""

    async def soon() -> None:
        task = asyncio.create_task(pass_by())
        keep.append(task)

    async def pass_by() -> None:
        while not box.bus.watchers:  # noqa: ASYNC110 (it waits for another process)
            await asyncio.sleep(0.01)
        await box.bus.accept(events)

    keep: list[asyncio.Task[None]] = []
    box.do(soon)


def test_passing_events_are_shown_on_a_line_each(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    when_watched(box, wire_event("1"), wire_event("no", type="x"), wire_event("2", data=None))
    assert main(["event", "tail", "--type", "io.example.", "-n", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "2026-05-04T09:30:00.123456789Z  io.example.thing.v1  /site/box  things/1  1  8 bytes",
        "2026-05-04T09:30:00.123456789Z  io.example.thing.v1  /site/box  things/2  2  no data",
    ]


@pytest.mark.parametrize(
    "filters",
    ['{"exact": {"id": "b"}}', '[{"any": [{"exact": {"id": "b"}}, {"exact": {"id": "c"}}]}]'],
)
def test_passing_events_are_filtered_and_shown_whole(
    box: RunningBox, capsys: pytest.CaptureFixture[str], filters: str
) -> None:
    when_watched(box, wire_event("a"), wire_event("b"))
    assert main(["event", "tail", "--filter", filters, "-n", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "b"


def test_what_was_recorded_is_sent_again_as_it_was(box: RunningBox, tmp_path: Path) -> None:
    file = tmp_path / "traffic.jsonl"
    passed = [
        wire_event("1", data=b'{"exact":\n 1.000000000000000000001}', extensions={"hop": 3}),
        wire_event("2", data=b"\xff\x00", datacontenttype="image/png"),
        wire_event("3", data=None, datacontenttype=""),
    ]
    when_watched(box, *passed)
    assert main(["event", "tail", "--record", str(file), "-n", "3"]) == 0
    with running_box() as other:
        assert main(["event", "send", "-f", str(file), "--pace", "--url", other.url]) == 0
        again = other.bus.taken
    assert [event.attributes() for event in again] == [event.attributes() for event in passed]
    assert again[0].data == b'{"exact":  1.000000000000000000001}'
    assert [event.data for event in again[1:]] == [b"\xff\x00", None]


def test_a_filter_that_is_none_is_refused(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["event", "tail", "--filter", "{"]) == 2
    assert main(["event", "tail", "--filter", '{"cesql": "("}']) == 1
    error = capsys.readouterr().err
    assert "400 bad_filter" in error
    assert box.bus.watchers == {}


def test_a_box_that_stops_ends_the_tail(
    box: RunningBox, capsys: pytest.CaptureFixture[str]
) -> None:
    when_watched(box, wire_event("1"))

    async def stop() -> None:
        asyncio.get_running_loop().call_later(0.5, box.bus.stop_watchers)

    box.do(stop)
    assert main(["event", "tail"]) == 4
    assert "after 1 event" in capsys.readouterr().err


def test_a_tail_ends_quietly_when_it_is_interrupted(box: RunningBox) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "event", "tail"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    until = time.monotonic() + 20
    while not box.bus.watchers and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert (process.returncode, error) == (130, "")


def test_the_way_of_an_event_is_told(box: RunningBox, capsys: pytest.CaptureFixture[str]) -> None:
    tried = [
        Attempt(at=AT, seconds=1, subscriber="sink", reason="refused", error="no", status=503),
        Attempt(at=AT + 2, seconds=0.25, subscriber="sink"),
    ]
    passage = Passage(trigger="cloud", state="done", attempts=tried, tries=1, ended_at=AT + 3)
    reply = Trace(
        attributes={"id": "r", "type": "t2", "source": "/b"},
        accepted_at=AT,
        ended_at=AT,
        outcome="unwanted",
    )
    box.bus.ways["a/b %"] = [
        Trace(
            attributes={"id": "a/b %", "type": "t", "source": "/a"},
            accepted_at=AT,
            ended_at=AT + 3,
            outcome="done",
            passages=[passage, Passage(trigger="slow", state="waiting", due=AT + 60)],
            replies=[reply],
        )
    ]
    assert main(["event", "show", "a/b %"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a/b %  t  /a",
        "  accepted 2026-05-04T09:30:00.250+00:00, done 2026-05-04T09:30:03.250+00:00",
        "  cloud: done 2026-05-04T09:30:03.250+00:00",
        "    2026-05-04T09:30:00.250+00:00  sink  1.000 s  refused: no (503)",
        "    2026-05-04T09:30:02.250+00:00  sink  0.250 s  worked",
        "  slow: waiting not before 2026-05-04T09:31:00.250+00:00",
        "    r  t2  /b",
        "      accepted 2026-05-04T09:30:00.250+00:00, unwanted 2026-05-04T09:30:00.250+00:00",
    ]
    assert main(["event", "show", "a/b %", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["traces"]) == 1
    assert main(["event", "show", "nothing"]) == 1
    assert "404 not_found" in capsys.readouterr().err
