"""Push notifications of a Ceph RGW for one bucket source: looked at, set up, removed.

Created objects only, unless a person asks for more: a removal of many objects at once, with a
notification that matches removals, ends a radosgw 16.2. The sweep finds removals without.
Endings of keys are no filter rule: Ceph's are of one case, and only one may be given.

With each notification a gateway keeps a copy of its topic, named ``ID_TOPIC``: what is pushed goes
where the copy says. So a topic that was changed later is known by its copy.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

from edge.errors import PartFailed
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.setup import HOOK, Finding, State, Wanted, check_hook, no_url
from edge.sources.buckets.topics import Topics
from edge.sources.buckets.topics_xml import Notification, Topic, plain, starred

CREATED: Final = ("s3:ObjectCreated:*",)
REMOVED: Final = ("s3:ObjectRemoved:*",)
MOST_BUCKETS: Final = 200
"""Buckets that are asked whether they use a topic before it is removed."""
_CRASH = (
    "a removal of many objects at once (DeleteObjects) ends radosgw 16.2 where removals are "
    "notified"
)


class RgwSetup:
    """The notification of one source at its gateway.

    Every method raises ``PartFailed`` as ``Topics`` does.
    """

    def __init__(self, link: BucketLink, wanted: Wanted) -> None:
        self._topics, self._wanted = Topics(link), wanted
        self._bucket = wanted.config.bucket

    async def ensure(self) -> list[Finding]:
        """Have topic and notification as they should be; nothing else is touched.

        Raises:
            Rejected: ``no_url``: nobody said how the gateway reaches the box.

        """
        topics = await self._topics.all()
        before = _named(topics, self._wanted.topic)
        topic = self._topic(before)
        hook = await check_hook(topic.endpoint, self._wanted.config.token.reveal())
        if hook.state == "fail":
            if topic.persistent and topic != before:
                return [hook, self._not_while_shut(topic)]
            hook = replace(hook, state="warn")
        found = [hook]
        if topic == before:
            found.append(Finding(what="topic", state="ok", text=_of_topic(topic)))
        elif self._wanted.dry:
            found.append(Finding(what="topic", state="would", text=_of_topic(topic)))
        else:
            topic = await self._topics.put(topic)
            found.append(Finding(what="topic", state="made", text=_of_topic(topic)))
        copy = _named(topics, f"{self._wanted.id}_{topic.name}")
        found.append(await self._ensure_notification(topic, copy))
        found += self._remarks(topic, fresh=topic != before)
        return found

    async def check(self) -> list[Finding]:
        """Say what is wrong with what is set up; nothing is changed."""
        notifications = await self._topics.notifications(self._bucket)
        topics = await self._topics.all()
        mine = next((one for one in notifications if one.id == self._wanted.id), None)
        foreign = [one for one in notifications if one is not mine]
        if mine is None:
            found = [self._missing(notifications)]
            return found + list(self._of_others(foreign, topics, None))
        found = list(self._check_notification(mine))
        # by its name: a copy has the same ARN
        topic = _named(topics, mine.arn.rpartition(":")[2])
        if topic is None:
            text = f"notification {mine.id} leads to {plain(mine.arn)}, which is gone"
            hint = "what it was is still pushed to: edge bucket setup makes it anew"
            found.append(Finding(what="topic", state="fail", text=text, hint=hint))
        else:
            copy = _named(topics, f"{mine.id}_{topic.name}")
            found += await self._check_topic(topic)
            if not _is_copy(copy, topic):
                found.append(self._stale(copy))
        return found + list(self._of_others(foreign, topics, topic))

    async def remove(self) -> list[Finding]:
        """Remove our notification, then our topic unless others use it."""
        notifications = await self._topics.notifications(self._bucket)
        found = []
        if any(one.id == self._wanted.id for one in notifications):
            # first: a gateway goes on pushing for a topic that is gone
            await self._topics.unnotify(self._bucket, self._wanted.id)
            text = f"{self._wanted.id} of {self._bucket}"
            found.append(Finding(what="notification", state="removed", text=text))
        else:
            text = f"{self._bucket} has none with the Id {self._wanted.id}"
            found.append(Finding(what="notification", state="ok", text=text))
        topic = await self._topics.find(self._wanted.topic)
        if topic is None:
            text = f"there is no {self._wanted.topic}"
            return [*found, Finding(what="topic", state="ok", text=text)]
        user = await self._user_of(topic)
        if user:
            text = f"{topic.name} stays: {user}"
            return [*found, Finding(what="topic", state="note", text=text)]
        await self._topics.remove(topic.arn)
        return [*found, Finding(what="topic", state="removed", text=topic.name)]

    # -- what is wanted

    def _topic(self, before: Topic | None) -> Topic:
        """Return the topic as it should be; what was not asked for stays as it is."""
        wanted = self._wanted
        base = wanted.url or _base(before) or wanted.usual_url
        if not base:
            raise no_url(wanted, self._topics.where)
        persistent, opaque = wanted.persistent, wanted.opaque
        return Topic(
            name=wanted.topic,
            arn=before.arn if before else "",
            endpoint=wanted.hook(base),
            persistent=bool(before and before.persistent) if persistent is None else persistent,
            opaque=(before.opaque if before else "") if opaque is None else opaque,
        )

    def _notification(self, topic: Topic) -> Notification:
        prefix = self._wanted.config.prefix
        return Notification(
            id=self._wanted.id,
            arn=topic.arn,
            events=CREATED + (REMOVED if self._wanted.removals else ()),
            rules=(("prefix", prefix),) if prefix else (),
        )

    async def _ensure_notification(self, topic: Topic, copy: Topic | None) -> Finding:
        there = await self._there()
        wanted = self._notification(topic)
        same = any(_same(one, wanted) for one in there) and _is_copy(copy, topic)
        text = _of_notification(wanted, self._bucket)
        if self._wanted.dry:
            return Finding(what="notification", state="ok" if same else "would", text=text)
        # always: a topic that was changed by anybody counts only from here on
        await self._topics.notify(self._bucket, wanted)
        return Finding(what="notification", state="ok" if same else "made", text=text)

    async def _there(self) -> list[Notification]:
        try:
            return await self._topics.notifications(self._bucket)
        except PartFailed as error:
            if self._wanted.dry and error.reason == "no_bucket":
                return []  # it would have been made by now
            raise

    # -- what is said

    def _not_while_shut(self, topic: Topic) -> Finding:
        return Finding(
            what="topic",
            state="fail",
            text=f"{topic.name} is not made: a persistent queue of radosgw 16.2 that is refused a "
            "connection delivers nothing any more until radosgw is restarted",
            hint="start the box first; then again",
        )

    def _remarks(self, topic: Topic, *, fresh: bool) -> Iterator[Finding]:
        if topic.persistent:
            text = "persistent: kept while the box is away, 128 MiB at most; then uploads fail "
            text += "with 503. " + ("The first event takes up to 30 s" if fresh else "")
            yield Finding(what="topic", state="note", text=text.strip())
        if self._wanted.removals:
            hint = "edge bucket setup without --removals: the sweep finds removals, too"
            yield Finding(what="notification", state="warn", text=_CRASH, hint=hint)

    def _missing(self, notifications: list[Notification]) -> Finding:
        count = len(notifications)
        text = f"{self._bucket} has none with the Id {self._wanted.id} ({count} of others)"
        hint = f"edge bucket setup {self._wanted.name}"
        return Finding(what="notification", state="fail", text=text, hint=hint)

    def _check_notification(self, mine: Notification) -> Iterator[Finding]:
        text, hint = _of_notification(mine, self._bucket), f"edge bucket setup {self._wanted.name}"
        prefix = self._wanted.config.prefix
        wrong = []
        if not mine.tells_creations:
            wrong.append(f"expected {CREATED[0]}")
        if not prefix.startswith(mine.prefix):
            wrong.append(f"expected no prefix but {prefix!r}, or a part of it")
        wrong += [
            f"its {plain(name)} keeps pictures back" for name, _ in mine.rules if name != "prefix"
        ]
        state: State = "fail" if wrong else "ok"
        text = "; ".join([text, *wrong])
        yield Finding(what="notification", state=state, text=text, hint=hint if wrong else "")
        if mine.tells_removals:
            yield Finding(what="notification", state="warn", text=_CRASH, hint=f"{hint} undoes it")

    async def _check_topic(self, topic: Topic) -> list[Finding]:
        again = f"edge bucket setup {self._wanted.name}"
        wrong = list(self._faults_of(topic))
        state: State = "fail" if wrong else "ok"
        text = "; ".join([_of_topic(topic), *wrong])
        found = [Finding(what="topic", state=state, text=text, hint=again if wrong else "")]
        for name, value in topic.flags:
            if name == "cloudevents" and value.lower() == "true":
                text = "cloudevents is set: Ceph 16.2 ignores it; no use to this box"
                found.append(Finding(what="topic", state="warn", text=text, hint=again))
        hook = await check_hook(topic.endpoint, self._wanted.config.token.reveal())
        found.append(hook)
        if topic.persistent and hook.state == "fail":
            text = "persistent: a queue of radosgw 16.2 that was refused a connection stands still "
            text += "even when the box is back"
            hint = "start the box; then edge bucket check --probe; if nothing arrives within a "
            hint += "minute, restart radosgw: what was kept arrives then"
            found.append(Finding(what="topic", state="warn", text=text, hint=hint))
        return found

    def _stale(self, copy: Topic | None) -> Finding:
        where = f" to {copy.where}" if copy else ""
        text = f"the topic was changed after the notification: events still go{where} as before"
        hint = f"edge bucket setup {self._wanted.name} puts the notification again"
        return Finding(what="notification", state="fail", text=text, hint=hint)

    def _faults_of(self, topic: Topic) -> Iterator[str]:
        parts = urlsplit(topic.endpoint)
        if parts.path != HOOK:
            yield f"expected an address that ends in {HOOK}"
        shown = parse_qs(parts.query).get("token", [""])[0]
        token = self._wanted.config.token.reveal()
        if not hmac.compare_digest(shown.encode(), token.encode()):
            yield "its token is another than the source's"
        if self._wanted.url and _base(topic) != self._wanted.url.rstrip("/"):
            yield f"expected {starred(self._wanted.url)}"

    def _of_others(
        self, foreign: list[Notification], topics: list[Topic], mine: Topic | None
    ) -> Iterator[Finding]:
        """Yield what others have set on this bucket and concerns us."""
        address = {one.arn: one.endpoint for one in topics}
        own = mine.endpoint if mine else ""
        for one in foreign:
            if one.tells_removals:
                hint = "its owner should take ObjectRemoved out; clients may delete one by one"
                text = f"notification {plain(one.id)} of somebody else: {_CRASH}"
                yield Finding(what="others", state="warn", text=text, hint=hint)
            if own and address.get(one.arn, "").partition("?")[0] == own.partition("?")[0]:
                text = f"notification {plain(one.id)} tells this box the same once more"
                hint = "harmless, twice the work: remove it if nobody needs it"
                yield Finding(what="others", state="warn", text=text, hint=hint)

    async def _user_of(self, topic: Topic) -> str:
        """Return who uses a topic, in words; empty: nobody does."""
        names = await self._topics.buckets()
        if len(names) > MOST_BUCKETS:
            return f"there are more than {MOST_BUCKETS} buckets to look through"
        for name in {*names, self._bucket}:
            try:
                notifications = await self._topics.notifications(name)
            except PartFailed as error:
                if error.reason == "no_bucket":
                    continue
                raise
            for one in notifications:
                if one.arn == topic.arn:
                    return f"notification {plain(one.id)} of bucket {name} leads there"
        return ""


def _named(topics: Sequence[Topic], name: str) -> Topic | None:
    return next((one for one in topics if one.name == name), None)


def _is_copy(copy: Topic | None, topic: Topic) -> bool:
    """Tell whether a notification has the topic as it is; a server that keeps no copies has."""
    return copy is None or replace(copy, name=topic.name, arn=topic.arn) == topic


def _base(topic: Topic | None) -> str:
    """Return where an address leads, without path; empty: to no box."""
    parts = urlsplit(topic.endpoint) if topic else None
    if parts is None or not parts.netloc or parts.path != HOOK:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _same(one: Notification, other: Notification) -> bool:
    return (one.id, one.arn, sorted(one.events), sorted(one.rules)) == (
        (other.id, other.arn, sorted(other.events), sorted(other.rules))
    )


def _of_topic(topic: Topic) -> str:
    return f"{plain(topic.name)} pushes to {topic.where}" + (
        " (persistent)" if topic.persistent else ""
    )


def _of_notification(one: Notification, bucket: str) -> str:
    events = ", ".join(plain(event) for event in one.events) or "no events"
    rules = ", ".join(f"{plain(name)} {plain(value)!r}" for name, value in one.rules)
    return f"{plain(one.id)} of {bucket}: {events}" + (f" for {rules}" if rules else "")
