"""A simulation from its first connect to its last goodbye, and what it tells meanwhile."""

from __future__ import annotations

import asyncio
import resource
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge.cli.fleet_broker import Broker, opened
from edge.cli.sim_box import SimBox, Tally
from edge.cli.sim_messages import source_names
from edge.cli.sim_plan import Plan
from edge.errors import EdgeError
from edge.ops.mqtt import MqttLink

REPORT_EVERY: Final = 5.0
_AT_ONCE: Final = 32
_CONNECTING: Final = 50
"""Boxes that connect at once, at the start."""
Report = Callable[[Mapping[str, Any]], None]
"""Is told the statistics."""


@dataclass(slots=True)
class _Before:
    """What the last report said: rates are of the time since."""

    at: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)
    acknowledged: int = 0


class Simulation:
    """Many boxes in one process.

    Args:
        plan: what is simulated.
        broker: where.
        report: told how it goes, every so often.

    """

    def __init__(self, plan: Plan, broker: Broker, report: Report) -> None:
        self._plan, self._broker, self._report = plan, broker, report
        self.tally = Tally()
        self.boxes = [SimBox(plan, number, broker, self.tally) for number in range(plan.boxes)]
        self._memory = resident()
        self._before = _Before()
        self._over = False

    async def run(self, duration: float | None, *, keep: bool) -> Mapping[str, Any]:
        """Let it happen for so many seconds, or until interrupted; return the last statistics.

        Args:
            duration: seconds; None: until interrupted. A second interrupt ends it at once.
            keep: leave at the broker what it keeps of the boxes.

        Raises:
            PartFailed: the broker is out of reach from the start, or at the end.

        """
        async with opened(self._broker):
            pass  # so that a wrong address is one error, not thousands
        self.tally.began = time.monotonic()
        working = asyncio.create_task(self._work(), name="simulation")
        stopped = asyncio.create_task(_interrupted(), name="simulation is interrupted")
        try:
            await asyncio.wait(
                {working, stopped}, timeout=duration, return_when=asyncio.FIRST_COMPLETED
            )
            if working.done():
                working.result()
            last = self.statistics()
            self._over = True
            await self._leave()
        finally:
            stopped.cancel()
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            if not keep:
                await self._clean()
        return last

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(), name="statistics")
            if self._plan.faults.reconnect:
                group.create_task(self._storms(), name="storms")
            for number, box in enumerate(self.boxes):
                # more at once would only wait for this process, and time out
                while number - len(self.tally.settled) >= _CONNECTING:
                    self.tally.news.clear()
                    await self.tally.news.wait()
                group.create_task(box.run(), name=f"box {number} lives")
                await asyncio.sleep(1 / self._plan.connect_rate)

    async def _tell(self) -> None:
        while not self._over:
            await asyncio.sleep(REPORT_EVERY)
            if not self._over:
                self._report(self.statistics())

    async def _storms(self) -> None:
        while True:
            await asyncio.sleep(self._plan.faults.reconnect)
            self.tally.counts["storms"] += 1
            for box in self.boxes:
                box.throw()

    async def _leave(self) -> None:
        rest = iter(self.boxes)

        async def some() -> None:
            for box in rest:
                await box.leave()

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(some(), name="goodbye")

    async def _clean(self) -> None:
        """Have the broker forget the boxes."""
        topics = (topic for box in self.boxes for topic in _retained(box, self._plan.sources))
        async with opened(self._broker) as link, asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(_forget(link, topics), name="forget")

    def statistics(self) -> Mapping[str, Any]:
        """Return how it goes, rates since the last time."""
        now, cpu, counts = time.monotonic(), time.process_time(), self.tally.counts
        acknowledged = counts["acknowledged"]
        before, self._before = self._before, _Before(now, cpu, acknowledged)
        took = max(1e-6, now - before.at)
        memory, trips = resident(), self.tally.trips
        return {
            "seconds": round(now - self.tally.began, 1),
            "boxes": len(self.boxes),
            "up": sum(box.up for box in self.boxes),
            "all_up_after": round(self.tally.welcomed_after, 2)
            if len(self.tally.welcomed) == len(self.boxes)
            else None,
            "waiting": sum(box.waiting for box in self.boxes),
            "acknowledged_per_second": round(
                (counts["acknowledged"] - before.acknowledged) / took, 1
            ),
            "round_trip": round(statistics.median(trips), 4) if trips else None,
            "cpu": round((cpu - before.cpu) / took, 3),
            "memory": memory,
            "memory_a_box": (memory - self._memory) // max(1, len(self.boxes)),
            "counts": dict(counts),
            "reasons": dict(self.tally.reasons),
        }


async def _interrupted() -> None:
    """Wait for the first interrupt, or for the service manager's wish."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.getsignal(one) for one in signals}
    for one in signals:
        loop.add_signal_handler(one, told.set)
    try:
        await told.wait()
    finally:
        for one in signals:
            loop.remove_signal_handler(one)
            signal.signal(one, before[one])


def text(found: Mapping[str, Any]) -> str:
    """Return statistics as a line for people."""
    trip = found["round_trip"]
    words = [
        f"{found['seconds']:.0f} s",
        f"{found['up']} of {found['boxes']} up",
        f"{found['acknowledged_per_second']:g} messages/s",
        f"{found['waiting']} wait",
        *([] if trip is None else [f"acknowledged in {1000 * trip:.1f} ms"]),
        f"{100 * found['cpu']:.0f} % of a core",
        f"{found['memory'] / 2**20:.0f} MiB, {found['memory_a_box'] / 1024:.0f} KiB a box",
    ]
    extras = [
        f"{count} {name}"
        for name, count in sorted(found["counts"].items())
        if count and name not in {"acknowledged", "made result", "connects"}
    ]
    extras += [f"{count} x {reason}" for reason, count in sorted(found["reasons"].items())]
    return ", ".join([*words, *extras])


def resident() -> int:
    """Return the memory of this process, in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def _retained(box: SimBox, sources: int) -> list[str]:
    topics = box.topics
    found = [topics.status, topics.info, topics.health]
    for name in source_names(sources):
        found.append(topics.source_status(name))
        found += [topics.source_state(name, key) for key in ("enabled", "method")]
    return found


async def _forget(link: MqttLink, topics: Iterator[str]) -> None:
    for topic in topics:
        with suppress(EdgeError):
            await link.deliver(topic, b"", retain=True)
