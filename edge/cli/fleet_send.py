"""``edge fleet send``: a command to many boxes, and what they answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import click

from edge.cli.ctl import read_arguments
from edge.cli.fleet_boxes import Box, Fleet
from edge.cli.fleet_broker import Broker, opened
from edge.cli.fleet_look import Look
from edge.cli.fleet_order import Order, read_key
from edge.cli.fleet_replies import Replies, Shown
from edge.cli.show import warn
from edge.errors import EdgeError, PartFailed, Rejected
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Properties
from edge.topics import EVERY_NODE, Topics

_AT_ONCE: Final = 32
_SPREAD: Final = 4.0
"""Seconds that an answer may take beyond its verb's own: a group spreads its answers."""
_THERE: Final = frozenset({"online", "stale"})


def run(broker: Broker, *, as_json: bool, **given: Any) -> int:
    """Send what the command line says; return the exit code.

    Raises:
        click.UsageError: it makes no sense.
        PartFailed: the broker is out of reach.
        Rejected: there is no such box.

    """
    key = read_key(given["sign"], given["key_id"]) if given["sign"] else None
    order = Order.of(
        given["verb"],
        read_arguments(given["arguments"], given["text"]),
        given_id=given["command_id"] or "",
        lasts=given["expires"],
        key=key,
    )
    if given["target"] == "all" and order.verb.kind in {"change", "privacy"} and not given["yes"]:
        raise click.UsageError(f"{order.verb.name} changes all boxes: say --yes, or name a site")
    if given["group"] and not order.verb.group:
        raise click.UsageError(f"{order.verb.name} is for one box at a time, not for --group")
    site, _, node = ("", "", "") if given["target"] == "all" else given["target"].partition("/")
    if given["group"] and node:
        raise click.UsageError("--group is for all boxes of a site")
    sender = Sender(
        broker,
        order,
        every=given["every"],
        within=given["within"],
        timeout=given["timeout"] or order.verb.limit + _SPREAD,
    )
    with Shown(as_json=as_json, what=order.verb.name) as shown:
        work = sender.send(site, node, shown, offline=given["offline"], group=given["group"])
        return asyncio.run(work)


class Sender:
    """Sends one order.

    Args:
        broker: where.
        order: what.
        every: seconds between two ``health`` of a box.
        within: seconds for what the broker keeps.
        timeout: seconds for the answers, once all is sent.

    """

    def __init__(
        self, broker: Broker, order: Order, *, every: float, within: float, timeout: float
    ) -> None:
        self._broker, self._order = broker, order
        self._every, self._within, self._timeout = every, within, timeout
        self._left = asyncio.Semaphore(_AT_ONCE)

    async def send(self, site: str, node: str, shown: Shown, *, offline: bool, group: bool) -> int:
        """Send it to all boxes, to those of a site, or to one; return the exit code."""
        async with opened(self._broker, subscribe_qos=0) as link:
            boxes = await self._boxes(link, site, node)
            if not boxes and not (group and site):
                where = "/".join(filter(None, (site, node))) or f"under {self._broker.prefix}"
                raise Rejected(
                    f"no box is known: {where}", hint="edge fleet status", reason="not_found"
                )
            replies = Replies(self._broker.prefix, self._order.id, boxes, shown)
            there, away = self._sorted(boxes, offline=offline)
            await replies.subscribe(link)
            shown.begin(len(there))
            for box in away:
                replies.skip(box)
            if group:
                await self._tell_sites(link, {site} if site else {box.site for box in boxes})
                # those of which nobody knew answer within that time
                await asyncio.sleep(min(_SPREAD, self._timeout))
            else:
                await self._tell(link, there, replies)
            await replies.all([box for box in there if box.state in _THERE], self._timeout)
        return replies.finish(there)

    async def _boxes(self, link: MqttLink, site: str, node: str) -> list[Box]:
        fleet = Fleet(self._broker.prefix, every=self._every)
        look = Look(link, fleet, fleet.filters(site, node))
        if not await look.all(self._within):
            warn(f"after {self._within:g} s the broker still tells of boxes: --within 2min")
        look.end()
        return fleet.boxes()

    def _sorted(self, boxes: Sequence[Box], *, offline: bool) -> tuple[list[Box], list[Box]]:
        """Return those that are sent to, and those that are not."""
        there = [box for box in boxes if offline or box.state in _THERE]
        return there, [box for box in boxes if not (offline or box.state in _THERE)]

    async def _tell(self, link: MqttLink, boxes: Sequence[Box], replies: Replies) -> None:
        async with asyncio.TaskGroup() as group:
            for box in boxes:
                group.create_task(self._one(link, box, replies), name=f"send {box.topic}")

    async def _one(self, link: MqttLink, box: Box, replies: Replies) -> None:
        topic = f"{box.topic}/cmd/{self._order.verb.name}"
        async with self._left:
            try:
                await self._publish(link, topic, f"{box.site}/{box.node}")
            except EdgeError as error:
                replies.failed(box, error)
            else:
                replies.sent(box)

    async def _tell_sites(self, link: MqttLink, sites: set[str]) -> None:
        for site in sorted(sites):
            topics = Topics(site=site, node=EVERY_NODE, prefix=self._broker.prefix)
            topic = topics.site_command(self._order.verb.name)
            await self._publish(link, topic, f"{site}/{EVERY_NODE}")

    async def _publish(self, link: MqttLink, topic: str, to: str) -> None:
        left = max(1, int(self._order.expires - time.time()))
        properties = Properties(content_type="application/json", expiry=left)
        try:
            async with asyncio.timeout(self._timeout):
                await link.deliver(topic, self._order.body(to), properties=properties)
        except TimeoutError as late:
            raise PartFailed("the broker does not take the command", reason="silent") from late
