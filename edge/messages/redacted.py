"""The result: the message that goes with each redacted picture, ``picture.redacted.v1``.

Within a version members are added, never changed or taken away: read what you know, and leave the
rest alone.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from edge.event import PICTURE_REDACTED
from edge.messages.json_schema import About, dataschema

DATASCHEMA = dataschema(PICTURE_REDACTED)

Box = Annotated[
    list[int],
    About("[x, y, width, height] in pixels of the original", items=4, least=0),
]
Time = Annotated[
    str, About("UTC, with milliseconds", pattern=r"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$")
]
Sha256 = Annotated[str, About("SHA-256, hex", pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, About("", least=0)]
Size = Annotated[int, About("pixels", least=1)]
Text = Annotated[str, About("", filled=True)]


class Picture(TypedDict):
    """The redacted picture in the store."""

    key: Annotated[str, About("its name in the store, behind the store's own prefix", filled=True)]
    content_type: Annotated[str, About("", among=("image/jpeg", "image/webp", "image/png"))]
    sha256: Sha256
    bytes: Count
    width: Size
    height: Size


class Person(TypedDict):
    """Somebody who was seen; cut at the picture's edges, and left out beyond them."""

    box: Box
    score: Annotated[float, About("how sure the engine is", least=0, most=1)]
    label: str


class Engine(TypedDict):
    """Who looked."""

    name: Text
    model: Text
    digest: Annotated[
        str, About("SHA-256 of the graph, hex; empty: no graph", pattern="^([0-9a-f]{64})?$")
    ]
    safe_mode: Annotated[bool, About("no trained model: what moved was covered")]


class Origin(TypedDict):
    """The object that the picture was made of."""

    bucket: Text
    key: Text
    version: NotRequired[Text]
    etag: NotRequired[Annotated[str, About("without quotes", filled=True)]]


class Data(TypedDict):
    """Who was seen in a picture, and what was done about it."""

    source: Annotated[str, About("name of the source", filled=True)]
    taken_at: Time
    picture: Picture
    people: list[Person]
    covered: Annotated[list[Box], About("what is covered, margin included")]
    method: Annotated[str, About("", among=("cells", "fill", "blur"))]
    anonymisation: Annotated[
        str, About("a blur only pseudonymises", among=("anonymised", "pseudonymised"))
    ]
    engine: Engine
    policy: Annotated[str, About("version of the policy", pattern="^[0-9a-f]{12}$")]
    origin: NotRequired[Origin]
    metadata: NotRequired[
        Annotated[
            dict[str, str], About("what the original's sender said, by the names that are allowed")
        ]
    ]


class Message(TypedDict):
    """A CloudEvent: a redacted picture left the gate. Its subject is the original's name."""

    specversion: Literal["1.0"]
    id: Annotated[str, About("the same picture under the same policy has the same", filled=True)]
    source: Annotated[str, About("/{site}/{node}/{source}", filled=True)]
    type: Annotated[str, About("", among=(PICTURE_REDACTED,))]
    subject: NotRequired[Text]
    time: Time
    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, About("", among=(DATASCHEMA,))]
    data: Data
