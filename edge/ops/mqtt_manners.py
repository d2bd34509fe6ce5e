"""How to say hello to a broker, learnt from how it refused the last one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final, Literal

from edge.errors import PartFailed
from edge.ops.mqtt_faults import thrown_out
from edge.ops.mqtt_types import Version, Will

AGAIN_5: Final = 3600.0
"""Seconds after which a broker that refused MQTT 5 is asked for it again, when it has to be asked
anyway: it may be a newer one."""
CUTS: Final = 3
"""Brief connections in a row, after which it is no accident that the broker hangs up."""


class Manners:
    """Which MQTT to speak, what will to leave, and whether to begin anew.

    Args:
        version: what the operator wants; ``auto``: 5, and 3.1.1 where that is refused.

    """

    def __init__(self, version: Literal["auto", "5", "3.1.1"]) -> None:
        self._auto = version == "auto"
        self._version: Version = "3.1.1" if version == "3.1.1" else "5"
        self._fell_back, self._spoke_5 = 0.0, -AGAIN_5
        self._will_faults: set[str] = set()
        self._cuts = 0
        #: the broker's session is to be thrown away
        self.fresh = False

    @property
    def version(self) -> Version:
        """Which MQTT to speak now."""
        old = self._auto and self._version != "5"
        if old and time.monotonic() - self._fell_back > AGAIN_5:
            self._version = "5"
        return self._version

    def welcomed(self) -> None:
        """Remember what the broker has shown to understand."""
        self.fresh = False
        if self._version == "5":
            self._spoke_5 = time.monotonic()

    def learn(self, error: PartFailed) -> bool:
        """Take to heart why there was no welcome; tell whether to try another hello at once.

        MQTT 3.1.1 is the worse one: there a broker acknowledges what it throws away.
        """
        match error.reason:
            case "no_welcome" if time.monotonic() - self._spoke_5 < AGAIN_5:
                return False  # it knows MQTT 5; now it is starting, or stopping
            case "version" | "no_welcome" if self._auto:
                # old brokers hang up on MQTT 5 without a word. So does one that is starting: 3.1.1
                # is tried at once, or it would be what it speaks when it is up
                self._version = "3.1.1" if self._version == "5" else "5"
                self._fell_back = time.monotonic()
                return self._version == "3.1.1"
            case "no_retain" | "no_qos" if error.reason not in self._will_faults:
                self._will_faults.add(error.reason)
                return True
            case "flooded":
                # the session would bring the same again, for ever
                self.fresh = True
        return False

    def suspect(self, error: PartFailed, *, brief: bool) -> PartFailed:
        """Say what is behind an end without a word, when it comes again and again.

        Args:
            error: why the connection ended.
            brief: it ended soon after its welcome.

        """
        self._cuts = self._cuts + 1 if brief and error.reason == "cut" else 0
        return thrown_out(error, self._cuts) if self._cuts >= CUTS else error

    def fit(self, will: Will | None) -> Will | None:
        """Return the will in a form that the broker takes."""
        if will and "no_retain" in self._will_faults:
            will = replace(will, retain=False)
        if will and "no_qos" in self._will_faults:
            will = replace(will, qos=0)
        return will
