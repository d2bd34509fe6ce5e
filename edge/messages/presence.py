"""What a box keeps at its broker: ``status``, ``info``, ``health``, and how each source is.

Retained, newest only, so that whoever comes later knows at once. They are no CloudEvents: a topic
says what they are about. Within a version members are added, never changed or taken away.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from edge.messages.json_schema import About
from edge.messages.redacted import Count, Text, Time

STATUS = "io.edge.box.status.v1"
INFO = "io.edge.box.info.v1"
HEALTH = "io.edge.box.health.v1"
SOURCE = "io.edge.source.status.v1"

Seconds = Annotated[float, About("seconds", least=0)]
Bytes = Annotated[int, About("bytes", least=0)]
Session = Annotated[
    int, About("number of the connection; a later one is greater, across restarts", least=1)
]
Grade = Annotated[str, About("how well it is", among=("ok", "degraded", "failed"))]


class Status(TypedDict):
    """Whether a box is there: its birth, its will, or its goodbye."""

    state: Annotated[
        str,
        About("offline: it is gone without a word", among=("online", "offline", "stopped")),
    ]
    session: Session
    at: Annotated[Time, About("when the box said so; of offline: when it connected")]


class Engine(TypedDict):
    """Who looks at the pictures."""

    up: Annotated[bool, About("false: nothing leaves the box")]
    name: Annotated[str, About("empty: none was up yet")]
    model: str
    digest: Annotated[str, About("SHA-256 of the graph, hex; empty: no graph")]
    safe_mode: Annotated[bool, About("no trained model: what moves is covered")]
    wanted: NotRequired[Annotated[str, About("what was asked for; auto: the fastest that agrees")]]
    why: NotRequired[Annotated[str, About("why this one looks, in words")]]


class Source(TypedDict):
    """A source, as it is configured."""

    name: Text
    kind: Text


class Boot(TypedDict):
    """Which start of the box this is, and what came before it."""

    number: Count
    reason: Annotated[
        str,
        About(
            "how the run before ended",
            among=("first", "stopped", "rebooted", "crashed", "power_lost"),
        ),
    ]


class Info(TypedDict):
    """What a box is."""

    site: Text
    node: Text
    session: Session
    version: Text
    python: Text
    system: Annotated[str, About("operating system and processor", filled=True)]
    engine: Engine
    sources: list[Source]
    pages: Annotated[list[str], About("addresses of its page")]
    started_at: Time
    boot: Boot


class Reason(TypedDict):
    """One thing that is wrong, and what to do about it."""

    text: Text
    hint: str


class Answer(TypedDict):
    """One answer, as the page gives it."""

    state: Grade
    word: Text
    text: Text
    hint: str


class Pictures(TypedDict):
    """Pictures since the start, of all sources."""

    redacted: Count
    dropped: Count
    withheld: Count
    rejected: Count
    people: Annotated[int, About("regions that were covered", least=0)]


class Store(TypedDict):
    """What waits for the store."""

    up: bool
    waiting: Count
    bytes: Bytes
    oldest: NotRequired[Seconds]
    dead: Annotated[int, About("parcels that the store refused for good", least=0)]


class Upstream(TypedDict):
    """What waits for the broker."""

    waiting: Count
    bytes: Bytes
    oldest: NotRequired[Seconds]


class Events(TypedDict):
    """Events on the box's bus."""

    waiting: Count
    dead: Count


class Energy(TypedDict):
    """What the machine is measured to take. What is not measured is left out, never estimated."""

    watts: NotRequired[Annotated[float, About("of all that has a counter, now", least=0)]]
    joules_per_1000: NotRequired[
        Annotated[float, About("for 1000 redacted pictures of the last five minutes", least=0)]
    ]
    cap: NotRequired[Annotated[float, About("watts that the box keeps to; none: no cap", least=0)]]
    left_out: NotRequired[
        Annotated[int, About("live frames since the start that the cap left out", least=0)]
    ]


class Disk(TypedDict):
    """The disk that the state is on."""

    free: Bytes
    total: Bytes


class EngineBuild(TypedDict):
    """The building of an engine for the box's GPU, the newest one."""

    state: Annotated[str, About("", among=("running", "done", "failed", "cancelled"))]
    model: str
    phase: Annotated[str, About("what the builder does, in its words")]
    share: NotRequired[Annotated[float, About("how far it is; absent: not known", least=0)]]
    seconds: Seconds
    reason: Annotated[str, About("why it failed, in words")]
    hint: str


class Health(TypedDict):
    """How a box is, every so often and when that changes."""

    session: Session
    at: Time
    uptime: Seconds
    state: Grade
    text: Annotated[str, About("the state in words", filled=True)]
    reasons: list[Reason]
    safe: Answer
    seeing: Answer
    sending: Answer
    pictures: Pictures
    store: Store
    upstream: Upstream
    events: Events
    energy: NotRequired[Energy]
    build: NotRequired[EngineBuild]
    disk: Disk
    clock_synchronised: NotRequired[bool]
    temperature: NotRequired[Annotated[float, About("of the hottest sensor, in °C")]]


class SourceStatus(TypedDict):
    """How a source is, when that changes and with each ``health``."""

    session: Session
    at: Time
    name: Text
    kind: Text
    state: Annotated[
        str,
        About(
            "",
            among=(
                "connecting",
                "streaming",
                "stalled",
                "waiting",
                "disabled",
                "finished",
                "failed",
            ),
        ),
    ]
    reason: str
    hint: str
    fps: Annotated[float, About("pictures a second that it brings", least=0)]
    last_picture_at: NotRequired[str]
    pictures: Pictures
