"""``edge fleet status``: every box that a broker tells of."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from edge.cli import fleet_show
from edge.cli.fleet_boxes import Box, Fleet
from edge.cli.fleet_broker import Broker, opened
from edge.cli.fleet_look import Look
from edge.cli.show import warn
from edge.ops.mqtt import MqttLink

_BEAT: Final = 1.0
_HEADING: Final = 4
"""Lines of a table that are no boxes."""


class Watch:
    """Looks at a fleet once, or for as long as somebody looks.

    Args:
        broker: where.
        every: seconds between two ``health`` of a box.
        within: seconds for what the broker keeps.
        site: that one alone; empty: all.
        bad: only those that are not well.
        as_json: a JSON object a box, else a table.

    """

    def __init__(
        self,
        broker: Broker,
        *,
        every: float,
        within: float,
        site: str = "",
        bad: bool = False,
        as_json: bool = False,
    ) -> None:
        self._broker, self._within, self._bad, self._json = broker, within, bad, as_json
        self._fleet = Fleet(broker.prefix, every=every)
        self._filters = self._fleet.filters(site)
        self._said: dict[tuple[str, str], Box] = {}

    async def once(self) -> bool:
        """Show every box; tell whether all of them are well, and there is one."""
        async with opened(self._broker, subscribe_qos=0) as link:
            await self._gather(Look(link, self._fleet, self._filters))
        boxes = self._fleet.boxes()
        self._print(self._wanted(boxes), boxes)
        return bool(boxes) and all(box.fine for box in boxes)

    async def ever(self) -> None:
        """Show every box, and whatever changes, until interrupted."""
        async with opened(self._broker, subscribe_qos=0) as link:
            look = Look(link, self._fleet, self._filters)
            await self._gather(look)
            if sys.stdout.isatty() and not self._json:
                await self._draw(link)
            lost = ""
            while True:
                self._changes()
                lost = _tell_lost(link, lost)
                await _beat(look)

    async def _gather(self, look: Look) -> None:
        if not await look.all(self._within):
            warn(f"after {self._within:g} s there is still more to come: --within 2min")
        if self._fleet.ignored:
            warn(f"{self._fleet.ignored} messages left out: too many boxes, or sources of one")

    def _wanted(self, boxes: list[Box]) -> list[Box]:
        return [box for box in boxes if not (self._bad and box.fine)]

    def _print(self, shown: list[Box], boxes: list[Box]) -> None:
        if self._json:
            for box in shown:
                print(fleet_show.line(box))
            return
        console = Console()
        if console.is_terminal:
            console.print(fleet_show.rich_table(shown))
        else:
            for text in fleet_show.plain_table(shown):
                print(text)
        if self._bad or not console.is_terminal:
            print(fleet_show.summary(boxes))

    async def _draw(self, link: MqttLink) -> None:
        console = Console()
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                boxes = self._wanted(self._fleet.boxes())
                table = fleet_show.rich_table(boxes, console.height - _HEADING)
                status = link.status()
                if status.state != "up":
                    table.title = Text(status.reason, style="red")
                live.update(table, refresh=True)
                await asyncio.sleep(_BEAT)

    def _changes(self) -> None:
        """Print each box that is not as it was said last; time alone is no change."""
        for box in self._fleet.boxes():
            still = replace(box, age=None, oldest=None, waiting=0, messages=0)
            if box.state == "online":
                still = replace(still, since="")
            key = (box.site, box.node)
            if self._said.get(key) == still or (self._bad and box.fine and key not in self._said):
                continue
            self._said[key] = still
            print(fleet_show.line(box) if self._json else _sentence(box), flush=True)


def _sentence(box: Box) -> str:
    why = f": {box.reason}" if box.reason else ""
    return f"{box.site}/{box.node} {fleet_show.word(box)}{why}"


def _tell_lost(link: MqttLink, told: str) -> str:
    """Say once that the broker is gone; return what was said."""
    status = link.status()
    if status.state != "up" and status.reason and status.reason != told:
        warn(status.reason)
    return status.reason if status.state != "up" else ""


async def _beat(look: Look) -> None:
    """Wait a second, or until something came."""
    look.news.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(_BEAT):
            await look.news.wait()
