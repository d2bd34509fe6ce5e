"""Topic, notification and subscription in a pubsub zone of Ceph RGW, by its old REST interface.

Signatures of version 2, answers in JSON. A subscription that is not there is answered 200, with
empty names; a bucket's metadata reaches the zone 0.3 s after the bucket was made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from edge.errors import PartFailed
from edge.sources.buckets.link import Ask, BucketLink
from edge.sources.buckets.setup import Finding, State, Wanted
from edge.sources.buckets.topics import refusal
from edge.sources.buckets.topics_xml import MOST, plain

CREATED: Final = "OBJECT_CREATE"
PATIENCE: Final = 15.0
"""Seconds that a bucket may take to be known in the zone."""
_ZONE = "is pull_endpoint the gateway of the pubsub zone? The store's own has no such interface"


class PullZone:
    """Asks the gateway of a pubsub zone.

    Every method raises ``PartFailed``: what ``BucketLink`` raises, ``denied``, ``no_zone``,
    ``no_bucket``, ``refused``, or ``malformed``.
    """

    def __init__(self, link: BucketLink) -> None:
        self._link = link
        self.where = link.where

    async def topics(self) -> list[tuple[str, list[str]]]:
        """Return the topics of the account, each with its subscriptions."""
        page = await self._get("/topics")
        found = []
        for one in _list(page, "topics"):
            topic = one.get("topic")
            subs = [str(name) for name in one.get("subs") or () if isinstance(name, str)]
            found.append((_text(topic, "name"), subs))
        return [one for one in found if one[0]]

    async def notifications(self, bucket: str) -> dict[str, list[str]]:
        """Return the events that a bucket tells, by topic."""
        page = await self._get(f"/notifications/bucket/{bucket}")
        return {
            _text(one.get("topic"), "name"): [str(name) for name in one.get("events") or ()]
            for one in _list(page, "topics")
        }

    async def topic_of(self, subscription: str) -> str | None:
        """Return the topic of a subscription; None: there is none of this name."""
        page = await self._get(f"/subscriptions/{subscription}")
        return _text(page, "topic") if _text(page, "name") else None

    async def put(self, path: str, **query: str) -> None:
        """Make or change what ``path`` names."""
        await self._ask(Ask(method="PUT", path=path, query=list(query.items()), version=2))

    async def remove(self, path: str, **query: str) -> None:
        """Remove what ``path`` names; it need not be there."""
        await self._ask(Ask(method="DELETE", path=path, query=list(query.items()), version=2))

    async def _get(self, path: str) -> Mapping[str, Any]:
        body = await self._ask(Ask(path=path, version=2))
        try:
            page = json.loads(body)
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, dict):
            raise PartFailed(f"{self.where}: expected JSON", hint=_ZONE, reason="malformed")
        return page

    async def _ask(self, ask: Ask) -> bytes:
        async with self._link.ask(ask) as answer:
            if answer.status == 200:
                return await answer.read(MOST)
            error = await refusal(answer, f"{self.where}{ask.path}")
        if error.reason == "no_bucket":
            # an S3 gateway takes the path for a bucket
            error.reason, error.hint = "no_zone", _ZONE
        elif error.status == 404:
            error.reason, error.hint = "no_bucket", "is the bucket there, and does the zone sync?"
        raise error


class PullSetup:
    """What one source needs in the zone. Methods raise ``PartFailed`` as ``PullZone`` does."""

    def __init__(self, link: BucketLink, wanted: Wanted) -> None:
        self._zone, self._wanted = PullZone(link), wanted
        self._bucket, self._topic = wanted.config.bucket, wanted.topic
        self._subscription = wanted.config.subscription

    async def ensure(self) -> list[Finding]:
        """Have topic, notification and subscription; created objects only."""
        topics = dict(await self._zone.topics())
        found = [await self._ensured("topic", self._topic, there=self._topic in topics)]
        found.append(await self._ensure_notification())
        there = await self._zone.topic_of(self._subscription) == self._topic
        found.append(await self._ensured("subscription", self._subscription, there=there))
        return found

    async def check(self) -> list[Finding]:
        """Say what is missing; nothing is changed."""
        hint = f"edge bucket setup {self._wanted.name}"
        topic = await self._zone.topic_of(self._subscription)
        where = f"{self._zone.where}/subscriptions/{plain(self._subscription)}"
        if topic is None:
            text = f"{where} is missing"
            return [Finding(what="subscription", state="fail", text=text, hint=hint)]
        found = [Finding(what="subscription", state="ok", text=f"{where}, of {plain(topic)}")]
        events = (await self._zone.notifications(self._bucket)).get(topic)
        text = f"{self._bucket} tells {plain(topic)}: {', '.join(events or ()) or 'everything'}"
        if events is None:
            text = f"{self._bucket} does not tell {plain(topic)}"
            found.append(Finding(what="notification", state="fail", text=text, hint=hint))
        elif events and CREATED not in events:
            text += f"; expected {CREATED}"
            found.append(Finding(what="notification", state="fail", text=text, hint=hint))
        else:
            found.append(Finding(what="notification", state="ok", text=text))
        return found

    async def remove(self) -> list[Finding]:
        """Remove our notification and subscription, and our topic unless others subscribe."""
        topics = dict(await self._zone.topics())
        found = []
        if self._topic in await self._zone.notifications(self._bucket):
            path = f"/notifications/bucket/{self._bucket}"
            await self._zone.remove(path, topic=self._topic)
            found.append(_gone("notification", f"{self._bucket} tells {self._topic} nothing"))
        if await self._zone.topic_of(self._subscription) == self._topic:
            await self._zone.remove(f"/subscriptions/{self._subscription}")
            found.append(_gone("subscription", self._subscription))
        left = [one for one in topics.get(self._topic, ()) if one != self._subscription]
        if left:
            text = f"{self._topic} stays: {', '.join(map(plain, left))} subscribed to it"
            found.append(Finding(what="topic", state="note", text=text))
        elif self._topic in topics:
            await self._zone.remove(f"/topics/{self._topic}")
            found.append(_gone("topic", self._topic))
        return found or [Finding(what="subscription", state="ok", text="nothing of ours is there")]

    async def _ensure_notification(self) -> Finding:
        wanted = {"topic": self._topic, "events": CREATED}
        text = f"{self._bucket} tells {self._topic}: {CREATED}"
        for tries in range(int(PATIENCE / 0.25), -1, -1):
            try:
                there = (await self._zone.notifications(self._bucket)).get(self._topic)
                if there == [CREATED]:
                    return Finding(what="notification", state="ok", text=text)
                if not self._wanted.dry:
                    await self._zone.put(f"/notifications/bucket/{self._bucket}", **wanted)
            except PartFailed as error:
                if error.reason != "no_bucket" or not (tries or self._wanted.dry):
                    raise
                if not self._wanted.dry:
                    await asyncio.sleep(0.25)
                    continue
            break
        return Finding(what="notification", state=self._changed(), text=text)

    async def _ensured(self, what: str, name: str, *, there: bool) -> Finding:
        text = f"{self._zone.where}/{what}s/{name}"
        if there:
            return Finding(what=what, state="ok", text=text)
        if not self._wanted.dry:
            query = {"topic": self._topic} if what == "subscription" else {}
            await self._zone.put(f"/{what}s/{name}", **query)
        return Finding(what=what, state=self._changed(), text=text)

    def _changed(self) -> State:
        return "would" if self._wanted.dry else "made"


def _gone(what: str, name: str) -> Finding:
    return Finding(what=what, state="removed", text=plain(name))


def _list(page: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = page.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(table: object, name: str) -> str:
    value = table.get(name) if isinstance(table, dict) else ""
    return value if isinstance(value, str) else ""
