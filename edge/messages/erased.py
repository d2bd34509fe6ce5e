"""An original was removed, and with it what was made of it: ``picture.erased.v1``."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from edge.event import PICTURE_ERASED
from edge.messages.json_schema import About, dataschema
from edge.messages.redacted import Text, Time

DATASCHEMA = dataschema(PICTURE_ERASED)


class Origin(TypedDict):
    """What was removed."""

    bucket: Text
    key: Text
    version: NotRequired[Annotated[str, About("only that version was removed", filled=True)]]


class Picture(TypedDict):
    """A redacted picture that is gone, from the store or before it came there."""

    key: Annotated[str, About("its name in the store, behind the store's own prefix", filled=True)]
    id: Annotated[str, About("of its message", filled=True)]
    etag: NotRequired[Annotated[str, About("of the original, without quotes", filled=True)]]
    version: NotRequired[Annotated[str, About("of the original", filled=True)]]


class Data(TypedDict):
    """What was erased."""

    source: Annotated[str, About("name of the source", filled=True)]
    origin: Origin
    pictures: list[Picture]
    removed_at: NotRequired[
        Annotated[str, About("when the original was removed, as its server said it", filled=True)]
    ]


class Message(TypedDict):
    """A CloudEvent: pictures are erased because their original was removed."""

    specversion: Literal["1.0"]
    id: Annotated[str, About("that of the removal, with .erased behind it", filled=True)]
    source: Annotated[str, About("/{site}/{node}/{source}", filled=True)]
    type: Annotated[str, About("", among=(PICTURE_ERASED,))]
    subject: NotRequired[Text]
    time: Time
    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, About("", among=(DATASCHEMA,))]
    data: Data
