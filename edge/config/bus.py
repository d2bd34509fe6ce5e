"""The bus: what it may keep, and its triggers. ``[bus]`` and ``[triggers.NAME]``.

Keys of a trigger are spelled as Knative spells them, so that one can be copied from there.
"""

from __future__ import annotations

from typing import Any, Literal

from edge.config.section import Section, key
from edge.config.units import Duration, IsoDuration, Size


class SubscriberConfig(Section):
    """Whom a trigger hands events to: ``ref`` or ``uri``."""

    ref: str = key("", "Name of a handler: a built-in one, or [handlers.NAME].")
    uri: str = key("", "Address of a CloudEvents sink (http or https).")
    weight: int = key(1, "Its share, where a trigger has several.", ge=0, le=1000)
    overflowAt: int | None = key(  # noqa: N815
        None,
        "It stands by: it takes nothing until so many events of the trigger wait, then what the "
        "others have no room for. Left out: it always takes its share.",
        ge=1,
    )


class DeliveryConfig(Section):
    """How often, how fast and how long a trigger tries. Any key here replaces the bus's own set."""

    retry: int | None = key(
        None,
        "Tries after the first. Left out: in [bus.delivery] without end, in a trigger's delivery "
        "none.",
        ge=0,
    )
    backoffPolicy: Literal["linear", "exponential"] = key(  # noqa: N815
        "exponential", "linear: n times backoffDelay; exponential: backoffDelay times 2 to the n."
    )
    backoffDelay: IsoDuration = key("PT0.2S", "ISO 8601, the unit of the wait.")  # noqa: N815
    timeout: IsoDuration = key("PT30S", "ISO 8601, how long one try may take.")
    retryAfterMax: IsoDuration | None = key(  # noqa: N815
        None, "Longest Retry-After that is heeded; PT0S heeds none. Left out: no limit."
    )
    deadLetterSink: SubscriberConfig | None = key(  # noqa: N815
        None, "Who gets what could not be delivered. Left out: the box's own dead letters."
    )
    format: Literal["binary", "json"] = key("binary", "How a uri gets events.")


class TriggerConfig(Section):
    """Who gets which events, and how hard it is tried."""

    filter: dict[str, Any] = key({}, "The old form: {attributes = {type = …}}.")
    filters: list[dict[str, Any]] | None = key(
        None, "All must match: exact, prefix, suffix, all, any, not, cesql, cel … Before filter."
    )
    subscriber: SubscriberConfig | None = key(None, "Whom to hand events to.")
    subscribers: list[SubscriberConfig] = key([], "Several, each with its weight.")
    sticky: Literal["event", "subject"] = key(
        "event", "subscribers: the same one for all tries of an event, or all of a subject."
    )
    delivery: DeliveryConfig | None = key(None, "Left out: [bus.delivery].")
    order: Literal["unordered", "ordered"] = key(
        "unordered",
        "ordered: one after the other for each partitionkey (else subject, else source).",
    )
    concurrency: int = key(8, "Deliveries under way at once; never more.", ge=1, le=1000)
    enabled: bool = key(True, "A disabled trigger takes nothing new; what waits for it waits.")


class BusConfig(Section):
    """``[bus]``: the journal of events that wait, and how they are delivered."""

    max_bytes: Size = key("1GiB", "Events that wait may fill this much; then 429.")
    max_events: int = key(2_000_000, "Events that may wait; then 429.", ge=1)
    max_age: Duration = key("30d", "An event that waited longer becomes a dead letter.")
    max_event: Size = key("1MiB", "A larger event is refused with 413.")
    remember: Duration = key("7d", "How long an event's source and id are remembered.")
    remember_events: int = key(1_000_000, "How many are remembered at most.", ge=0)
    trace_for: Duration = key("1d", "How long the way of an event that ended can be looked up.")
    trace_events: int = key(100_000, "The way of how many is kept at most.", ge=0)
    dead_for: Duration = key("90d", "How long dead letters are kept.")
    dead_bytes: Size = key("256MiB", "Dead letters may fill this much; the oldest go first.")
    hops: int = key(255, "How many replies deep an event may go.", ge=1, le=255)
    delivery: DeliveryConfig = key(DeliveryConfig(), "For triggers that have none of their own.")
