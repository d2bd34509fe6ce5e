"""What verbs answer: the reply's ``data``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Result(BaseModel):
    """A verb's answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Done(Result):
    """It is done, and there is nothing more to say."""

    message: str = Field("", description="What was done, in words.")


class Facts(Result):
    """What the page or the configuration says, as it says it."""

    facts: dict[str, Any] = Field(description="As GET /v1/status, and as the file's tables.")


class About(Result):
    """Which box this is."""

    site: str
    node: str
    version: str
    time: str = Field(description="The box's clock.")
    uptime: float = Field(description="Seconds.")


class OfSource(Result):
    """A source."""

    name: str
    state: str = Field(description="How it is now: connecting, up, disabled …; removed: it is gone")
    message: str = ""


class Snapshot(Result):
    """The newest redacted picture of a source; never the picture itself."""

    name: str
    id: str = Field(description="Id of its parcel.")
    key: str = Field(description="Its name in the store.")
    taken_at: str
    bytes: int
    sha256: str
    content_type: str


class Tested(Result):
    """A picture came in."""

    name: str
    state: str
    seconds: float = Field(description="How long it took.")
    fps: float
    size: list[int] | None


class Floor(Result):
    """What is in force at least, whatever the file says."""

    threshold: float | None = Field(description="Highest threshold; None: the file's.")
    sources: dict[str, dict[str, Any]] = Field(description="By source; '' is all of them.")


class Sync(Result):
    """How delivery to the store is."""

    paused: bool
    until: str | None = Field(description="When it goes on by itself.")
    waiting: int = Field(description="Parcels that wait.")


class Letters(Result):
    """A page of dead letters, without their events."""

    letters: list[dict[str, Any]]
    next: str | None = Field(description="Goes into after, for the next page.")


class Count(Result):
    """How many it were."""

    count: int


class Validated(Result):
    """What is wrong with a configuration."""

    ok: bool
    faults: list[dict[str, str]] = Field(description="path, given, message of each.")
    restart: list[str] = Field(description="Keys that would need a restart.")


class Bundle(Result):
    """A file for support, on the box."""

    path: str
    bytes: int
    sha256: str


class Applied(Result):
    """A configuration that is on probation, or in force already."""

    id: str
    state: str = Field(description="probation, or applied: it is in force already.")
    digest: str
    restart: list[str] = Field(description="Keys for which the box starts anew first.")
    until: str | None = Field(description="When the box will be back where it was, at the latest.")
    message: str = Field("", description="Where the end is told.")


class Reported(Result):
    """Which configuration is in force, and what became of the newest one that came from afar."""

    id: str = Field(description="Of the newest that came; empty: none did.")
    digest: str = Field(description="Of what is in force: base of the next one.")
    state: str = Field(
        description="file: the box's own; probation, applied, rejected, rolled_back; superseded: "
        "the file was changed since."
    )
    reason: str = Field(description="Why it was rejected or rolled back.")
    faults: list[dict[str, str]] = Field(description="path, given, message of each.")
    at: str | None
    until: str | None = Field(description="When a probation is over at the latest.")
    file: bool = Field(description="Whether the file on the box is in force.")


class Model(Result):
    """A model on this box."""

    id: str
    digest: str
    installed_at: str
    serving: bool
    fault: str = Field("", description="Why it cannot be used.")


class Models(Result):
    """Models on this box."""

    models: list[Model]


class Serving(Result):
    """What looks now."""

    engine: str
    model: str
    safe_mode: bool


class Building(Result):
    """How a build stands."""

    build: dict[str, Any] = Field(description="As GET /v1/engines has it.")


class Cancelled(Result):
    """Whether there was something to stop."""

    cancelled: bool


class SelfTested(Result):
    """Whether the engine that serves sees known people."""

    passed: bool = Field(description="Enough of them would be covered, or their pictures withheld.")
    people: int = Field(description="How many were shown.")
    covered: int
    withheld: int = Field(description="Those in pictures that could not be judged; none leaves.")
    floor: float = Field(description="Share that has to be covered or withheld.")
    engine: str
    model: str
    safe_mode: bool


class Audit(Result):
    """Entries of the audit log, the newest first."""

    entries: list[dict[str, Any]]


class Verified(Result):
    """Whether the audit log is whole."""

    whole: bool
    entries: int
    head: str = Field(description="Digest of the newest entry: keep it elsewhere, and compare.")
    fault: str = ""
