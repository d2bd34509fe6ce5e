from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from edge.bus.journal import Arrival, Target, digest_of
from edge.bus.journal_due import LONGEST_PARK_S
from edge.contracts import Accepted
from edge.errors import Rejected, TryLater
from edge.ops.metrics import Metrics
from edge.traffic import LetterQuery
from tests.bus.parts_journal import (
    DAY,
    MORNING,
    Clock,
    arrival,
    attempt,
    event,
    ids,
    journal_at,
    reply,
    take_all,
)


async def test_an_accepted_event_is_delivered_as_it_came(tmp_path: Path) -> None:
    came = event(
        body={"é": [1, None]},
        subject="Tür/ß\N{GRINNING FACE}\0",
        time="2027-01-15T08:00:00.123456789+05:45",
        dataschema="urn:x",
        extensions={"flag": True, "number": -7, "traceparent": "00-ab-cd-01"},
    )
    path = tmp_path / "j.db"
    async with journal_at(path) as journal:
        (accepted,) = await journal.accept([Arrival(came, [Target("one")], 7, digest_of(came))])
        assert accepted.new
    async with journal_at(path) as journal:
        (due,) = await journal.due("one", 10)
        assert due.event == came
        assert (due.tries, due.hops, due.key, due.accepted_at) == (0, 7, "", MORNING)


@pytest.mark.parametrize("data", [None, b"", b"null", bytes(range(256)) * 4096])
async def test_any_body_and_none_at_all_come_back(tmp_path: Path, data: bytes | None) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(1, data=data)])
        (due,) = await journal.due("one", 1)
        assert due.event.data == data


