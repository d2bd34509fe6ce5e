"""What was produced and had to give way before the broker had it: ``loss.v1``."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from edge.event import LOSS
from edge.messages.json_schema import About, dataschema
from edge.messages.redacted import Count, Text, Time

DATASCHEMA = dataschema(LOSS)

Number = Annotated[
    int,
    About("seq of a message of that source and class; of a picture its number on the box", least=1),
]


_Class = TypedDict(
    "_Class",
    {
        "class": Annotated[
            str, About("of the messages; picture: what waited for the store", filled=True)
        ]
    },
)


class Data(_Class):
    """What is lost."""

    source: Annotated[str, About("name of the source; empty: the box itself")]
    from_seq: Number
    to_seq: Number
    count: Annotated[int, About("messages; of the numbers between, others arrived", least=1)]
    bytes: Count
    reason: Annotated[
        str,
        About(
            "bytes, items, age, disk: no room for it ([upstream], of pictures [outbox]). "
            "too_large, bad_topic, bad_payload, refused: the broker will never take it",
            filled=True,
        ),
    ]
    since: Time
    until: Time


class Message(TypedDict):
    """A CloudEvent: a tombstone for messages that had to give way."""

    specversion: Literal["1.0"]
    id: Text
    source: Annotated[str, About("/{site}/{node}/{source}", filled=True)]
    type: Annotated[str, About("", among=(LOSS,))]
    time: Time
    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, About("", among=(DATASCHEMA,))]
    data: Data
