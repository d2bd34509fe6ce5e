"""MinIO's ListenBucketNotification: events as they happen, on one long answer.

There is no replay: what happens while nobody listens is lost, and so is what a slow reader leaves
lying. Whoever calls this sweeps the bucket after each start. After MinIO's own source
(``cmd/listen-notification-handlers.go``): the head of the answer comes with its first byte, which
is an event or a ping; each line is a JSON document; older servers send a blank each half second.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from edge.errors import PartFailed
from edge.sources.buckets.link import Answer, Ask, BucketLink

PING_SECONDS: Final = 10
"""How often MinIO is asked to show that it is alive."""
MOST_LINE: Final = 2**20
"""A longer line is no event: keys have 1024 bytes, metadata 8 KiB."""
CREATED: Final = tuple(
    f"s3:ObjectCreated:{kind}" for kind in ("Put", "Post", "Copy", "CompleteMultipartUpload")
)
"""By name: ``s3:ObjectCreated:*`` covers tagging, retention and legal hold, too."""
REMOVED: Final = "s3:ObjectRemoved:*"
"""Covers ``NoOP``, too, which the caller leaves out; older servers know fewer names."""
_PING: Final = b'{"Records":null}'


class MinioListen:
    """Listens to one bucket.

    Args:
        link: the server.
        bucket: its name.
        prefix: only keys that begin so. ``*`` and ``?``, which MinIO takes for wildcards, end what
            the server is told: the caller filters again.
        removals: whether to ask for what is removed, too.
        ping: seconds, a whole number; after three of them without a byte the server is lost.

    """

    def __init__(
        self,
        link: BucketLink,
        bucket: str,
        *,
        prefix: str = "",
        removals: bool = False,
        ping: int = PING_SECONDS,
    ) -> None:
        self.where = f"{link.where}/{bucket}"
        self._link, self._bucket, self._ping = link, bucket, ping
        self._events = (*CREATED, REMOVED) if removals else CREATED
        self._prefix = prefix.partition("*")[0].partition("?")[0]

    async def run(self, take: Callable[[bytes], Awaitable[None]], up: Callable[[], None]) -> None:
        """Listen until the connection ends, which it always does by raising.

        Args:
            take: is given each line that is not a ping; the next line waits for it.
            up: called once, when the server listens: from then on nothing is missed.

        Raises:
            PartFailed: ``denied``, ``no_bucket``, ``bad_request``, ``refused``, ``not_minio``,
                ``encoded``, ``line_too_long``, ``ended``, and what ``BucketLink`` raises.

        """
        query = [("prefix", self._prefix), ("suffix", ""), ("ping", str(self._ping))]
        query += [("events", name) for name in self._events]
        ask = Ask(bucket=self._bucket, query=query, silence=3.0 * self._ping)
        async with self._link.ask(ask) as answer:
            await self._check(answer)
            up()
            async for line in lines(answer.chunks(), self.where):
                if line and line != _PING:
                    await take(line)
        raise PartFailed(
            f"{self.where}: the server ended the stream",
            hint="it was stopped or restarted; it is tried again",
            reason="ended",
        )

    async def _check(self, answer: Answer) -> None:
        if answer.status != 200:
            raise await self._refusal(answer)
        if answer.content_type != "text/event-stream":
            raise PartFailed(
                f"{self.where}: expected text/event-stream, got "
                f"{answer.content_type[:60]!r}: this server does not know Listen",
                hint='only MinIO does; take via = "hook", or "pull" with a pubsub zone of Ceph',
                reason="not_minio",
            )
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise PartFailed(
                f"{self.where}: the stream comes as {encoding[:20]!r}, plain was asked for",
                hint="does a proxy between this box and MinIO compress answers? Turn that off",
                reason="encoded",
            )

    async def _refusal(self, answer: Answer) -> PartFailed:
        reason, hint = {
            400: ("bad_request", "is the prefix sound, and is this MinIO?"),
            403: (
                "denied",
                "are the keys and the box's clock right, and may they s3:ListenBucketNotification?",
            ),
            404: ("no_bucket", "make the bucket, or correct its name"),
        }.get(answer.status, ("refused", "it is tried again; look at the store's log"))
        code = await answer.code()
        error = PartFailed(
            f"{self.where}: HTTP {answer.status} {code}".rstrip(), hint=hint, reason=reason
        )
        error.status = answer.status
        return error


async def lines(
    chunks: AsyncIterator[bytes], where: str, most: int = MOST_LINE
) -> AsyncIterator[bytes]:
    """Cut a stream into lines, stripped of blanks. What follows the last newline is no line.

    Raises:
        PartFailed: ``line_too_long``.

    """
    rest = bytearray()
    async for chunk in chunks:
        # the old keep-alive: blanks without a newline would add up for ever
        rest += chunk if rest else chunk.lstrip(b" ")
        start = 0
        while (end := rest.find(b"\n", start)) >= 0 and end - start <= most:
            yield bytes(rest[start:end]).strip()
            start = end + 1
        del rest[:start]
        if len(rest) > most:
            raise PartFailed(
                f"{where}: a line of more than {most} bytes",
                hint="is this MinIO? Nothing that it tells is this long",
                reason="line_too_long",
            )
