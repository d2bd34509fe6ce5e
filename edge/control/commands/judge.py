"""The judge: whether a command is one, is meant for this box, has not expired too far, and may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from edge.config.control import CLASSES, ControlConfig, KeyConfig
from edge.control.commands import arguments as take
from edge.control.commands.effects import iso
from edge.control.commands.envelope import Command, Failed
from edge.control.commands.permissions import Caller, check
from edge.control.commands.ratchet import check_from_afar
from edge.control.commands.table import VERBS, Verb
from edge.errors import Fatal

_WAYS = ("local", "http", "mqtt")


class Judge:
    """Judges commands by their words alone.

    Args:
        config: ``[control]``.
        address: this box, ``site/node``.
        clock: seconds since the epoch.

    Raises:
        Fatal: ``config`` names a verb or class that there is not.

    """

    def __init__(self, config: ControlConfig, address: str, clock: Callable[[], float]) -> None:
        _check_names(config)
        self._config, self._clock = config, clock
        self._addresses = (address, f"{address.partition('/')[0]}/_all")

    @property
    def keys(self) -> Mapping[str, KeyConfig]:
        """The keys that commands may be signed with."""
        return self._config.keys

    def judged(self, command: Command, caller: Caller, key: str) -> tuple[Verb, take.Args, float]:
        """Return the verb, its arguments, and when the command expires (which may be past).

        Raises:
            Failed: it is not carried out.

        """
        if caller.retained:
            words = "a retained command is not carried out: it would come again and again"
            raise Failed("bad_request", words, hint="publish commands without retain")
        verb = VERBS.get(command.verb)
        if verb is None:
            raise Failed("unsupported", f"no verb {command.verb[:64]!r}", hint=", ".join(VERBS))
        if command.to and command.to not in self._addresses:
            raise Failed("bad_request", f"it is for {command.to[:128]!r}, not for this box")
        self._check_signed(command, caller, key)
        check(self._config, verb, caller, key)
        args = read_args(verb, command.args)
        if caller.channel != "local":
            check_from_afar(args)
        return verb, args, self._expiry(command, caller)

    def _check_signed(self, command: Command, caller: Caller, key: str) -> None:
        """Check what makes a signed command good for this box, and now."""
        if not key:
            return
        if not command.to:
            raise Failed("forbidden_remote", "a signed command says which box it is for", hint="to")
        if caller.standing:
            return  # whoever brings it sees to it that an older one is not taken after a newer one
        age = None if command.issued is None else self._clock() - command.issued
        if age is None or abs(age) > self._config.window:
            raise Failed(
                "forbidden_remote",
                "a signed command says when it was issued, and is new",
                hint=f"it may be {self._config.window:g} s old; this box has {iso(self._clock())}",
            )

    def _expiry(self, command: Command, caller: Caller) -> float:
        now = self._clock()
        expires = command.expires
        if expires is None:
            if caller.standing:
                return now + self._config.expires
            if caller.queued and command.issued is None:
                raise Failed("bad_request", "expires: it may have waited; say until when it counts")
            start = now if command.issued is None else command.issued
            expires = start + self._config.expires
        if expires > now + self._config.remember:
            longest = f"{self._config.remember:g} s from now at most"
            raise Failed("bad_request", f"expires: expected a time {longest}")
        return expires


def read_args(verb: Verb, given: Mapping[str, Any]) -> take.Args:
    """Read the arguments of a verb.

    Raises:
        Failed: ``bad_request`` with every fault, and never a value: it may be a password.

    """
    try:
        return verb.takes.model_validate(dict(given))
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'args'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
    known = ", ".join(verb.takes.model_fields) or "nothing"
    raise Failed("bad_request", "; ".join(faults)[:2000], hint=f"{verb.name} takes {known}")


def _check_names(config: ControlConfig) -> None:
    places = {f"{way}.allow": getattr(config, way).allow for way in _WAYS}
    places |= {f"{way}.deny": getattr(config, way).deny for way in _WAYS}
    places |= {f"keys.{name}.allow": key.allow for name, key in config.keys.items()}
    for place, names in places.items():
        for name in names:
            if name not in {*CLASSES, *VERBS}:
                raise Fatal(
                    f"[control] {place}: there is no verb or class {name!r}",
                    hint=f"classes are {', '.join(CLASSES)}; edge ctl --help lists the verbs",
                    reason="bad_control",
                )
