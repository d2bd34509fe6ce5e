"""Alarms: what a person should know at once. Raised once, and cleared once when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from edge.event import ALARM
from edge.messages.alarm import DATASCHEMA
from edge.sinks.upstream.presence import moment

CALM: Final = 10.0
"""Seconds without a trouble after which its alarm is cleared: what flickers is one alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong now."""

    alarm: str
    text: str
    hint: str = ""
    #: the source that it is about
    source: str = ""
    #: seconds that it must last before it is an alarm
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm that came or went."""

    alarm: str
    source: str
    text: str
    hint: str
    #: when it was raised
    since: str
    state: Literal["raised", "cleared"] = "raised"

    def message(self, origin: str, at: str) -> dict[str, Any]:
        """Return it as a CloudEvent; ``origin`` is ``/{site}/{node}``."""
        about = {"source": self.source} if self.source else {}
        place = f"{origin}/{self.source}" if self.source else origin
        return {
            "specversion": "1.0",
            "id": ".".join(filter(None, (self.alarm, self.source, self.since, self.state))),
            "source": place,
            "type": ALARM,
            "subject": self.alarm,
            "time": at,
            "datacontenttype": "application/json",
            "dataschema": DATASCHEMA,
            "data": {
                "alarm": self.alarm,
                "state": self.state,
                **about,
                "text": self.text,
                "hint": self.hint,
                "since": self.since,
            },
        }


class Alarms:
    """Tells what is news of what is wrong. Told all of it every second or so.

    Args:
        raised: what ``kept`` gave in an earlier run: an alarm that ends while the box is away is
            cleared all the same.

    """

    def __init__(self, raised: object = None) -> None:
        self._raised: dict[tuple[str, str], Alarm] = {}
        #: since when a trouble lasts that is no alarm yet, and since when an alarm has none
        self._begun: dict[tuple[str, str], float] = {}
        self._calm: dict[tuple[str, str], float] = {}
        for one in raised if isinstance(raised, list) else []:
            alarm = _restored(one)
            if alarm is not None:
                self._raised[alarm.alarm, alarm.source] = alarm

    def see(self, troubles: Sequence[Trouble], clock: float, at: datetime) -> list[Alarm]:
        """Return which alarms came and which went.

        Args:
            troubles: everything that is wrong now.
            clock: seconds that never jump.
            at: the time.

        """
        now = {(one.alarm, one.source): one for one in troubles}
        self._begun = {key: since for key, since in self._begun.items() if key in now}
        self._calm = {key: since for key, since in self._calm.items() if key not in now}
        news = [
            self._raise(key, one, at) for key, one in now.items() if self._ripe(key, one, clock)
        ]
        over = [key for key in self._raised if key not in now and self._is_calm(key, clock)]
        return news + [replace(self._raised.pop(key), state="cleared") for key in over]

    def kept(self) -> list[Mapping[str, Any]]:
        """Return what must survive a restart, as JSON values."""
        return [asdict(alarm) for alarm in self._raised.values()]

    def _ripe(self, key: tuple[str, str], trouble: Trouble, clock: float) -> bool:
        begun = self._begun.setdefault(key, clock)
        return key not in self._raised and clock - begun >= trouble.after

    def _is_calm(self, key: tuple[str, str], clock: float) -> bool:
        return clock - self._calm.setdefault(key, clock) >= CALM

    def _raise(self, key: tuple[str, str], one: Trouble, at: datetime) -> Alarm:
        alarm = self._raised[key] = Alarm(
            alarm=one.alarm, source=one.source, text=one.text, hint=one.hint, since=moment(at)
        )
        return alarm


def _restored(one: object) -> Alarm | None:
    names = ("alarm", "source", "text", "hint", "since")
    if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in names):
        return None
    return Alarm(**{name: one[name] for name in names})
