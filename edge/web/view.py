"""What the web side sees of the box: facts that ``app`` fills in, and a few verbs. Nothing else.

Everything in a ``BoxStatus`` is JSON: times are ISO 8601 with zone, ages and uptimes are seconds,
sizes are bytes. No credential and no raw pixel is ever in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, Protocol, Required, TypedDict

from edge.contracts import Hook, Intake, Jobs
from edge.engine_status import Engines
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.traffic import Traffic

State = Literal["ok", "degraded", "failed"]


class Reason(TypedDict):
    """One thing that is wrong, and what to do about it."""

    text: str
    hint: str


class Overall(TypedDict):
    """How the box is as a whole.

    ``app`` fills in what is wrong beyond safe, seeing and sending (a part that restarts, a full
    disk, a clock that is off); ``verdict.judge`` folds in the rest.
    """

    state: State
    reasons: list[Reason]


class Safe(TypedDict):
    """Who looks at the pictures, and what happens to the people in them."""

    #: an engine answers and passed its check; False: nothing leaves
    blurring: bool
    #: no trained model: what moves is covered, what cannot be judged is withheld
    safe_mode: bool
    #: ``cells``, ``fill`` or ``blur``
    method: str
    #: what serves now: ``onnx``, ``builtin`` …; empty while none does
    engine: str
    #: id of the model that serves now
    model: str
    #: what the configuration asks for (``auto``, ``onnx``, ``builtin``; a model's id)
    engine_wanted: str
    model_wanted: str
    #: median seconds of one detection; None before the first
    seconds: float | None
    #: pictures withheld since the start, by reason
    withheld: dict[str, int]
    #: why it is not as configured, and what to do
    reason: str
    hint: str


class Seeing(TypedDict):
    """One source: the fields of ``SourceStatus``, and what came out at the other end."""

    name: str
    kind: str
    state: str
    reason: str
    hint: str
    where: str
    #: pictures a second that the source brings
    fps: float
    size: list[int] | None
    counts: dict[str, int]
    #: when the newest picture came in; its age in seconds now
    last_picture_at: str | None
    last_picture_age: float | None
    #: the newest redacted picture (``latest``): parcel id, when it was taken, its age now
    shown: str | None
    shown_at: str | None
    shown_age: float | None
    #: redacted pictures a second over the last seconds
    redacted_fps: float
    #: since the start: redacted and in the outbox, dropped, withheld, refused
    redacted: int
    dropped: int
    withheld: int
    rejected: int


class Sending(TypedDict):
    """The way out: the store, and what waits for it."""

    #: where it leads, without credentials: ``folder /var/lib/…`` or ``s3 http://…/bucket``
    store: str
    up: bool
    #: parcels that wait, their bytes, and the age of the oldest (None: none waits)
    waiting: int
    bytes: int
    oldest: float | None
    #: room in the outbox, bytes
    max_bytes: int
    #: when the store last took a parcel; None: never since the start
    last_success: str | None
    #: since the start: parcels that the store has; those that it will never take
    stored: int
    dead: int
    reason: str
    hint: str
    #: events that wait for a trigger's subscriber, and dead letters of events
    events: int
    letters: int


class Class(TypedDict):
    """One class of messages to the broker."""

    #: ``alarm``, ``loss``, ``result`` …
    name: str
    waiting: int
    bytes: int


class Upstream(TypedDict):
    """The way to the broker, and what waits for it."""

    #: address without credentials, and the name the broker knows the box by
    broker: str
    client_id: str
    #: ``connecting``, ``up``, ``waiting`` (for the next try) or ``closed``, and since when
    state: str
    since: str
    #: why it is not up, as a code, in words, and what to do; seconds between two tries
    code: str
    reason: str
    hint: str
    next_try: float | None
    #: ``5`` or ``3.1.1``; empty: no broker answered yet
    protocol: str
    #: number of the connection
    session: int
    #: messages that wait, their bytes, the age of the oldest (None: none waits), by class
    waiting: int
    bytes: int
    oldest: float | None
    classes: list[Class]
    #: room for them, bytes
    max_bytes: int
    #: acknowledged by the broker: when last, and how many ever; how many gave way unsent
    last_delivered: str | None
    delivered: int
    lost: int
    #: seconds until the backlog is through; None: not known
    estimate: float | None
    #: what the bandwidth plan says now, in words; empty: nothing holds them back
    plan: str
    #: topics that the broker refuses, and why
    refused: dict[str, str]


class Box(TypedDict):
    """Which box this is, and how long it has been up."""

    site: str
    node: str
    version: str
    uptime: float
    started_at: str
    #: the box's time now
    clock: str


class Notice(TypedDict):
    """Something that happened and that the operator should know."""

    at: str
    level: Literal["info", "warning", "error"]
    text: str
    hint: str


class Commanded(TypedDict):
    """A command that came: who, what, and what became of it. From the audit log."""

    at: str
    verb: str
    #: ``local``, ``http`` or ``mqtt``
    channel: str
    who: str
    #: ``begun``, ``ok``, ``error``, ``expired``, ``refused`` or ``unknown``
    outcome: str
    #: why not
    code: str


class Zone(TypedDict):
    """A part of the machine that has a counter of energy. Zones do not overlap."""

    name: str
    #: since the start
    joules: float
    #: None: its counter says nothing at present
    watts: float | None


class Energy(TypedDict):
    """What the machine is measured to take; nothing in it is estimated."""

    #: False: switched off
    measured: bool
    #: empty: no counter answers
    zones: list[Zone]
    #: of all zones; None: not known
    watts: float | None
    #: of all zones, for 1000 redacted pictures of the last minutes; None: not known
    joules_per_1000: float | None
    #: what could be measured and is not
    unread: list[Reason]
    #: watts; 0: there is no cap
    cap: float
    #: of the live frames, so many are looked at because of it: above 0, up to 1
    share: float
    #: frames that it left out since the start
    capped: int
    #: why it is not kept, and what to do; empty: it is
    reason: str
    hint: str


class BoxStatus(TypedDict):
    """Everything that the page and ``/v1/status`` say."""

    overall: Overall
    safe: Safe
    seeing: list[Seeing]
    sending: Sending
    #: left out where there is no broker
    upstream: NotRequired[Upstream]
    #: the fields of ``EngineStatus``; left out where the box has one engine and no choice
    engines: NotRequired[dict[str, Any]]
    #: left out by a box that does not know
    energy: NotRequired[Energy]
    #: uploads by state: ``queued``, ``running``, ``done``, ``dead``
    uploads: dict[str, int]
    box: Box
    #: newest first
    notices: list[Notice]
    #: newest first
    commands: list[Commanded]


class Reply(TypedDict, total=False):
    """How a command fares (DESIGN 8), the same words as over MQTT."""

    #: its id and verb
    id: str
    verb: str
    #: ``accepted``, ``progress``, ``ok``, ``error`` or ``expired``
    status: Required[str]
    #: empty unless ``error``: ``bad_request not_found conflict busy unsupported forbidden_remote
    #: precondition_failed dependency_down timeout internal``
    code: Required[str]
    message: Required[str]
    hint: Required[str]
    data: Required[dict[str, Any]]
    at: str
    #: it came before, and this is what was answered then
    repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends a command, and how."""

    channel: Literal["local", "http"]
    #: a peer's address, a user's id
    who: str
    #: the command's own id; empty: it gets one
    id: str = ""
    #: seconds after which the answer is ``accepted``
    wait: float = 10.0


