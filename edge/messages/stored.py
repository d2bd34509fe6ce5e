"""The store has a redacted picture and its message: ``picture.stored.v1``."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from edge.event import PICTURE_STORED
from edge.messages import redacted
from edge.messages.json_schema import About, dataschema
from edge.messages.redacted import Text, Time

DATASCHEMA = dataschema(PICTURE_STORED)


class Place(TypedDict):
    """Where the picture and its message are."""

    kind: Annotated[str, About("folder, or s3", filled=True)]
    where: Annotated[str, About("address and bucket, or the directory", filled=True)]
    key: Annotated[str, About("of the picture, behind the store's own prefix", filled=True)]
    message: Annotated[str, About("of its message, behind the same prefix", filled=True)]


class Data(redacted.Data):
    """What the picture's message says, and where both are."""

    store: Place


class Message(TypedDict):
    """A CloudEvent: the store has a picture and its message, and both are durable there."""

    specversion: Literal["1.0"]
    id: Annotated[str, About("that of the picture's message, with .stored behind it", filled=True)]
    source: Annotated[str, About("/{site}/{node}/{source}", filled=True)]
    type: Annotated[str, About("", among=(PICTURE_STORED,))]
    subject: NotRequired[Text]
    time: Time
    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, About("", among=(DATASCHEMA,))]
    data: Data
