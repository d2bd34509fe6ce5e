"""What a simulated box says: the messages of a real one, with made-up content."""

from __future__ import annotations

import json
import platform
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from edge import __version__
from edge.event import LOSS, PICTURE_REDACTED, Event
from edge.messages import loss, presence, redacted
from edge.privacy.message import message_of
from edge.sinks.upstream.outgoing import Outgoing
from edge.sinks.upstream.presence import Look, SourceLook, moment, now

MODEL: Final = "simulated"
SIZE: Final = (1280, 720)
_DIGEST: Final = "0" * 64


def source_names(count: int) -> list[str]:
    """Return the names of a box's sources."""
    return [f"cam{number + 1}" for number in range(count)]


def look_of(
    site: str, node: str, names: Sequence[str], *, made: int, waiting: int, uptime: float
) -> Look:
    """Return how a box is.

    Args:
        site: where it is.
        node: which it is.
        names: its sources.
        made: results so far.
        waiting: results that wait for the broker.
        uptime: seconds.

    """
    each = made // max(1, len(names))
    return Look(
        info=_info(site, node, names, uptime),
        health=_health(made, waiting, uptime),
        mood="ok",
        sources={one: _source(one, each) for one in names},
    )


def _info(site: str, node: str, names: Sequence[str], uptime: float) -> dict[str, Any]:
    return {
        "site": site,
        "node": node,
        "version": __version__,
        "python": platform.python_version(),
        "system": "simulated",
        "engine": presence.Engine(
            up=True, name="onnx", model=MODEL, digest=_DIGEST, safe_mode=False
        ),
        "sources": [presence.Source(name=name, kind="camera") for name in names],
        "pages": [],
        "started_at": moment(datetime.fromtimestamp(datetime.now(UTC).timestamp() - uptime, UTC)),
        "boot": presence.Boot(number=1, reason="first"),
    }


def _health(made: int, waiting: int, uptime: float) -> dict[str, Any]:
    fine = presence.Answer(state="ok", word="Yes", text="simulated", hint="")
    return {
        "at": now(),
        "uptime": round(uptime, 1),
        "state": "ok",
        "text": "All is well",
        "reasons": [],
        "safe": fine,
        "seeing": fine,
        "sending": fine,
        "pictures": _pictures(made),
        "store": presence.Store(up=True, waiting=0, bytes=0, dead=0),
        "upstream": presence.Upstream(waiting=waiting, bytes=waiting * 1000),
        "events": presence.Events(waiting=0, dead=0),
        "disk": presence.Disk(free=2**34, total=2**35),
    }


def result_of(site: str, node: str, source: str, number: int, at: float) -> bytes:
    """Return a result as it goes into the queue: a CloudEvent, without ``seq``."""
    rng = random.Random(number)  # noqa: S311 (content that nobody minds)
    when = datetime.fromtimestamp(at, UTC)
    key = f"{site}/{node}/{source}/{when:%Y/%m/%d/%H%M%S}-{number:08}.jpg"
    people = [_person(rng) for _ in range(rng.randrange(4))]
    data = redacted.Data(
        source=source,
        taken_at=moment(when),
        picture=redacted.Picture(
            key=key,
            content_type="image/jpeg",
            sha256=f"{number:064x}",
            bytes=rng.randrange(60_000, 140_000),
            width=SIZE[0],
            height=SIZE[1],
        ),
        people=people,
        covered=[person["box"] for person in people],
        method="cells",
        anonymisation="anonymised",
        engine=redacted.Engine(name="onnx", model=MODEL, digest=_DIGEST, safe_mode=False),
        policy="0" * 12,
    )
    identity = f"{node}.{source}.{number}"
    event: Event[Any] = Event(
        id=identity, source=f"/{site}/{node}/{source}", type=PICTURE_REDACTED, subject=source,
        data=None,
    )  # fmt: skip
    message = message_of(identity, event, data)
    return Outgoing(kind="result", source=source, id=identity, body={**message}, at=at).json()


def loss_of(site: str, node: str, source: str, number: int, at: float) -> bytes:
    """Return the tombstone of one result, as it goes into the queue."""
    when = moment(datetime.fromtimestamp(at, UTC))
    data: loss.Data = {
        "source": source,
        "class": "result",
        "from_seq": number,
        "to_seq": number,
        "count": 1,
        "bytes": 1000,
        "reason": "items",
        "since": when,
        "until": when,
    }
    message: loss.Message = {
        "specversion": "1.0",
        "id": f"loss.result.{source}.{number}",
        "source": f"/{site}/{node}/{source}",
        "type": LOSS,
        "time": now(),
        "datacontenttype": "application/json",
        "dataschema": loss.DATASCHEMA,
        "data": data,
    }
    return json.dumps(message, separators=(",", ":")).encode()


def _person(rng: random.Random) -> redacted.Person:
    x, y = rng.randrange(SIZE[0] - 100), rng.randrange(SIZE[1] - 200)
    box = [x, y, rng.randrange(20, 100), rng.randrange(60, 200)]
    return redacted.Person(box=box, score=round(rng.uniform(0.3, 0.99), 4), label="person")


def _pictures(made: int) -> presence.Pictures:
    return presence.Pictures(redacted=made, dropped=0, withheld=0, rejected=0, people=made)


def _source(name: str, made: int) -> SourceLook:
    status: dict[str, Any] = {
        "at": now(),
        "name": name,
        "kind": "camera",
        "state": "streaming",
        "reason": "",
        "hint": "",
        "fps": 10.0,
        "pictures": _pictures(made),
    }
    return SourceLook(
        status=status, settings={"enabled": True, "method": "cells"}, mood="streaming"
    )
