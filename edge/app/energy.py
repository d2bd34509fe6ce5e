"""The box's energy: a thread reads the counters, the loop counts, tells, and keeps to the cap."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from edge.bus.lanes import LanePolicy
from edge.config.energy import EnergyConfig
from edge.contracts import Picture
from edge.control.sources import Hand, Settle
from edge.errors import PartFailed
from edge.event import Event, Outcome
from edge.ops.energy import STALE, Look, Meter, Unread, find_meter
from edge.ops.metrics import Metrics, counts_by
from edge.ops.power_cap import PowerCap
from edge.web import view

log = logging.getLogger(__name__)

WINDOW = 300.0
"""Seconds over which the energy of 1000 pictures is measured."""
LEAST_WINDOW = 30.0
"""Seconds before which that would say little."""
LEAST_EVERY = 0.5
"""Seconds. Counters of GPUs move every tenth of a second: more often says nothing more."""
CAPPED = "power"
"""Why a frame was dropped that the cap left out."""


_NOT_YET = Unread("the counters were not read yet")


class BoxEnergy:
    """Measures, and thins the frames of live sources where there is a cap.

    Args:
        config: the section.
        metrics: where it is counted.
        find: finds the counters; called in the thread.

    """

    def __init__(
        self, config: EnergyConfig, metrics: Metrics, find: Callable[[], Meter] = find_meter
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._find = find
        self._look = Look(unread=(_NOT_YET,))
        #: when power was last known; before the first look: when it began
        self._known_at = time.monotonic()
        self._told: dict[str, float] = {}
        #: moment, joules and redacted pictures at each look of the window
        self._past: deque[tuple[float, float, int]] = deque()
        self._cap = None
        if config.measure and config.power_cap:
            self._cap = PowerCap(config.power_cap, config.least_fps)

    async def run(self, up: Callable[[], None]) -> None:
        """Take what the thread reads, until cancelled.

        Raises:
            PartFailed: the thread ended; the log says why.

        """
        if not self._config.measure:
            return
        looks: asyncio.Queue[Look | None] = asyncio.Queue()
        ended = threading.Event()
        # not a worker of a pool: a driver that hangs must not hold up the end of the process
        thread = threading.Thread(
            target=self._read,
            args=(asyncio.get_running_loop(), looks, ended),
            name="energy",
            daemon=True,
        )
        self._told, self._past = {}, deque()
        self._known_at = time.monotonic()
        thread.start()
        try:
            while (look := await self._next(looks)) is not None:
                up()
                self._take(look, time.monotonic())
        finally:
            ended.set()
        raise PartFailed("the thread that reads the counters ended", hint="see the log")

    async def _next(self, looks: asyncio.Queue[Look | None]) -> Look | None:
        try:
            async with asyncio.timeout(self._patience()):
                return await looks.get()
        except TimeoutError:
            return Look(unread=(Unread("the counters do not answer", "does the driver hang?"),))

    def _read(
        self,
        loop: asyncio.AbstractEventLoop,
        looks: asyncio.Queue[Look | None],
        ended: threading.Event,
    ) -> None:
        every = max(LEAST_EVERY, self._config.every)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            try:
                meter = self._find()
                while not ended.is_set():
                    loop.call_soon_threadsafe(looks.put_nowait, meter.look(time.monotonic()))
                    ended.wait(every)
            finally:
                loop.call_soon_threadsafe(looks.put_nowait, None)

    def _take(self, look: Look, now: float) -> None:
        if [zone.name for zone in look.zones] != [zone.name for zone in self._look.zones]:
            self._past.clear()  # sums of other zones cannot be compared
        self._look = look
        self._tell(look)
        if look.watts is not None:
            self._known_at = now
            self._past.append((now, look.joules, self._redacted()))
        while self._past and self._past[0][0] < now - WINDOW:
            self._past.popleft()
        each = self._per_thousand()
        self._metrics.energy_per_pictures.set(float("nan") if each is None else each)
        if self._cap is not None:
            self._steer(self._cap, look.watts, now)

    def _steer(self, cap: PowerCap, watts: float | None, now: float) -> None:
        before = cap.share
        cap.measured(watts, now)
        self._metrics.power_cap_share.set(cap.taken)
        if (before < 1) == (cap.share < 1):
            return
        if cap.share < 1:
            log.info("%.1f W are more than %g W: live frames are left out", cap.watts, cap.cap)
        else:
            log.info("no more live frames are left out to keep to %g W", cap.cap)

    def _tell(self, look: Look) -> None:
        metrics = self._metrics
        metrics.energy_zones.set(sum(zone.watts is not None for zone in look.zones))
        metrics.power_watts.clear()
        for zone in look.zones:
            more = zone.joules - self._told.get(zone.name, 0.0)
            metrics.energy_joules.labels(zone.name).inc(max(0.0, more))
            self._told[zone.name] = zone.joules
            if zone.watts is not None:
                metrics.power_watts.labels(zone.name).set(zone.watts)

    def _redacted(self) -> int:
        return counts_by(self._metrics.pictures_redacted, "").get("", 0)

    def _per_thousand(self) -> float | None:
        if not self._past or self._look.watts is None:
            return None
        (began, joules, pictures), (now, joules_now, pictures_now) = self._past[0], self._past[-1]
        if now - began < LEAST_WINDOW or pictures_now <= pictures:
            return None
        return 1000 * (joules_now - joules) / (pictures_now - pictures)

    def wanted(self, name: str, policy_of: Callable[[str], LanePolicy]) -> Callable[[], bool]:
        """Return who says whether a camera's next frame is wanted, in the camera's thread.

        One that is not has not cost all of its decoding yet. It counts as taken and as dropped.
        """
        cap, metrics = self._cap, self._metrics
        if cap is None:
            return lambda: True

        def wants() -> bool:
            if policy_of(name).queue == "block" or cap.wants(name, time.monotonic()):
                return True
            metrics.pictures_taken.labels(name).inc()
            metrics.pictures_dropped.labels(name, CAPPED).inc()
            return False

        return wants

    def thin(
        self,
        hand: Hand,
        policy_of: Callable[[str], LanePolicy],
        asked: Callable[[str], bool] = lambda _: False,
    ) -> Hand:
        """Return ``hand`` for live frames; what the cap leaves out is settled as dropped.

        A source that waits for room rather than lose a frame (``block``) loses none to the cap.

        Args:
            hand: takes the frames.
            policy_of: says how a source queues.
            asked: tells whether a source asks ``wanted`` by itself.

        """
        cap = self._cap
        if cap is None:
            return hand

        async def offer(event: Event[Picture], settle: Settle) -> None:
            name = event.source.rpartition("/")[2]
            free = asked(name) or policy_of(name).queue == "block"
            if free or cap.wants(name, time.monotonic()):
                await hand(event, settle)
            else:
                self._metrics.pictures_dropped.labels(name, CAPPED).inc()
                await settle(event, Outcome.DROPPED, CAPPED)

        return offer

    def status(self) -> view.Energy:
        """Say what is measured, what is not and why, and how the cap is kept."""
        look, cap = self._look, self._cap
        reason, hint = self._trouble()
        return view.Energy(
            measured=self._config.measure,
            zones=[view.Zone(name=z.name, joules=z.joules, watts=z.watts) for z in look.zones],
            watts=look.watts,
            joules_per_1000=self._per_thousand(),
            unread=[view.Reason(text=one.text, hint=one.hint) for one in look.unread],
            cap=self._config.power_cap,
            share=1.0 if cap is None else cap.taken,
            capped=counts_by(self._metrics.pictures_dropped, "reason").get(CAPPED, 0),
            reason=reason,
            hint=hint,
        )

    def told(self) -> Mapping[str, float]:
        """Return what the broker is told: ``energy`` of ``messages.presence.Health``."""
        now = self.status()
        measured = {"watts": now["watts"], "joules_per_1000": now["joules_per_1000"]}
        known = {name: round(value, 1) for name, value in measured.items() if value is not None}
        return known | ({"cap": now["cap"], "left_out": now["capped"]} if now["cap"] else {})

    def _trouble(self) -> tuple[str, str]:
        """Say why the cap is not kept, and what to do; empty: it is, as far as is known."""
        config, cap = self._config, self._cap
        if not config.power_cap:
            return "", ""
        if cap is None:
            return "The cap on power does nothing: [energy] measure is off", "switch it on"
        if time.monotonic() - self._known_at > 2 * self._patience():
            text = f"The cap of {cap.cap:g} W cannot be kept: power is not measured"
            return text, "edge doctor says why"
        if cap.spent and cap.watts is not None:
            text = (
                f"The machine takes {cap.watts:.1f} W, more than its cap of {cap.cap:g} W, and the "
                f"cameras are at {config.least_fps:g} pictures a second already"
            )
            return text, "raise [energy] power_cap, lower least_fps, or switch a camera off"
        return "", ""

    def _patience(self) -> float:
        return max(STALE, 5 * self._config.every)
