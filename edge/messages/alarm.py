"""Something went wrong that a person should know at once, or is right again: ``alarm.v1``."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from edge.event import ALARM
from edge.messages.json_schema import About, dataschema
from edge.messages.redacted import Text, Time

DATASCHEMA = dataschema(ALARM)


class Data(TypedDict):
    """Which alarm, and whether it came or went."""

    alarm: Annotated[
        str,
        About(
            "what it is about",
            among=(
                "engine_down",
                "safe_mode",
                "gpu_fault",
                "source_lost",
                "store_shut",
                "disk_low",
                "dead_letters",
            ),
        ),
    ]
    state: Annotated[str, About("", among=("raised", "cleared"))]
    source: NotRequired[Annotated[str, About("of source_lost: which", filled=True)]]
    text: Annotated[str, About("what is wrong, or was", filled=True)]
    hint: str
    since: Annotated[Time, About("when it was raised; the same in both")]


class Message(TypedDict):
    """A CloudEvent: an alarm was raised or cleared. Its subject is the alarm."""

    specversion: Literal["1.0"]
    id: Annotated[str, About("of the alarm, when it was raised, and its state", filled=True)]
    source: Annotated[str, About("/{site}/{node}, or /{site}/{node}/{source}", filled=True)]
    type: Annotated[str, About("", among=(ALARM,))]
    subject: Text
    time: Time
    datacontenttype: Literal["application/json"]
    dataschema: Annotated[str, About("", among=(DATASCHEMA,))]
    data: Data
