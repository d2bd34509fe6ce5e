"""Where a message goes, and what stands beside it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edge.ops.mqtt_types import Properties
from edge.topics import Topics

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"


@lru_cache(maxsize=1024)
def properties_of(expiry: int) -> Properties:
    """Return the properties of a message that nobody wants after so many seconds."""
    return Properties(content_type=CONTENT_TYPE, expiry=expiry)


def topic_of(topics: Topics, kind: str, source: str, topic: str) -> str:
    """Return where a message goes."""
    if kind == "result":
        return topics.result(source or topics.node)
    if kind == "receipt":
        return topics.receipt
    if kind == "loss":
        return topics.loss
    return topics.event(topic or kind)