async def test_the_same_event_is_accepted_once(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with journal_at(path) as journal:
        first, again, other = await journal.accept([arrival(1), arrival(1), arrival(2)])
        assert (first.new, again, other.new) == (True, Accepted(first.seq, new=False), True)
        assert await journal.accept([arrival(1)]) == [again]
        assert ids(await take_all(journal)) == ["e1", "e2"]
        assert await journal.accept([arrival(1)]) == [again]
        (elsewhere,) = await journal.accept([arrival(1, source="/other")])
        assert elsewhere.new
    async with journal_at(path) as journal:
        assert await journal.accept([arrival(1)]) == [again]


async def test_callers_at_the_same_moment_with_the_same_event_are_one(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        answers = await asyncio.gather(*(journal.accept([arrival(n % 5)]) for n in range(50)))
        assert sum(one.new for (one,) in answers) == 5
        assert journal.stats().events == 5


async def test_an_event_that_nobody_wants_ends_at_once_and_is_remembered(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        assert await journal.accept([arrival(1, "-")]) == [Accepted(0, new=True)]
        assert not (await journal.accept([arrival(1, "-")]))[0].new
        (trace,) = await journal.traces("e1")
        assert (trace.outcome, trace.ended_at, trace.passages) == ("unwanted", MORNING, [])
        assert journal.stats().events == 0


async def test_an_event_that_is_not_text_is_refused_and_spoils_no_other(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        bad, good = await asyncio.gather(
            journal.accept([arrival(1, subject="\ud800")]),
            journal.accept([arrival(2)]),
            return_exceptions=True,
        )
        assert isinstance(bad, Rejected)
        assert bad.reason == "bad_text"
        assert isinstance(good, list)
        assert ids(await take_all(journal)) == ["e2"]


async def test_a_full_journal_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    metrics = Metrics()
    async with journal_at(tmp_path / "j.db", max_events=3, metrics=metrics) as journal:
        await journal.accept([arrival(1), arrival(2)])
        with pytest.raises(TryLater) as full:
            await journal.accept([arrival(3), arrival(4)])  # both or none
        assert (full.value.reason, full.value.after > 0) == ("journal_full", True)
        assert full.value.hint
        assert journal.stats().events == 2
        await journal.accept([arrival(3)])
        assert not (await journal.accept([arrival(3)]))[0].new  # a duplicate needs no room
        assert (await journal.accept([arrival(5, "-")]))[0].new  # nor what nobody wants
        (due, *_) = await journal.due("one", 10)
        await journal.done(due, attempt(), [reply(due, "r1", "one"), reply(due, "r2", "one")])
        assert journal.stats().events == 4  # what was accepted may go on
        with pytest.raises(TryLater):
            await journal.accept([arrival(4)])
        await take_all(journal)
        assert (await journal.accept([arrival(4)]))[0].new
    sample = metrics.registry.get_sample_value
    assert sample("edge_bus_refused_total", {"reason": "journal_full"}) == 2
    assert sample("edge_bus_events_accepted_total") == 7
    assert sample("edge_bus_events_duplicate_total") == 1


async def test_those_for_whom_there_is_room_are_not_refused_with_the_others(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db", max_bytes="8KiB") as journal:
        answers = await asyncio.gather(
            *(journal.accept([arrival(n, data=bytes(2000))]) for n in range(10)),
            return_exceptions=True,
        )
        taken = [answer for answer in answers if isinstance(answer, list)]
        assert 1 < len(taken) < 5
        assert {one.reason for one in answers if isinstance(one, TryLater)} == {"journal_full"}
        assert journal.stats().bytes <= 8192
        assert len(await take_all(journal)) == len(taken)


async def test_each_trigger_has_its_own_delivery(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(1, "one", "two"), arrival(2, "two")])
        assert (journal.waiting("one"), journal.waiting("two")) == (1, 2)
        assert ids(await take_all(journal, "one")) == ["e1"]
        assert journal.stats().events == 2
        assert ids(await take_all(journal, "two")) == ["e1", "e2"]
        assert journal.stats().events == 0
        assert journal.stats().waiting == {}


async def test_what_is_under_way_is_not_given_out_again(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(n) for n in range(6)])
        first = await journal.due("one", 2)
        skip = {due.seq for due in first}
        rest = await journal.due("one", 10, skip)
        assert ids([*first, *rest]) == [f"e{n}" for n in range(6)]


async def test_events_of_a_key_go_one_after_the_other(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept(
            [arrival(1, key="a"), arrival(2, key="a"), arrival(3, key="b"), arrival(4, key="a")]
        )
        first, third = await journal.due("one", 10)
        assert ids([first, third]) == ["e1", "e3"]
        assert await journal.due("one", 10, {first.seq, third.seq}) == []
        await journal.failed(first, attempt("busy"), MORNING + 5)  # it holds its key up
        await journal.done(third, attempt())
        assert await journal.due("one", 10) == []
        clock_later = MORNING + 5
        assert await journal.next_due("one") == clock_later


async def test_a_dead_event_lets_the_next_of_its_key_pass(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(1, key="a"), arrival(2, key="a")])
        (first,) = await journal.due("one", 10)
        await journal.dead(first, attempt("bad"), "edge:x", "rejected", "no", 400)
        assert ids(await journal.due("one", 10)) == ["e2"]


async def test_a_replayed_event_waits_for_the_one_of_its_key_that_is_under_way(
    tmp_path: Path,
) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(n, key="a") for n in (1, 2, 3)])
        (first,) = await journal.due("one", 10)
        await journal.dead(first, None, "", "rejected", "no")
        (second,) = await journal.due("one", 10)
        assert await journal.replay(LetterQuery()) == 1
        assert await journal.due("one", 10, {second.seq}) == []
        await journal.done(second, attempt())
        (again,) = await journal.due("one", 10)
        assert again.event.id == "e1"
        await journal.done(again, attempt())
        assert ids(await take_all(journal)) == ["e3"]


async def test_a_failed_delivery_is_due_later_and_comes_first_then(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(n) for n in (1, 2, 3)])
        (first,) = await journal.due("one", 1)
        await journal.failed(first, attempt("timeout"), clock.now + 10)
        assert ids(await journal.due("one", 10)) == ["e2", "e3"]
        assert await journal.next_due("one") == clock.now + 10
        clock.now += 10
        again, *_ = await journal.due("one", 10)
        assert (again.event.id, again.tries) == ("e1", 1)
        await journal.held(again, clock.now + 10)
        clock.now += 10
        again, *_ = await journal.due("one", 10)
        assert again.tries == 1  # a hold is no charge
        await take_all(journal)
        assert await journal.next_due("one") is None


