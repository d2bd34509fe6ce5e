"""Triggers: which events, for whom, how hard it is tried.

::

    TriggerConfig --compile_plan (dear: expressions)--> Plan --link (handlers)--> Trigger

A plan is compiled once, away from the loop if it is set at run time; a trigger is a plan that is
linked to the handlers there are now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from edge.bus.candidate import Candidate, canonical_text
from edge.bus.delivery_spec import DeliverySpec, spec_of
from edge.bus.filters import BadFilter, Filter, compile_filter
from edge.bus.subscribers import Subscriber, Subscribers
from edge.config.bus import DeliveryConfig, SubscriberConfig, TriggerConfig
from edge.contracts import Handler
from edge.errors import PartFailed, Rejected
from edge.event import Event
from edge.ops.redact_url import clean, without_credentials

DEAD = "/dead"
"""Ends the name of the trigger that hands another one's dead letters to its ``deadLetterSink``."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class MakeForward(Protocol):
    """Makes the handler of a ``uri``; ``replies``: whether what it answers is an event."""

    def __call__(
        self, to: SubscriberConfig, delivery: DeliveryConfig, *, replies: bool
    ) -> Handler: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A trigger as it was set, compiled."""

    name: str
    #: ``config``, ``api`` or ``built-in``
    origin: str
    config: TriggerConfig
    filter: Filter
    spec: DeliverySpec
    #: what ``spec`` was made of: the trigger's own set, or the bus's
    delivery: DeliveryConfig
    #: why it is none, though it was one when it was set; empty: it is sound
    fault: str = ""
    #: as it was written; left out: as ``config`` says it
    written: Mapping[str, Any] | None = None
    #: the trigger that its dead letters go to; None: they stay in the box
    dead: Plan | None = None

    @property
    def shown(self) -> Mapping[str, Any]:
        """The trigger as it was written, without credentials."""
        written = self.written
        if written is None:
            written = self.config.model_dump(mode="json", exclude_unset=True)
        shown = clean(written)
        return shown if isinstance(shown, dict) else {}

    @property
    def subscribers(self) -> Sequence[SubscriberConfig]:
        """Who gets its events."""
        single = self.config.subscriber
        return self.config.subscribers if single is None else [single]


NOTHING = Filter(lambda _: False)


class Trigger:
    """A plan with its subscribers. ``matches`` is a plain function, since it is called often."""

    __slots__ = (
        "_made",
        "concurrency",
        "fault",
        "has_sink",
        "matches",
        "name",
        "ordered",
        "plan",
        "spec",
        "subscribers",
    )

    def __init__(
        self, plan: Plan, subscribers: Subscribers, made: Sequence[Handler] = (), fault: str = ""
    ) -> None:
        self.plan = plan
        #: why it cannot deliver; empty: it can, if its handlers exist
        self.fault = fault or plan.fault
        self.name = plan.name
        self.spec = plan.spec
        self.subscribers = subscribers
        self.ordered = plan.config.order == "ordered"
        self.concurrency = plan.config.concurrency
        #: whether its dead letters go to a sink
        self.has_sink = plan.dead is not None
        self.matches: Callable[[Candidate], bool] = plan.filter.matches
        self._made = tuple(made)

    @property
    def enabled(self) -> bool:
        """Whether it takes events."""
        return self.plan.config.enabled

    def handler(self, event: Event[Any]) -> Handler | None:
        """Return who gets this event; None: that one does not exist."""
        return self.subscribers.choose(event).handler if self.subscribers.each else None

    def for_pictures(self, event: Event[Any]) -> bool:
        """Tell whether its handler for this event takes pictures in memory, and nothing else."""
        handler = self.handler(event)
        return handler is not None and handler.sees_pictures

    def key(self, event: Event[Any]) -> str:
        """Return what this event is ordered by; empty: nothing."""
        if not self.ordered:
            return ""
        key = event.extensions.get("partitionkey")
        return (canonical_text(key) if key is not None else "") or event.subject or event.source

    def blocked(self) -> tuple[str, str]:
        """Return why nothing can be delivered, as a code and words; empty: it can."""
        if self.fault:
            return "bad_trigger", self.fault
        if not self.enabled:
            return "disabled", "it is switched off"
        missing = [one.name for one in self.subscribers.each if one.handler is None]
        if missing:
            return "no_subscriber", f"there is no handler {', '.join(missing)}"
        return "", ""

    def trouble(self) -> tuple[str, str]:
        """Return why it is not as it should be, as a code and words; empty: it is."""
        off = self.plan.filter.off
        reason, words = self.blocked()
        return (reason, words) if reason or not off else ("filter_off", off)

    async def close(self) -> None:
        """Let go of the handlers that were made for it alone."""
        for handler in self._made:
            await handler.close()


def link(plan: Plan, handlers: Mapping[str, Handler], make_forward: MakeForward) -> Trigger:
    """Return the trigger of a plan with the handlers there are now.

    Where one cannot be made (its CA file is gone), events wait until the trigger is linked anew.
    """
    each, made = [], []
    try:
        for config in plan.subscribers:
            handler = handlers.get(config.ref)
            if config.uri:
                replies = not plan.name.endswith(DEAD)
                handler = make_forward(config, plan.delivery, replies=replies)
                made.append(handler)
            each.append(_subscriber(config, handler))
    except (Rejected, PartFailed) as error:
        return Trigger(plan, Subscribers([], plan.config.sticky), made, str(error))
    return Trigger(plan, Subscribers(each, plan.config.sticky), made)


def _subscriber(config: SubscriberConfig, handler: Handler | None) -> Subscriber:
    return Subscriber(
        name=config.ref or without_credentials(config.uri),
        handler=handler,
        weight=config.weight,
        overflow_at=config.overflowAt,
        key=config.ref or config.uri,
    )


def compile_plan(
    name: str,
    config: TriggerConfig,
    origin: str,
    bus: DeliveryConfig,
    written: Mapping[str, Any] | None = None,
) -> Plan:
    """Compile a trigger. Blocks where it has CEL expressions (0.2 s for the first one).

    Args:
        name: its name.
        config: what it is to be.
        origin: ``config``, ``api`` or ``built-in``.
        bus: how triggers deliver that do not say so themselves.
        written: the trigger as it was written, to be shown.

    Raises:
        Rejected: ``bad_trigger``, with every fault and where it stands.

    """
    faults = _Faults()
    faults.check_name(name)
    spec, delivery = spec_of(config.delivery, bus)
    faults.check_subscribers(config)
    faults.check_delivery(delivery)
    # of both forms every fault is told, though one alone is evaluated
    old = faults.compiled(config.filter, "filter")
    new = faults.compiled(config.filters or [], "filters")
    if faults.found:
        raise bad_trigger(name, faults.found)
    return Plan(
        name=name,
        origin=origin,
        config=config,
        filter=new if config.filters else old,
        spec=spec,
        delivery=delivery,
        written=written,
        dead=_of_the_dead(name, config, spec, delivery),
    )


def _of_the_dead(
    name: str, config: TriggerConfig, spec: DeliverySpec, delivery: DeliveryConfig
) -> Plan | None:
    """Return the trigger that takes the dead letters of another one to their sink."""
    if delivery.deadLetterSink is None:
        return None
    return Plan(
        name=name + DEAD,
        origin="built-in",
        config=TriggerConfig(subscriber=delivery.deadLetterSink, concurrency=config.concurrency),
        filter=NOTHING,
        spec=spec,
        delivery=delivery.model_copy(update={"deadLetterSink": None}),
    )


def broken_plan(name: str, origin: str, written: Mapping[str, Any], fault: str) -> Plan:
    """Return what stands for a trigger that was sound when it was set, and is no more.

    It takes nothing, and what waits for it waits.
    """
    return Plan(
        name=name,
        origin=origin,
        config=TriggerConfig(),
        filter=NOTHING,
        spec=DeliverySpec(),
        delivery=DeliveryConfig(),
        fault=fault,
        written=written,
    )


def bad_trigger(name: str, faults: Sequence[str]) -> Rejected:
    """Return what to raise for a trigger with faults."""
    return Rejected(f"trigger {name!r}: {'; '.join(faults)}", reason="bad_trigger")


@dataclass(slots=True)
class _Faults:
    """Gathers what is wrong with a trigger beyond what each key alone can tell."""

    found: list[str] = field(default_factory=list)

    def check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name) or not name.strip("."):
            self.found.append(
                "its name: expected 1 to 64 letters, digits, dots, dashes, underscores"
            )

    def compiled(self, given: object, path: str) -> Filter:
        try:
            return compile_filter(given, path)
        except BadFilter as error:
            self.found += [str(fault) for fault in error.faults]
            return NOTHING

    def check_subscribers(self, config: TriggerConfig) -> None:
        if (config.subscriber is None) != bool(config.subscribers):
            both = "both" if config.subscribers else "neither"
            self.found.append(f"subscriber: expected one, or a list in subscribers, got {both}")
        if config.subscriber is not None:
            self.check_subscriber(config.subscriber, "subscriber")
        for index, one in enumerate(config.subscribers):
            self.check_subscriber(one, f"subscribers[{index}]")
        each = [config.subscriber, *config.subscribers]
        if not any(one.weight for one in each if one is not None) and any(each):
            self.found.append("subscribers: expected a weight above 0 for at least one")
        elif all(one.overflowAt is not None or not one.weight for one in each if one is not None):
            self.found.append("subscribers: expected one without overflowAt, with a weight above 0")
        keys = [one.ref or one.uri for one in config.subscribers]
        if len(set(keys)) < len(keys):
            self.found.append("subscribers: expected each of them once, add up their weights")

    def check_subscriber(self, given: SubscriberConfig, path: str) -> None:
        if bool(given.ref) == bool(given.uri):
            self.found.append(f"{path}: expected either ref or uri")
        elif given.uri and not _is_http(given.uri):
            shown = without_credentials(given.uri)
            self.found.append(f"{path}.uri: expected http://host or https://host, got {shown!r}")

    def check_delivery(self, delivery: DeliveryConfig) -> None:
        if delivery.timeout <= 0:
            self.found.append("delivery.timeout: expected more than PT0S")
        if delivery.deadLetterSink is not None:
            self.check_subscriber(delivery.deadLetterSink, "delivery.deadLetterSink")


def _is_http(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and " " not in uri
