"""Who may: a way in allows classes and single verbs, and a key of signed commands does so, too."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edge.config.control import Channel, ControlConfig
from edge.control.commands.envelope import Failed
from edge.control.commands.table import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who commands, as far as the transport knows."""

    channel: Channel
    #: who it is, in words: a peer's address, a user's name
    who: str = ""
    #: it came with the broker's retained messages
    retained: bool = False
    #: it came on the address of many boxes
    group: bool = False
    #: it may have waited on its way: an expiry must be said
    queued: bool = False
    #: it is what somebody wants from now on, whenever that was said: it has no expiry
    standing: bool = False


def check(config: ControlConfig, verb: Verb, caller: Caller, key: str) -> None:
    """See whether a verb may come this way.

    Args:
        config: ``[control]``.
        verb: which.
        caller: who.
        key: id of the key that signed; empty: it is not signed.

    Raises:
        Failed: ``forbidden_remote``, or ``bad_request`` for a group.

    """
    way = getattr(config, caller.channel)
    if verb.local and caller.channel != "local":
        raise _forbidden(verb, "it is for the box itself", f"edge ctl {verb.name}, on the box")
    if not _names(way.allow, verb) or _names(way.deny, verb):
        raise _forbidden(verb, "it is not allowed this way", f"[control.{caller.channel}]")
    if way.signed and not key and verb.kind != "read":
        raise _forbidden(verb, "it must be signed", "[control.keys] has the keys")
    if key and not _names(config.keys[key].allow, verb):
        raise _forbidden(verb, f"the key {key} is not good for it", f"[control.keys.{key}]")
    if caller.group and not verb.group:
        raise Failed("bad_request", f"{verb.name} is for one box at a time")


def _names(given: Collection[str], verb: Verb) -> bool:
    return verb.name in given or verb.kind in given


def _forbidden(verb: Verb, why: str, hint: str) -> Failed:
    return Failed("forbidden_remote", f"{verb.name}: {why}", hint=hint)