async def test_a_clock_that_was_ahead_holds_nothing_up(tmp_path: Path) -> None:
    clock = Clock(MORNING + 3650 * DAY)
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(1), arrival(2)])
        (first, _) = await journal.due("one", 2)
        await journal.failed(first, attempt("busy"), clock.now + 3650 * DAY)
        assert await journal.next_due("one") == clock.now + LONGEST_PARK_S
        clock.now = MORNING
        assert ids(await journal.due("one", 2)) == ["e2"]
        await journal.expire()
        assert ids(await journal.due("one", 2)) == ["e1", "e2"]


async def test_done_and_its_replies_are_one_step(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(1)])
        (due,) = await journal.due("one", 1)
        replies = [reply(due, 1, "two"), reply(due, "x")]  # the first has its parent's id
        await journal.done(due, attempt(), replies, "parcel/1")
        await journal.done(due, attempt(), [reply(due, 3, "two")])  # again: nothing
        (answer,) = await journal.due("two", 10)
        assert (answer.event.id, answer.hops) == ("e1", 254)
        assert answer.digest != due.digest
        (trace,) = await journal.traces("e1")
        assert (trace.outcome, trace.ended_at) == ("waiting", None)
        (passage,) = trace.passages
        assert (passage.state, passage.replies, passage.parcel) == (
            "done",
            ["e1", "ex"],
            "parcel/1",
        )
        (child,) = trace.replies
        assert (child.cause, child.passages[0].state) == ("e1", "waiting")
        await journal.done(answer, attempt())
        assert (await journal.traces("e1"))[0].outcome == "done"


async def test_a_note_in_another_transaction_wakes_those_who_wait(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        waiter = journal.waiter("two")
        assert waiter.is_set()  # there may be something from before
        waiter.clear()
        await journal._pieces.database.do(journal.note_of([arrival(1, "two")]))
        async with asyncio.timeout(30):
            await waiter.wait()
        assert ids(await take_all(journal, "two")) == ["e1"]


async def test_a_caller_who_gave_up_still_wakes_the_trigger(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        waiter = journal.waiter("one")
        waiter.clear()
        caller = asyncio.create_task(journal.accept([arrival(1)]), name="caller")
        await asyncio.sleep(0)
        caller.cancel()
        async with asyncio.timeout(30):
            await waiter.wait()
        assert ids(await take_all(journal)) == ["e1"]


async def test_a_reply_too_deep_is_a_dead_letter_for_each_who_wants_it(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(1)])
        (due,) = await journal.due("one", 1)
        await journal.done(due, attempt(), [reply(due, "deep", "one", "two", hops=0)])
        assert journal.stats().events == 0
        letters = await journal.letters(LetterQuery())
        assert [(one.trigger, one.reason) for one in letters] == [
            ("one", "hop_limit"),
            ("two", "hop_limit"),
        ]
        assert (await journal.traces("e1"))[0].outcome == "dead"
        assert await journal.replay(LetterQuery(trigger="two")) == 1
        (again,) = await journal.due("two", 1)
        assert (again.event.id, again.hops) == ("edeep", 0)


async def test_the_trace_keeps_the_first_attempts_and_the_newest(tmp_path: Path) -> None:
    clock = Clock()
    async with journal_at(tmp_path / "j.db", clock=clock) as journal:
        await journal.accept([arrival(1)])
        for number in range(20):
            (due,) = await journal.due("one", 1)
            assert due.tries == number
            await journal.failed(due, attempt("busy", at=clock.now, status=503), clock.now + 1)
            clock.now += 1
        (trace,) = await journal.traces("e1")
        (passage,) = trace.passages
        assert (passage.state, passage.tries) == ("retrying", 20)
        tried = [int(one.at - MORNING) for one in passage.attempts]
        assert tried == [0, 1, 2, 15, 16, 17, 18, 19]
        assert {(one.status, one.reason) for one in passage.attempts} == {(503, "busy")}
        assert passage.due == clock.now


async def test_a_chain_of_replies_is_shown_as_deep_as_it_is_wise(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(0)])
        for number in range(1, 40):
            (due,) = await journal.due("one", 1)
            await journal.done(due, attempt(), [reply(due, number, "one")])
        (trace,) = await journal.traces("e0")
        depth = 0
        while trace.replies:
            (trace,) = trace.replies
            depth += 1
        assert depth == 20
        assert (await journal.traces("e30"))[0].cause == "e29"
        assert await journal.traces("nobody") == []