class BoxView(Protocol):
    """The box as the web side sees it. Every method is called on the event loop."""

    @property
    def jobs(self) -> Jobs:
        """Uploads and their results."""
        ...

    @property
    def intake(self) -> Intake:
        """Where events go."""
        ...

    @property
    def hook(self) -> Hook | None:
        """Where notifications of object stores go; None where no source waits for any."""
        ...

    @property
    def traffic(self) -> Traffic:
        """Triggers, the way of events, dead letters."""
        ...

    @property
    def engines(self) -> Engines | None:
        """The engines, to look at and to steer; None where there is nothing to choose."""
        ...

    @property
    def metrics(self) -> Metrics:
        """The registry that ``/metrics`` shows."""
        ...

    def status(self) -> BoxStatus:
        """Say how the box is. Cheap: the page asks once a second for each viewer."""
        ...

    def latest(self, source: str) -> Parcel | None:
        """Return the newest redacted picture of a source; None where there is none yet."""
        ...

    async def next_parcel(
        self,
        source: str,
        after_id: str | None,
        timeout: float,  # noqa: ASYNC109 (the wait is its purpose)
    ) -> Parcel | None:
        """Return the newest redacted picture that is not ``after_id``; wait for one.

        At once where there is a newer one already; None after ``timeout`` seconds without.
        Frames between are skipped: a slow viewer sees fewer, newer ones.
        """
        ...

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether redacted pictures can be made and kept now; if not, why."""
        ...

    def alive(self) -> tuple[bool, list[str]]:
        """Tell whether every part moves; if not, which does not."""
        ...

    async def command(self, verb: str, args: Mapping[str, Any], sender: Sender) -> Reply:
        """Carry out a verb. It never raises for a bad command: the reply says what was wrong."""
        ...

    async def command_reply(self, command_id: str) -> Reply | None:
        """Return how a command fares that came before; None: nobody knows that id."""
        ...
