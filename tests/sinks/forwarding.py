"""What the tests of forwarding share: an event, and a handler that is closed again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.config.handlers import ForwardConfig
from edge.errors import EdgeError
from edge.event import Event, WireEvent
from edge.sinks.forward_http import HttpForward
from tests.servers.odd_sink import OddSink

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def config(uri: str, **changes: Any) -> ForwardConfig:
    return ForwardConfig.model_validate({"kind": "forward", "uri": uri, **changes})


def event(**changes: Any) -> WireEvent:
    given = {
        "id": "7",
        "source": "/site/box/gate",
        "type": "io.edge.picture.redacted.v1",
        "subject": 'gate 1/a"b%é漢.jpg',
        "time": "2026-01-01T12:00:00.123456Z",
        "datacontenttype": "application/json",
        "data": b'{"people": [1.5, "\xc3\xa9"]}',
        "extensions": {"traceparent": TRACE, "tracestate": "a=b,c=d", "seq": 5, "live": True},
    }
    return Event(**{**given, **changes})


@contextlib.asynccontextmanager
async def forward(uri: str, **changes: Any) -> AsyncIterator[HttpForward]:
    handler = HttpForward(config(uri, **changes))
    try:
        yield handler
    finally:
        await handler.close()


async def refused(sink: OddSink, kind: type[EdgeError], **changes: Any) -> Any:
    """Forward an event that is not taken; return the error."""
    async with forward(sink.url, **changes) as handler:
        with pytest.raises(kind) as caught:
            await handler(event())
    assert type(caught.value) is kind
    return caught.value
