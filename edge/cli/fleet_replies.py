"""What boxes answer to a command: gathered by box, shown as it comes, summed up in the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edge.cli.fleet_boxes import MOST_BOXES, Box
from edge.cli.fleet_read import plain, read_object, table
from edge.errors import EdgeError, PartFailed
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import Message
from edge.topics import level

LAST: Final = frozenset({"ok", "error", "expired"})
"""Statuses after which nothing more comes."""
_STATUSES: Final = LAST | {"accepted", "progress"}
_GRANTED_WITHIN: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a command at one box."""

    site: str
    node: str
    #: as in a reply; or ``away`` (not sent), ``queued`` (the broker keeps it for a box that is
    #: away), ``not_sent`` (the broker refused it), ``no_reply``
    status: str
    code: str = ""
    message: str = ""
    hint: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    repeated: bool = False
    #: from when it was sent
    seconds: float | None = None

    @property
    def good(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.status in {"ok", "queued"}

    def line(self) -> str:
        """Return it as a line of JSON."""
        # ASCII: what a box says may be what a terminal acts on
        return json.dumps(asdict(self), default=str)

    def text(self) -> str:
        """Return it as a line for people."""
        words = self.message
        if not words and self.data:
            shown = (f"{name}={_short(value)}" for name, value in self.data.items())
            words = " ".join(shown)
        told = ": ".join(filter(None, (plain(words), plain(self.hint, 120))))
        return f"{self.site}/{self.node}  {self.code or self.status}  {told}".rstrip()


class Shown:
    """Shows answers as they come: a bar and lines on a terminal, else lines alone.

    Args:
        as_json: a line of JSON for each box, and nothing else.
        what: what is sent.

    """

    def __init__(self, *, as_json: bool, what: str) -> None:
        self._json = as_json
        self._console = Console(stderr=True)
        drawn = self._console.is_terminal and not as_json
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *columns, TimeElapsedColumn(), console=self._console, disable=not drawn
        )
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, total: int) -> None:
        """Say from how many boxes an answer is awaited."""
        self._bar.update(self._task, total=total)

    def one(self, answer: Answer) -> None:
        """Show an answer, of which nothing more comes."""
        self._bar.advance(self._task)
        print(answer.line() if self._json else answer.text(), flush=True)

    def end(self, answers: Sequence[Answer]) -> None:
        """Sum up."""
        self._bar.stop()
        if self._json:
            return
        counts = Counter(answer.code or answer.status for answer in answers)
        words = ", ".join(f"{number} {code}" for code, number in counts.most_common())
        print(f"{len(answers)} box{'' if len(answers) == 1 else 'es'}: {words or 'no answer'}")


class Replies:
    """The answers to one command.

    Args:
        prefix: what all topics begin with.
        command_id: whose answers.
        boxes: those that are known.
        shown: is told of each box's last answer.

    """

    def __init__(self, prefix: str, command_id: str, boxes: Sequence[Box], shown: Shown) -> None:
        self._filter = f"{prefix}/+/+/reply/{level(command_id)}"
        self._id, self._shown = command_id, shown
        self._names = {box.topic: (box.site, box.node) for box in boxes}
        self._began = time.monotonic()
        self._sent: dict[str, float] = {}
        self._newest: dict[str, Answer] = {}
        self._last: dict[str, Answer] = {}
        self._news = asyncio.Event()

    async def subscribe(self, link: MqttLink) -> None:
        """Ask for answers, and wait until the broker has granted it.

        Raises:
            PartFailed: it refuses.

        """
        granted: asyncio.Future[PartFailed | None] = asyncio.get_running_loop().create_future()

        def told(error: PartFailed | None) -> None:
            if not granted.done():
                granted.set_result(error)

        link.subscribe(self._filter, self._take, told)
        try:
            async with asyncio.timeout(_GRANTED_WITHIN):
                error = await granted
        except TimeoutError as late:
            raise PartFailed(
                "the broker does not say whether it sends replies", reason="silent"
            ) from late
        if error is not None:
            raise error

    def sent(self, box: Box) -> None:
        """Note that a box's command is at the broker."""
        self._sent.setdefault(box.topic, time.monotonic())

    def failed(self, box: Box, error: EdgeError) -> None:
        """Note that the broker did not take it."""
        self._end(box.topic, "not_sent", message=str(error), hint=error.hint)

    def skip(self, box: Box) -> None:
        """Note that a box is away, and was not sent to."""
        self._end(box.topic, "away", message=box.reason, hint="--offline")

    async def all(self, boxes: Sequence[Box], within: float) -> None:
        """Wait until those boxes have answered, ``within`` seconds at most."""
        waiting = {box.topic for box in boxes}
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while waiting:
                    self._news.clear()
                    waiting -= self._last.keys()
                    if waiting:
                        await self._news.wait()

    def finish(self, boxes: Sequence[Box]) -> int:
        """Say of those boxes that did not answer; return the exit code."""
        for box in boxes:
            if box.topic in self._last:
                continue
            newest = self._newest.get(box.topic)
            if newest is not None:
                self._last[box.topic] = newest
                self._shown.one(newest)
            elif box.state in {"online", "stale"}:
                self._end(box.topic, "no_reply", hint="edge fleet status")
            else:
                self._end(box.topic, "queued", message=box.reason)
        answers = list(self._last.values())
        self._shown.end(answers)
        return 0 if answers and all(answer.good for answer in answers) else 1

    def _end(self, topic: str, status: str, *, message: str = "", hint: str = "") -> None:
        if topic not in self._last:
            site, node = self._names[topic]
            answer = Answer(site=site, node=node, status=status, message=message, hint=hint)
            self._last[topic] = answer
            self._shown.one(answer)
        self._news.set()

    async def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if not message.retain:
                self._one(message.topic.rpartition("/reply/")[0], message.payload)

    def _one(self, topic: str, payload: bytes) -> None:
        read = read_object(payload)
        known = topic in self._names or len(self._last) < MOST_BOXES
        if read is None or read.get("id") != self._id or topic in self._last or not known:
            return
        status = read.get("status")
        if not isinstance(status, str) or status not in _STATUSES:
            return
        # a group's command is answered by boxes, too, of which nothing was known
        site, node = self._names.get(topic) or _levels(topic)
        answer = Answer(
            site=site,
            node=node,
            status=status,
            code=plain(read.get("code"), 40),
            message=plain(read.get("message")),
            hint=plain(read.get("hint")),
            data=table(read.get("data")),
            repeated=read.get("repeated") is True,
            seconds=round(time.monotonic() - self._sent.get(topic, self._began), 3),
        )
        if status in LAST:
            self._last[topic] = answer
            self._shown.one(answer)
            self._news.set()
        else:
            self._newest[topic] = answer


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return plain(text, 60)


def _levels(topic: str) -> tuple[str, str]:
    *_, site, node = topic.split("/")
    return plain(site), plain(node)