async def test_huge_attributes_are_cut_in_the_trace_and_whole_in_the_delivery(
    tmp_path: Path,
) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(1, subject="x" * 100_000, extensions={"small": 1})])
        assert len((await take_all(journal))[0].event.subject) == 100_000
        (trace,) = await journal.traces("e1")
        assert len(str(trace.attributes)) < 5000
        assert trace.attributes["small"] == 1


async def test_triggers_of_run_time_are_kept_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with journal_at(path) as journal:
        await journal.save_trigger("one", '{"a":1}')
        await journal.save_trigger("one", '{"a":2}')
        await journal.save_trigger("two", "{}")
        await journal.accept([arrival(n, "one", "two", key="k") for n in range(250)])
    async with journal_at(path) as journal:
        assert await journal.triggers_saved() == {"one": '{"a":2}', "two": "{}"}
        await journal.due("one", 1)  # under way
        assert await journal.forget_trigger("one", "edge:x") == 250
        assert await journal.triggers_saved() == {"two": "{}"}
        letters = await journal.letters(LetterQuery())
        assert {(one.reason, one.where) for one in letters} == {("trigger_removed", "edge:x")}
        assert [one.attributes["id"] for one in letters] == [f"e{n}" for n in range(250)]
        assert journal.stats().waiting == {"two": 250}
        assert await journal.forget_trigger("nobody") == 0


async def test_a_damaged_row_is_set_aside_and_holds_nothing_up(tmp_path: Path) -> None:
    async with journal_at(tmp_path / "j.db") as journal:
        await journal.accept([arrival(n, body=n) for n in (1, 2, 3, 4)])

        def damage(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE event SET attributes = '{\"id\": ' WHERE seq = 1")
            connection.execute("UPDATE event SET attributes = '{\"id\": 3}' WHERE seq = 2")
            connection.execute("DELETE FROM event WHERE seq = 3")

        await journal._pieces.database.do(damage)
        assert ids(await journal.due("one", 10)) == ["e4"]
        first, second = await journal.letters(LetterQuery())
        assert (first.reason, first.attributes) == ("damaged", {})
        assert second.attributes == {"id": 3}
        shown = await journal.letter(first.id)
        assert shown is not None
        assert shown.event is None
        assert journal.stats().waiting == {"one": 1}


async def test_stats_are_the_same_after_a_restart(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.db", Clock()
    async with journal_at(path, clock=clock) as journal:
        await journal.accept([arrival(n, "one", "two", body="x" * n) for n in range(50)])
        await take_all(journal, "two")
        (due,) = await journal.due("one", 1)
        await journal.dead(due, attempt("bad"), "", "rejected", "no")
        clock.now += 60
        before = journal.stats()
        assert (before.events, before.oldest_seconds, before.letters) == (49, 60, 1)
    metrics = Metrics()
    async with journal_at(path, clock=clock, metrics=metrics) as journal:
        assert journal.stats() == before
        sample = metrics.registry.get_sample_value
        assert sample("edge_bus_waiting_events") == 49
        assert sample("edge_bus_waiting_bytes") == before.bytes
        assert sample("edge_bus_oldest_seconds") == 60
        assert sample("edge_bus_dead_letters") == 1
        await take_all(journal)
        assert (journal.stats().bytes, journal.stats().oldest_seconds) == (0, 0)
