"""The way of the newest pictures: they are not journalled, so it is kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.contracts import Picture
from edge.event import Event, Outcome, Value
from edge.traffic import Attempt, Passage, Trace

MOST = 1000
"""Pictures whose way can be looked up; of more the oldest are forgotten."""
MOST_ATTEMPTS = 8
"""Tries of one picture that are kept; of more the oldest are forgotten."""


@dataclass(slots=True)
class _Way:
    attributes: dict[str, Value]
    began: float
    ended: float | None = None
    outcome: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    tries: int = 0
    #: what came of it, by trigger: the reply's id, and whether that is a parcel
    made: dict[str, tuple[str, bool]] = field(default_factory=dict)


class Recent:
    """The newest pictures by source and id. For the loop alone."""

    def __init__(self) -> None:
        self._ways: OrderedDict[tuple[str, str], _Way] = OrderedDict()

    def made(self, event: Event[Picture], trigger: str, reply_id: str, *, parcel: bool) -> None:
        """Note what came of a picture."""
        self._way(event, 0.0).made[trigger] = (reply_id, parcel)

    def tried(self, event: Event[Picture], attempt: Attempt, outcome: Outcome | None) -> None:
        """Note a try; ``outcome`` None: it failed, and may be tried again."""
        way = self._way(event, attempt.at)
        way.attempts = [*way.attempts, attempt][-MOST_ATTEMPTS:]
        way.began = way.began or attempt.at
        way.tries += outcome is None
        way.outcome = "failed" if outcome is None else outcome.value
        way.ended = attempt.at + attempt.seconds

    def traces(self, event_id: str) -> list[Trace]:
        """Return the way of every picture of that id."""
        return [_trace(way) for (_, name), way in self._ways.items() if name == event_id]

    def _way(self, event: Event[Picture], began: float) -> _Way:
        key = (event.source, event.id)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = _Way(event.attributes(), began)
            if len(self._ways) > MOST:
                self._ways.popitem(last=False)
        return way


def _trace(way: _Way) -> Trace:
    return Trace(
        attributes=way.attributes,
        accepted_at=way.began,
        ended_at=way.ended,
        outcome=way.outcome,
        passages=_passages(way),
    )


def _passages(way: _Way) -> Sequence[Passage]:
    by_trigger = way.made or {"": ("", False)}
    return [
        Passage(
            trigger=trigger,
            state="done" if way.outcome in ("done", "duplicate") else "dropped",
            attempts=way.attempts,
            tries=way.tries,
            ended_at=way.ended,
            replies=(reply,) if reply and not is_parcel else (),
            parcel=reply if is_parcel else "",
        )
        for trigger, (reply, is_parcel) in by_trigger.items()
    ]
