"""Topics and notifications of a Ceph RGW (SNS, and S3's ``?notification``), asked and changed.

What a real RGW 16.2 does: a PUT of ``?notification`` adds by Id and leaves other Ids alone; a topic
that is changed counts for a notification only once that is PUT again, and one that is removed goes
on pushing until its notifications are removed; a removal of what is not there succeeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

from edge.errors import PartFailed
from edge.sources.buckets.link import Answer, Ask, BucketLink
from edge.sources.buckets.topics_xml import (
    MOST,
    Notification,
    Topic,
    read_arn,
    read_buckets,
    read_notifications,
    read_topics,
    write,
)

T = TypeVar("T")

PAGES: Final = 100
"""Pages of topics that are read at most."""
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_HINTS: Final = {
    "AccessDenied": ("denied", "may this access key do that? A bucket's owner may"),
    "InvalidAccessKeyId": ("denied", "the server does not know access_key: is it this server's?"),
    "SignatureDoesNotMatch": ("denied", "is secret_key right, and is region what the server has?"),
    "RequestTimeTooSkewed": ("clock", "set this machine's clock, or the server's (NTP)"),
    "NoSuchBucket": ("no_bucket", "edge bucket setup makes it; or correct bucket"),
    "InvalidBucketName": ("bad_bucket", "expected 3 to 63 small letters, digits and dashes"),
    "BucketAlreadyExists": ("bucket_taken", "somebody else has a bucket of this name"),
    "NoSuchKey": ("no_topic", "it was removed meanwhile: edge bucket setup makes it"),
    "MethodNotAllowed": ("not_supported", "is this a Ceph RGW? --server says what it is"),
    "NotImplemented": ("not_supported", "is this a Ceph RGW? --server says what it is"),
}


class Topics:
    """Asks one gateway in the name of one account.

    Every method raises ``PartFailed``: what ``BucketLink`` raises, a refusal by its code
    (``denied``, ``clock``, ``no_bucket``, ``not_supported``, ``refused``), or ``malformed``.
    """

    def __init__(self, link: BucketLink) -> None:
        self._link = link
        self.where = link.where

    async def all(self) -> list[Topic]:
        """Return every topic of the account's tenant."""
        found: list[Topic] = []
        following = ""
        for _ in range(PAGES):
            form = {"Action": "ListTopics"} | ({"NextToken": following} if following else {})
            page, following = self._read(read_topics, await self._form(form))
            found += page
            if not following:
                break
        return found

    async def find(self, name: str) -> Topic | None:
        """Return a topic by its name; None: there is none."""
        return next((one for one in await self.all() if one.name == name), None)

    async def put(self, topic: Topic) -> Topic:
        """Make a topic, or change it; return it with its ARN."""
        attributes = {"push-endpoint": topic.endpoint}
        attributes |= {"persistent": "true"} if topic.persistent else {}
        attributes |= {"OpaqueData": topic.opaque} if topic.opaque else {}
        form = {"Action": "CreateTopic", "Name": topic.name}
        for number, (name, value) in enumerate(attributes.items(), 1):
            form[f"Attributes.entry.{number}.key"] = name
            form[f"Attributes.entry.{number}.value"] = value
        return replace(topic, arn=self._read(read_arn, await self._form(form)))

    async def remove(self, arn: str) -> None:
        """Remove a topic. Its notifications must be gone: they would push on."""
        await self._form({"Action": "DeleteTopic", "TopicArn": arn})

    async def notifications(self, bucket: str) -> list[Notification]:
        """Return what a bucket tells."""
        ask = Ask(bucket=bucket, query=[("notification", "")])
        return self._read(read_notifications, await self._ask(ask))

    async def notify(self, bucket: str, notification: Notification) -> None:
        """Set one notification, by its Id; others stay."""
        try:
            body = write(notification)
        except ValueError as error:
            raise PartFailed(f"{self.where}: {error}", reason="bad_prefix") from error
        ask = Ask(method="PUT", bucket=bucket, query=[("notification", "")], body=body)
        await self._ask(ask)

    async def unnotify(self, bucket: str, notification_id: str) -> None:
        """Remove one notification, by its Id."""
        ask = Ask(method="DELETE", bucket=bucket, query=[("notification", notification_id)])
        await self._ask(ask)

    async def buckets(self) -> list[str]:
        """Return the account's buckets."""
        return self._read(read_buckets, await self._ask(Ask()))

    async def _form(self, form: dict[str, str]) -> bytes:
        # Ceph takes a plus for a plus
        body = urlencode(form, quote_via=quote).encode()
        return await self._ask(Ask(method="POST", body=body, headers=_FORM))

    async def _ask(self, ask: Ask) -> bytes:
        async with self._link.ask(ask) as answer:
            if answer.status not in (200, 204):
                raise await refusal(answer, self._name(ask))
            return await answer.read(MOST)

    def _name(self, ask: Ask) -> str:
        return f"{self.where}/{ask.bucket}" if ask.bucket else self.where

    def _read(self, read: Callable[[bytes], T], body: bytes) -> T:
        try:
            return read(body)
        except ValueError as error:
            raise PartFailed(
                f"{self.where}: an answer that is none of a Ceph RGW: {error}",
                hint="is endpoint the object store's? --server says what it is",
                reason="malformed",
            ) from error


async def refusal(answer: Answer, where: str) -> PartFailed:
    """Return a refusal of an object store as an error: its code is the reason."""
    code = await answer.code()
    reason, hint = _HINTS.get(code, ("refused", "look at the server's log"))
    if not code and answer.status == 403:
        reason, hint = _HINTS["AccessDenied"]
    error = PartFailed(f"{where}: HTTP {answer.status} {code}".rstrip(), hint=hint, reason=reason)
    error.status = answer.status
    return error
