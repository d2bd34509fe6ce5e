"""The contracts between rooms, in prose: what a caller may assume, and what not.

Rooms never import each other. They meet in these protocols, and ``app`` introduces them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections, EngineInfo, Sighting
from edge.event import Event, Outcome, WireEvent
from edge.frame import Encoded, Frame
from edge.parcel import Parcel, ReadBack, Redaction

Picture = Frame | Encoded
"""What a source brings: decoded frames of a stream, or picture files as they came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How a source is, safe to show anywhere: no credential, no pixel."""

    name: str
    #: ``camera``, ``scene``, ``folder`` or ``upload``
    kind: str
    #: ``connecting``, ``streaming``, ``stalled``, ``waiting`` (between tries), ``disabled``,
    #: ``finished`` or ``failed``
    state: str
    #: why it is in that state, in words
    reason: str = ""
    #: what to do about it, in words
    hint: str = ""
    #: where it looks, without credentials
    where: str = ""
    #: when its newest picture was taken
    last_picture_at: datetime | None = None
    #: counters by name: ``read``, ``offered``, ``skipped``, ``reconnects``, ``stalls`` …
    counts: Mapping[str, int] = field(default_factory=dict)
    #: measured pictures a second over the last seconds
    fps: float = 0.0
    size: tuple[int, int] | None = None


class Source(Protocol):
    """Where pictures come from."""

    name: str
    #: True: frames of a stream, the newest wins, a drop is counted.
    #: False: each picture was accepted and must end with an outcome.
    live: bool

    def events(self) -> AsyncIterator[Event[Picture]]:
        """Yield pictures until closed or finished; iterated once.

        A source that loses its peer does not end: it reconnects by itself, with back-off, and
        says so in ``status``. It ends when its content is over (a file) or after ``close``.
        It raises ``PartFailed`` where it cannot go on, and ``Fatal`` where no retry can help.
        A caller that is slow gets fewer, newer frames from a live source, never older ones.
        """
        ...

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Learn how a yielded event ended. Called once for each event, in any order.

        ``reason`` is empty, a short code (``newer``), or a code and words (``damaged: the PNG …``).

        After ``DONE`` or ``DUPLICATE`` the redacted picture is durable and the source may
        forget its own copy. ``settle`` may be called after ``close``.
        """
        ...

    async def close(self) -> None:
        """Shut the tap: ``events`` ends within a second. What was yielded is still settled."""
        ...

    def status(self) -> SourceStatus:
        """Say how it is. Cheap, never blocks, may be called from the loop at any time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How an uploaded picture fares, safe to show to whoever may upload."""

    id: str
    #: ``queued``, ``running``, ``done`` or ``dead``
    state: str
    #: why it is dead, as a short stable code
    reason: str = ""
    #: what to do about it, in words
    hint: str = ""
    accepted_at: datetime
    finished_at: datetime | None = None
    #: name in the store, once the redacted picture is made
    key: str = ""
    #: type of the redacted picture, once it is made
    content_type: str = ""


class Jobs(Protocol):
    """Uploads, from their arrival until their result is no longer kept."""

    def room(self, size: int) -> None:
        """Ask before a body of ``size`` bytes is read whether it could be kept.

        Raises:
            TryLater: no room for it now; ``after`` says when to ask again.

        """
        ...

    async def submit(self, body: bytes, name: str, idempotency_key: str = "") -> JobStatus:
        """Take a picture file; the same content under the same key is the same job.

        Raises:
            Rejected: ``empty``, ``too_large``, or ``key_reused`` (the key came with other content).
            TryLater: no room for it now, or the box is stopping.
            PartFailed: what originals wait in cannot be reached; nothing was taken.

        """
        ...

    async def refer(self, bucket: str, key: str, idempotency_key: str = "") -> JobStatus:
        """Take a picture that lies in a bucket already.

        Raises:
            Rejected: ``unsupported``, ``unknown_bucket``, ``gone``, or ``key_reused``.
            TryLater, PartFailed: not now; nothing was taken.

        """
        ...

    async def get(self, job_id: str) -> JobStatus | None:
        """Say how a job is; None where it is not known, or no longer."""
        ...

    async def wait(self, job_id: str, timeout: float) -> JobStatus | None:  # noqa: ASYNC109
        """Wait for its end, at most ``timeout`` seconds, and say how it is then."""
        ...

    async def image(self, job_id: str) -> Parcel | ReadBack | None:
        """Return the redacted picture of a job that is done; None when it is no longer kept.

        Raises:
            TryLater, PartFailed: what has it cannot be reached now.

        """
        ...


class Engine(Protocol):
    """What finds people. It answers or it raises; "nobody" is never what a failure looks like."""

    info: EngineInfo

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        """Find people in ``batch``.

        Args:
            batch: ``(n, h, w, 3)`` uint8 BGR, at ``info.input_size``.
            sources: n names, whose picture each row is; ``None`` for a picture that stands alone.
                Engines with a trained model ignore it; the built-in one judges by movement and
                needs to know what came before.

        Returns:
            n Detections in input pixels, those above ``info.threshold`` only.

        Raises:
            Withheld: this picture cannot be judged (built-in engine). The engine is fine.
            PartFailed: the engine is out of order; what it would have said is unknown.

        Blocks; safe to call from several threads at once.

        """
        ...

    def close(self) -> None:
        """Free what it holds. No ``infer`` may follow."""
        ...


