"""Faults of the configuration that only the bus can tell: filters and routing rules. For ``load``.

The configuration imports no room, so whoever reads it hands these in: ``load(path, also=faults)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge.bus.filters import BadFilter, compile_filter
from edge.config.handlers import RouteConfig
from edge.config.load_checks import Parts
from edge.config.load_faults import Fault, Location, show_given

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def faults(given: Parts) -> Iterator[Fault]:
    """Yield what is wrong with the filters of triggers and the rules of routes."""
    for name, trigger in given.triggers.items():
        for key in ("filter", "filters"):
            value = getattr(trigger, key)
            if value:
                yield from _filter(value, key, ("triggers", name))
    for name, handler in given.handlers.items():
        if isinstance(handler, RouteConfig):
            yield from _route(handler, ("handlers", name))


def _filter(value: object, key: str, location: Location) -> Iterator[Fault]:
    try:
        compile_filter(value, key)
    except BadFilter as error:
        for fault in error.faults:
            yield Fault(
                location=(*location, *_location(fault.path)),
                given=fault.given,
                message=fault.message,
            )


def _route(config: RouteConfig, location: Location) -> Iterator[Fault]:
    from edge.bus.route import faults_of  # noqa: PLC0415 (RE2: only where there are rules)

    for fault in faults_of(config):
        at = f" (at character {fault.position})" if fault.position else ""
        yield Fault(
            location=(*location, *_location(fault.path)),
            given=show_given(fault.given),
            message=fault.message + at,
        )


def _location(path: str) -> Location:
    """Take ``filters[0].exact.type`` apart."""
    return tuple(int(at) if at else name for at, name in _STEP.findall(path))
