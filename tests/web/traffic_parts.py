"""An honest bus in memory: it keeps the promises of Intake and Traffic, and delivers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge.bus.candidate import Candidate
from edge.bus.filters import BadFilter, Fault, Filter, compile_filter
from edge.contracts import Accepted
from edge.errors import EdgeError, Rejected
from edge.event import Event, WireEvent
from edge.traffic import Attempt, Letter, LetterQuery, Passage, Trace, TriggerStatus

AT = 1_777_887_000.25
"""2026-05-04T09:30:00.250Z"""
_SPEC = {"filter", "filters", "subscriber", "subscribers", "delivery", "order", "enabled"}


class BadTrigger(Rejected):
    """A trigger with its faults."""

    default_reason = "bad_trigger"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


def letter(number: int, trigger: str = "cloud", reason: str = "refused", **facts: Any) -> Letter:
    """Return a dead letter, one of a series that died a minute after each other."""
    event: WireEvent = facts.pop("event", None) or wire_event(f"e-{number}")
    usual: dict[str, Any] = {
        "id": f"event-{number}",
        "attributes": event.attributes(),
        "trigger": trigger,
        "where": "https://sink.example/in",
        "reason": reason,
        "error": "the sink answered 400",
        "code": 400,
        "answer": "bm8=",
        "died_at": AT + 60 * number,
        "bytes": 100,
        "tries": 3,
        "attempts": [Attempt(at=AT, seconds=0.125, subscriber="sink", reason=reason, status=400)],
        "event": event,
    }
    return Letter(**usual | facts)


def wire_event(event_id: str, **more: Any) -> WireEvent:
    """Return a small event."""
    usual: dict[str, Any] = {
        "source": "/site/box",
        "type": "io.example.thing.v1",
        "subject": f"things/{event_id}",
        "time": "2026-05-04T09:30:00.123456789Z",
        "datacontenttype": "application/json",
        "data": b'{"a": 1}',
    }
    return Event(id=event_id, **usual | more)


class MemoryBus:
    """Takes events, remembers and shows them; triggers are kept, and never fire."""

    def __init__(self) -> None:
        self.taken: list[WireEvent] = []
        self.max_event = 2**20
        #: what the next ``accept`` raises
        self.refuses: EdgeError | None = None
        self.kept: list[Letter] = []
        self.replayed: list[str] = []
        self.table = {"redact": TriggerStatus(name="redact", spec={}, origin="config", ready=True)}
        self.ways: dict[str, list[Trace]] = {}
        self.watchers: dict[asyncio.Queue[WireEvent | None], Filter | None] = {}

    async def accept(self, events: Sequence[WireEvent]) -> list[Accepted]:
        await asyncio.sleep(0)
        if self.refuses is not None:
            raise self.refuses
        for event in events:
            if len(event.data or b"") > self.max_event:
                raise Rejected(f"event {event.id} is too large", reason="too_large")
        known = {(event.source, event.id) for event in self.taken}
        accepted = []
        for event in events:
            new = (event.source, event.id) not in known
            accepted.append(Accepted(seq=len(self.taken) + 1, new=new))
            if new:
                self._keep(event)
        return accepted

    def _keep(self, event: WireEvent) -> None:
        self.taken.append(event)
        passage = Passage(trigger="redact", state="waiting", due=AT + 5)
        trace = Trace(
            attributes=event.attributes(),
            accepted_at=AT,
            ended_at=None,
            outcome="waiting",
            passages=[passage],
        )
        self.ways.setdefault(event.id, []).append(trace)
        for queue, passes in list(self.watchers.items()):
            fits = passes is None or passes(Candidate(event.attributes()))
            if fits and not queue.full():
                queue.put_nowait(event)

    async def traces(self, event_id: str) -> list[Trace]:
        return self.ways.get(event_id, [])

    def watch(self, filters: object = None) -> AsyncIterator[WireEvent]:
        passes = None if filters is None else compile_filter(filters)
        queue: asyncio.Queue[WireEvent | None] = asyncio.Queue(100)
        self.watchers[queue] = passes
        return self._watch(queue)

    async def _watch(self, queue: asyncio.Queue[WireEvent | None]) -> AsyncIterator[WireEvent]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            del self.watchers[queue]

    def stop_watchers(self) -> None:
        for queue in self.watchers:
            queue.put_nowait(None)

    def _matching(self, query: LetterQuery) -> list[Letter]:
        order = [one.id for one in self.kept]
        first = order.index(query.after) + 1 if query.after else 0
        found = [one for one in self.kept[first:] if _fits(one, query)]
        return found if query.limit is None else found[: query.limit]

    async def letters(self, query: LetterQuery) -> list[Letter]:
        return [replace(one, event=None) for one in self._matching(query)]

    async def letter(self, letter_id: str) -> Letter | None:
        return next((one for one in self.kept if one.id == letter_id), None)

    async def replay(self, query: LetterQuery) -> int:
        if self.refuses is not None:
            raise self.refuses
        self.replayed += [one.id for one in self._matching(query)]
        return await self.drop(query)

    async def drop(self, query: LetterQuery) -> int:
        gone = {one.id for one in self._matching(query)}
        self.kept = [one for one in self.kept if one.id not in gone]
        return len(gone)

    def triggers(self) -> list[TriggerStatus]:
        return list(self.table.values())

    async def put_trigger(self, name: str, spec: Mapping[str, Any]) -> TriggerStatus:
        self._mine(name)
        faults = [
            Fault(path=key, given=repr(spec[key]), message="no such key")
            for key in sorted(spec.keys() - _SPEC)
        ]
        try:
            compile_filter(spec.get("filters", []))
        except BadFilter as error:
            faults += error.faults
        if faults:
            raise BadTrigger(faults)
        ready = "subscriber" in spec
        trigger = TriggerStatus(
            name=name,
            spec=spec,
            origin="api",
            ready=ready,
            reason="" if ready else "no_subscriber",
            message="" if ready else "nobody to hand events to",
        )
        self.table[name] = trigger
        return trigger

    async def remove_trigger(self, name: str) -> bool:
        self._mine(name)
        return self.table.pop(name, None) is not None

    def _mine(self, name: str) -> None:
        if name in self.table and self.table[name].origin == "config":
            raise Rejected(f"{name} stands in the file", hint="change it there", reason="in_config")


def _fits(one: Letter, query: LetterQuery) -> bool:
    facts = one.attributes
    return all(
        (
            not query.ids or one.id in query.ids,
            not query.trigger or one.trigger == query.trigger,
            not query.reason or one.reason == query.reason,
            not query.type or facts["type"] == query.type,
            not query.source or facts["source"] == query.source,
            query.subject in str(facts.get("subject", "")),
            query.since is None or one.died_at >= query.since,
            query.until is None or one.died_at < query.until,
        )
    )
