"""Handlers from other packages, found by their entry point in the group ``edge.handlers``.

A plugin is an ordinary Python package, installed beside Edge (into its environment; the built
program takes none). It names a function in its ``pyproject.toml``::

    [project.entry-points."edge.handlers"]
    people-counter = "people_counter:open_counter"

The function is called once, at the start, with the options of the handler's section, and returns
what is called with each event::

    def open_counter(options):
        least = int(options.get("least", 1))

        async def count(event):
            people = len(json.loads(event.data)["people"])
            if people < least:
                return None                                    # done, nothing came of it
            return dataclasses.replace(event, type="com.example.crowd.v1")   # goes on the bus

        return count

And in the configuration::

    [handlers.counter]
    kind = "plugin"
    entry_point = "people-counter"
    options = {least = 3}

What it gets is an ``edge.event.Event``: attributes, and ``data`` as bytes, or None. It may run
again with the same event. It shares the loop with everything else, so it awaits and never blocks.
It says how it failed with ``edge.errors``: ``Rejected`` (this event, never), ``TryLater`` (not
now), ``PartFailed`` (nobody answered). An ``OSError`` counts as PartFailed, and every other
exception as Rejected. A class may take the function's place: its objects are what is called, and
where one has ``async def close(self)``, that is called at the end.

A plugin never sees a raw picture, and makes no parcel: it is not part of the privacy gate.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final

from edge.cloudevents.attributes import event_of
from edge.config.handlers import PluginConfig
from edge.errors import EdgeError, Fatal, PartFailed, Rejected
from edge.event import Event, WireEvent

GROUP: Final = "edge.handlers"

_log = logging.getLogger(__name__)

Call = Callable[[Event[Any]], Awaitable[object]]


def load(config: PluginConfig, where: str = "") -> Plugin:
    """Find a plugin, import it, and make a handler of it.

    Args:
        config: ``[handlers.NAME]`` with ``kind = "plugin"``.
        where: the handler's name for dead letters and status; empty: made of the entry point's.

    Raises:
        Fatal: ``plugin_missing``, ``plugin_twice`` (two packages have it), ``plugin_broken`` (its
            import or its first call failed), ``plugin_unfit`` (it is no handler). What the plugin
            itself raises of ``edge.errors`` comes through.

    """
    entry = _entry(config.entry_point)
    called = _described(entry)
    try:
        made = entry.load()(MappingProxyType(config.options))
    except EdgeError:
        raise
    except (Exception, SystemExit) as error:
        raise Fatal(
            f"{called} cannot be used: {type(error).__name__}: {error}",
            hint="install the plugin anew, or look at its options: "
            f"{', '.join(config.options) or 'there are none'}",
            reason="plugin_broken",
        ) from error
    return Plugin(_checked(made, called), called, where or f"edge:{config.entry_point}")


def _entry(name: str) -> EntryPoint:
    installed = entry_points(group=GROUP)
    found = list(installed.select(name=name))
    if len({entry.value for entry in found}) > 1:
        packages = ", ".join(sorted(_package(entry) for entry in found))
        raise Fatal(
            f"two packages have a plugin {name!r}: {packages}",
            hint="uninstall one of them",
            reason="plugin_twice",
        )
    if not found:
        known = ", ".join(sorted(f"{entry.name} ({_package(entry)})" for entry in installed))
        raise Fatal(
            f"no installed package has a plugin {name!r} (entry point in the group {GROUP})",
            hint=f"installed are: {known or 'none'}",
            reason="plugin_missing",
        )
    return found[0]


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"


def _described(entry: EntryPoint) -> str:
    return f"plugin {entry.name!r} ({entry.value} of {_package(entry)})"


def _checked(made: object, called: str) -> Call:
    """Return what a plugin's function made, if it may be a handler."""
    problem = ""
    if not callable(made):
        problem = f"made a {type(made).__name__}, expected an async function of one event"
    elif not _is_async(made):
        problem = "is not async; expected async def, or a class with async def __call__"
    elif not _takes_one(made):
        problem = "does not take one argument, the event"
    elif getattr(made, "sees_pictures", False):
        problem = "asks for raw pictures, which only this box's own handlers see"
    elif hasattr(made, "close") and not _is_async(made.close):
        problem = "has a close that is not async"
    if problem or not callable(made):
        raise Fatal(
            f"{called} {problem}",
            hint="pydoc edge.bus.plugins says how to write one",
            reason="plugin_unfit",
        )
    return made


def _is_async(made: Any) -> bool:
    if inspect.iscoroutinefunction(made):
        return True
    return not inspect.isclass(made) and inspect.iscoroutinefunction(type(made).__call__)


def _takes_one(made: Callable[..., Any]) -> bool:
    try:
        inspect.signature(made).bind(object())
    except TypeError:
        return False
    except ValueError:  # compiled code without a signature
        return True
    return True


class Plugin:
    """Keeps ``contracts.Handler`` around what a plugin made: its errors are the house's here."""

    sees_pictures = False

    def __init__(self, call: Call, called: str, where: str) -> None:
        self.where = where
        self._call = call
        self._called = called

    async def __call__(self, event: Event[Any]) -> WireEvent | None:
        """Hand it an event.

        Raises:
            Rejected: ``plugin_failed``; ``plugin_answer``, ``malformed``: what came back is no
                event, or one with attributes that CloudEvents forbids.
            PartFailed: ``plugin_failed``, where the system or the network failed it.

        """
        try:
            answer = await self._call(event)
        except EdgeError:
            raise
        except OSError as error:
            raise PartFailed(self._failed(error), reason="plugin_failed") from error
        except Exception as error:  # somebody else's code may raise anything
            _log.exception("%s failed", self._called)
            raise Rejected(self._failed(error), reason="plugin_failed") from error
        if answer is None:
            return None
        if not isinstance(answer, Event) or not isinstance(answer.data, bytes | None):
            raise Rejected(
                f"{self._called} answered with {_kind(answer)}; expected an Event with bytes or "
                "None as its data, or None",
                reason="plugin_answer",
            )
        return event_of(answer.attributes(), answer.data)

    async def close(self) -> None:
        """Let the plugin close, if it can; a failure is logged."""
        close = getattr(self._call, "close", None)
        if close is None:
            return
        try:
            await close()
        except Exception:  # noqa: BLE001 (code of others)
            _log.exception("%s failed to close", self._called)

    def _failed(self, error: Exception) -> str:
        return f"{self._called} failed: {type(error).__name__}: {error}"


def _kind(answer: object) -> str:
    if isinstance(answer, Event):
        return f"an Event with {type(answer.data).__name__} as its data"
    return f"a {type(answer).__name__}"
