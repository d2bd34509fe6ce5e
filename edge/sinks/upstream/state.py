"""How sending to the broker is, in words and numbers, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.sinks.upstream.batches import OVERHEAD
from edge.sinks.upstream.outgoing import Totals, UpstreamStats
from edge.sinks.upstream.plan import Plan
from edge.sinks.upstream.rates import Rates

_WAITING = {
    "window": ("waiting_for_window", "what can wait is sent when the next window opens"),
    "budget": ("waiting_for_budget", "the bytes of today are spent; it goes on at midnight UTC"),
    "rate": ("sending", "it is sent as fast as the plan's rate allows"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the state is made of."""

    stats: UpstreamStats
    totals: Totals
    paused: bool
    until: float | None
    #: why nothing is sent for a while; empty: it is
    resting: str
    link_up: bool
    in_flight: int
    #: classes that the broker does not let through, and why
    held: Mapping[str, str]
    rates: Rates
    plan: Plan
    per_day: int
    last_delivered: float | None


def told(facts: Facts) -> dict[str, Any]:
    """Return it in JSON values."""
    stats, totals, plan = facts.stats, facts.totals, facts.plan
    state, words = _state(facts)
    left = None
    if not facts.paused:
        backlog = stats.waiting_bytes + stats.waiting * 2 * OVERHEAD
        left = plan.estimate(backlog, facts.rates.bytes, facts.rates.inflow)
    return {
        "state": state,
        "words": words,
        "waiting": stats.waiting,
        "bytes": stats.waiting_bytes,
        "classes": {kind: one.waiting for kind, one in stats.classes.items()},
        "oldest_s": round(stats.oldest_seconds, 1),
        "in_flight": facts.in_flight,
        "messages_per_s": round(facts.rates.messages, 1),
        "bytes_per_s": round(facts.rates.bytes),
        "inflow_bytes_per_s": round(facts.rates.inflow, 1),
        "through_in_s": None if left is None else round(left),
        "through": _through(stats.waiting, left, paused=facts.paused),
        "last_delivered": facts.last_delivered,
        "paused": facts.paused,
        "until": facts.until,
        "held": dict(facts.held),
        "spent_today": plan.spent,
        "per_day": facts.per_day,
        "produced": totals.produced,
        "delivered": totals.delivered,
        "tombstoned": totals.tombstoned,
    }


def _state(facts: Facts) -> tuple[str, str]:
    if facts.paused:
        return "paused", "somebody paused it"
    stats = facts.stats
    if not stats.waiting:
        return "empty", "the broker has everything"
    if facts.resting:
        return "resting", facts.resting
    if not facts.link_up:
        return "waiting_for_broker", "there is no connection to the broker"
    kinds = [kind for kind, one in stats.classes.items() if one.waiting]
    if all(kind in facts.held for kind in kinds):
        return "held", "; ".join(facts.held.values())
    average = stats.waiting_bytes // stats.waiting + 2 * OVERHEAD
    why = "" if any(facts.plan.always(kind) for kind in kinds) else facts.plan.why(average)
    return _WAITING.get(why, ("sending", "it is sent"))


def _through(waiting: int, left: float | None, *, paused: bool) -> str:
    if not waiting:
        return "nothing waits"
    if paused:
        return "not while it is paused"
    if left is None:
        return "never at this rate"
    for unit, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if left >= 2 * seconds:
            return f"in about {left / seconds:.0f} {unit}"
    return f"in about {max(1, round(left))} seconds"