class JpegEncoder(Protocol):
    """Makes JPEGs of redacted pixels somewhere else than on the processor.

    Nothing of what it answers is believed: the gate reads it and compares it with the picture, and
    what it cannot vouch for does not leave. So an encoder may err, and need not check itself.
    """

    #: what it is, in words, for the log and the page
    name: str

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        """Return one baseline JPEG of three components, 4:2:0, with the standard Huffman tables.

        Args:
            pixels: ``(h, w, 3)`` uint8 BGR, dense. Both sides are multiples of 16, so that the
                file has no block that reaches beyond the picture; nobody changes them meanwhile.
            quality: 1 to 100, as the IJG's library understands it.

        A restart marker ends each row of blocks, where the encoder can: then a part of the rows
        can be checked. What it says besides the picture (comments, JFIF, EXIF) is cut out.

        Raises:
            PartFailed: it could not; ask it no more.
            GpuLost: this process cannot use the GPU again.

        Blocks, for some seconds at most; safe to call from several threads at once.

        """
        ...

    def close(self) -> None:
        """Free what it holds. No ``encode`` may follow. Never raises."""
        ...


class Gate(Protocol):
    """The only maker of parcels."""

    def release(self, event: Event[Picture], sighting: Sighting, redaction: Redaction) -> Parcel:
        """Weigh, encode, and let through.

        Raises:
            Withheld: something that the gate demands is missing; the reason says what.

        Blocks (encoding); called from the picture pool.

        """
        ...


class Handler(Protocol):
    """What a trigger hands events to. It makes something of an event; the bus keeps what it made.

    It is asked again after a failure or a crash, with the same event: what it does outside the
    process must bear being done twice. What it returns is kept once, in one transaction with the
    note that this delivery is done.
    """

    #: where it leads, for dead letters and status: an address without credentials, or ``edge:NAME``
    where: str
    #: True: it works on pictures in memory (``Event[Picture]``). False: it is handed what travels,
    #: ``WireEvent``, and of an event that carries a raw picture only the attributes.
    sees_pictures: bool

    async def __call__(self, event: Event[Any]) -> WireEvent | Parcel | None:
        """Make something of one event.

        Returns:
            A parcel, which goes to the outbox and re-enters the bus as its message. An event, which
            re-enters the bus. None: it is done, and nothing came of it.

        Raises:
            Rejected: this event, never. TryLater: this event, not now. PartFailed: a part broke,
                or nobody answered.

        """
        ...

    async def close(self) -> None:
        """Let go of connections. No call may follow."""
        ...


Note = Callable[[sqlite3.Connection], object]
"""A piece of a transaction: it changes rows and nothing else, since it may run twice."""


class Keeper(Protocol):
    """The outbox as the path sees it: what was put is on disk when ``put`` returns."""

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:
        """Keep a parcel until its store has it; False if it was put before (nothing is done).

        Args:
            parcel: what to keep.
            also: runs in the same transaction, whether or not the parcel was put before.

        Raises:
            TryLater: no room (quota, full disk); ``reason`` says which. ``also`` did not run.

        """
        ...

    async def knows(self, event_id: str) -> bool:
        """Tell whether a parcel of this event was ever put (within the retention)."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bus has an event: it is on disk, and will end exactly once."""

    #: its place in the journal; 0 where no trigger wanted it, so that it was done at once
    seq: int
    #: False: it was accepted before (same ``source`` and ``id``); nothing was done
    new: bool


class Intake(Protocol):
    """The bus as those see it who bring events: HTTP, MQTT, notifications."""

    async def accept(self, events: Sequence[WireEvent]) -> list[Accepted]:
        """Take events, all or none of them; they are on disk when it returns.

        Raises:
            TryLater: ``journal_full`` (429), ``disk_full`` or ``stopping`` (503); none was taken.

        """
        ...


class Hook(Protocol):
    """Where object stores send notifications, as the web side sees it."""

    #: what callers may show; none: whoever may call the web server may call it
    tokens: frozenset[str]

    async def take(self, body: bytes) -> int:
        """Take a notification, readable or not; what is wanted of it is on disk on return.

        Returns:
            How many events came of it.

        Raises:
            TryLater: nothing was taken; the sender has to keep it.

        """
        ...


class Store(Protocol):
    """A door: where parcels end. One contract suite runs on every one."""

    name: str

    async def open(self) -> None:
        """Get ready (create the bucket or folder). Idempotent.

        Raises:
            PartFailed: not reachable or not writable now. Fatal: never, as configured.

        """
        ...

    async def put(self, parcel: Parcel) -> None:
        """Store picture and message under ``parcel.key``; durable when it returns.

        Putting the same parcel again changes nothing and succeeds. Where another picture has the
        key, the configuration decides (``store.overwrite``): either it keeps it, or the one that
        was taken later has it, with its message; an older one that comes late is dropped, and that
        is a success.

        Raises:
            PartFailed: the door is shut (gone, full, refused credentials): try all later.
            Rejected: this parcel can never be stored; others can. ``key_taken``: another picture
                has the key and keeps it.

        """
        ...

    async def get(self, key: str) -> bytes:
        """Return the picture that was put under ``key``.

        Raises:
            PartFailed: the door is shut: try later.
            Rejected: ``gone`` (there is none of that key), ``too_large`` (64 MiB are read), or
                ``bad_key``.

        """
        ...

    async def remove(self, key: str) -> None:
        """Remove the picture of that key and its message, with every version that the door keeps.

        Where there is nothing of that key it succeeds. When it returns, nothing is left of it.

        Raises:
            PartFailed: the door is shut, or does not let it be removed: try later. Some of it may
                be gone.
            Rejected: ``bad_key``, or ``store_refused``: it can never be removed there.

        """
        ...

    async def close(self) -> None:
        """Let go of connections. No ``put`` or ``get`` may follow."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Where it leads, without credentials."""
        ...
