"""What people see of the bus as JSON: traces, dead letters, triggers. Times are ISO 8601."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from edge.traffic import Attempt, Letter, Passage, Trace, TriggerStatus


def iso(seconds: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 with zone; None stays None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def trace_json(trace: Trace) -> dict[str, Any]:
    """Return the way of an event, with the ways of what came of it."""
    return {
        "attributes": dict(trace.attributes),
        "accepted_at": iso(trace.accepted_at),
        "ended_at": iso(trace.ended_at),
        "outcome": trace.outcome,
        "cause": trace.cause,
        "passages": [_passage(passage) for passage in trace.passages],
        "replies": [trace_json(reply) for reply in trace.replies],
    }


def letter_json(letter: Letter) -> dict[str, Any]:
    """Return a dead letter without its event."""
    return {
        "id": letter.id,
        "attributes": dict(letter.attributes),
        "trigger": letter.trigger,
        "where": letter.where,
        "reason": letter.reason,
        "error": letter.error,
        "code": letter.code,
        "answer": letter.answer,
        "died_at": iso(letter.died_at),
        "bytes": letter.bytes,
        "tries": letter.tries,
        "attempts": [_attempt(attempt) for attempt in letter.attempts],
    }


def trigger_json(trigger: TriggerStatus) -> dict[str, Any]:
    """Return a trigger: its spec as it was written, and how it is, as Knative says it."""
    ready: Mapping[str, str] = {
        "type": "Ready",
        "status": "True" if trigger.ready else "False",
        "reason": trigger.reason,
        "message": trigger.message,
    }
    return {
        "name": trigger.name,
        "origin": trigger.origin,
        "spec": dict(trigger.spec),
        "status": {
            "conditions": [ready],
            "waiting": trigger.waiting,
            "under_way": trigger.under_way,
            "done": trigger.done,
            "dead": trigger.dead,
        },
    }


def _passage(passage: Passage) -> dict[str, Any]:
    return {
        "trigger": passage.trigger,
        "state": passage.state,
        "tries": passage.tries,
        "attempts": [_attempt(attempt) for attempt in passage.attempts],
        "due": iso(passage.due),
        "ended_at": iso(passage.ended_at),
        "replies": list(passage.replies),
        "parcel": passage.parcel,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": iso(attempt.at),
        "seconds": round(attempt.seconds, 6),
        "subscriber": attempt.subscriber,
        "reason": attempt.reason,
        "error": attempt.error,
        "status": attempt.status,
    }
