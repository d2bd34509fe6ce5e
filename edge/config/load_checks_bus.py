"""What no single key of triggers and handlers can know: faults between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from edge.config.bus import BusConfig, DeliveryConfig, SubscriberConfig, TriggerConfig
from edge.config.handlers import AnnotateConfig, ForwardConfig
from edge.config.load_faults import Fault, Location, show_given

BUILT_IN = ("redact", "redact-object", "log", "k_sink")
"""Handlers that are there without a table; ``k_sink`` where the environment names a sink."""

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names of sources, triggers and handlers."""


def names(tables: Mapping[str, Collection[str]]) -> Iterator[Fault]:
    """Yield the names that cannot be one, by the table that they stand in."""
    for table, given in tables.items():
        for name in given:
            if not NAME.fullmatch(name) or name.strip(".") == "":
                yield Fault(
                    location=(table, name),
                    message="expected a name of 1 to 64 letters, digits, dots, dashes, underscores",
                )


def faults(
    bus: BusConfig | None,
    triggers: Mapping[str, TriggerConfig],
    handlers: Mapping[str, Any],
    known: Collection[str],
) -> Iterator[Fault]:
    """Yield what is wrong between keys of parts that are sound by themselves.

    Args:
        bus: ``[bus]``.
        triggers: by name.
        handlers: by name.
        known: names of all handlers of the file, the unsound ones too.

    """
    refs = {*BUILT_IN, *known}
    if bus is not None:
        yield from _delivery(bus.delivery, ("bus", "delivery"), refs)
    for name, trigger in triggers.items():
        yield from _trigger(trigger, ("triggers", name), refs)
    for name, handler in handlers.items():
        if isinstance(handler, ForwardConfig):
            yield from _address(handler.uri.reveal(), ("handlers", name, "uri"))
        elif isinstance(handler, AnnotateConfig):
            yield from _address(handler.uri, ("handlers", name, "uri"))


def unaddressed(triggers: Collection[str]) -> Iterator[Fault]:
    """Yield that these triggers name no subscriber at all."""
    for name in triggers:
        yield Fault(
            location=("triggers", name, "subscriber"),
            message="missing; expected whom to hand events to: a subscriber, or subscribers",
        )


def _trigger(trigger: TriggerConfig, location: Location, known: Collection[str]) -> Iterator[Fault]:
    if trigger.subscriber is not None and trigger.subscribers:
        message = "expected either subscriber or subscribers; there are both"
        yield Fault(location=(*location, "subscribers"), message=message)
    if trigger.subscriber is not None:
        if trigger.subscriber.overflowAt is not None:
            message = "there is no other subscriber that it could stand by for; use subscribers"
            yield Fault(location=(*location, "subscriber", "overflowAt"), message=message)
        yield from _subscriber(trigger.subscriber, (*location, "subscriber"), known)
    yield from _subscribers(trigger.subscribers, (*location, "subscribers"), known)
    if trigger.delivery is not None:
        yield from _delivery(trigger.delivery, (*location, "delivery"), known)


def _subscribers(
    each: list[SubscriberConfig], location: Location, known: Collection[str]
) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for at, one in enumerate(each):
        yield from _subscriber(one, (*location, at), known)
        place = seen.setdefault(one.ref or one.uri, at)
        if place != at and (one.ref or one.uri):
            message = f"is number {place}, too; expected each once, with the sum of the weights"
            yield Fault(location=(*location, at), message=message)
    if each and not any(one.weight for one in each):
        message = "all weights are 0; expected one above 0 at least"
        yield Fault(location=location, message=message)
    elif each and all(one.overflowAt is not None or not one.weight for one in each):
        message = "all stand by (overflowAt); expected one that always takes its share"
        yield Fault(location=location, message=message)


def _subscriber(
    given: SubscriberConfig, location: Location, known: Collection[str]
) -> Iterator[Fault]:
    if bool(given.ref) == bool(given.uri):
        got = "there are both" if given.ref else "there is neither"
        yield Fault(location=location, message=f"expected either ref or uri; {got}")
    elif given.uri:
        yield from _address(given.uri, (*location, "uri"))
    elif given.ref not in known:
        yield Fault(
            location=(*location, "ref"),
            given=show_given(given.ref),
            message=f"no such handler; expected one of {', '.join(sorted(known))}",
        )


def _delivery(given: DeliveryConfig, location: Location, known: Collection[str]) -> Iterator[Fault]:
    if given.timeout <= 0:
        message = "expected more than PT0S, for example PT30S"
        yield Fault(location=(*location, "timeout"), given='"PT0S"', message=message)
    if given.deadLetterSink is not None:
        yield from _subscriber(given.deadLetterSink, (*location, "deadLetterSink"), known)


def _address(uri: str, location: Location) -> Iterator[Fault]:
    try:
        parts = urlsplit(uri)
        sound = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", uri):
        # what is no address may be anything, a password too
        shown = show_given(uri) if "://" in uri and "@" not in uri else "********"
        message = "expected http://host… or https://host…; in a password write @ as %40, / as %2F"
        yield Fault(location=location, given=shown, message=message)
