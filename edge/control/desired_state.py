"""What a box remembers of configurations that came from afar: one small file beside its spool.

::

    edge.toml (the operator's, never written)        config.json (the box's)
        |                                               applied   in force in the file's place
        `-- digest --- is it the one they are for? ---- trial     on probation
                                                        previous  where a rollback goes

The operator's file has the last word: once it says something else than when they came, what came
from afar is set aside. Nothing here waits for a network or a clock that is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.errors import PartFailed

NAME = "config.json"
MOST_STARTS = 3
"""Starts that a configuration on probation may have: a box that dies of it is back after these."""
GRACE_S = 900.0
"""Beyond its probation it may take so long to start; then a box that was off goes back."""

State = Literal["file", "probation", "applied", "rejected", "rolled_back", "superseded"]


class Kept(BaseModel):
    """Part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Kept):
    """A configuration as it was written, secrets by reference."""

    id: str
    digest: str
    tables: dict[str, Any]


class Fine(Kept):
    """What was well when a configuration came: it has to be well with it, too."""

    sources: tuple[str, ...] = ()
    engine: bool = False
    #: a trained model looked, no safe mode
    trained: bool = False
    store: bool = False
    broker: bool = False


class Trial(Kept):
    """A configuration on probation."""

    #: None: the operator's file itself
    document: Document | None
    id: str
    digest: str
    fine: Fine
    #: seconds since the epoch
    began: float
    deadline: float
    #: how often the box was started with it
    starts: int = 0


class Report(Kept):
    """What became of the newest configuration that was wanted: ``config/reported``."""

    id: str = ""
    #: of the configuration that is in force
    digest: str = ""
    state: State = "file"
    reason: str = ""
    faults: tuple[dict[str, str], ...] = ()
    #: seconds since the epoch
    at: float = 0.0
    #: when a probation ends at the latest
    until: float | None = None


class Wanted(Kept):
    """The newest desired configuration that was taken up, whatever became of it."""

    id: str = ""
    #: digest of what it said
    said: str = ""
    #: seconds since the epoch, as it says; of a signed one the next must be newer
    issued: float = 0.0


class Standing(Kept):
    """All that is remembered."""

    version: Literal[1] = 1
    #: digest of the operator's file that the rest is for
    file: str = ""
    #: in force in the file's place; None: the file is
    applied: Document | None = None
    #: where a rollback goes; None: to the file, where there is somewhere to go
    previous: Document | None = None
    can_go_back: bool = False
    trial: Trial | None = None
    report: Report = Report()
    wanted: Wanted = Wanted()

    # -- what happens to it

    def for_file(self, file: str, now: float) -> Standing:
        """Return what counts with this file: nothing from afar where it is another one."""
        if self.file == file:
            return self
        fresh = Standing(file=file, wanted=self.wanted, report=Report(digest=file, at=now))
        if self.applied is None and self.trial is None:
            return fresh
        report = Report(
            id=self.report.id,
            digest=file,
            state="superseded",
            reason="the file on the box was changed: it counts again",
            at=now,
        )
        return fresh.model_copy(update={"report": report})

    def tried(self, trial: Trial) -> Standing:
        """Return it with a configuration put on probation."""
        report = Report(
            id=trial.id,
            digest=trial.digest,
            state="probation",
            at=trial.began,
            until=trial.deadline - GRACE_S,
        )
        return self.model_copy(update={"trial": trial, "report": report})

    def started(self, now: float) -> Standing:
        """Return it after a start: one more for a trial, or its end."""
        trial = self.trial
        if trial is None:
            return self
        if now > trial.deadline:
            return self.back("its probation ended while the box was off", now)
        if trial.starts >= MOST_STARTS:
            return self.back(f"the box did not live through {MOST_STARTS} starts with it", now)
        update = {"trial": trial.model_copy(update={"starts": trial.starts + 1})}
        return self.model_copy(update=update)

    def kept(self, now: float) -> Standing:
        """Return it with the trial in force."""
        trial = self.trial
        if trial is None:
            return self
        report = Report(id=trial.id, digest=trial.digest, state="applied", at=now)
        return self.model_copy(
            update={
                "applied": trial.document,
                "previous": self.applied,
                "can_go_back": True,
                "trial": None,
                "report": report,
            }
        )

    def back(self, reason: str, now: float, faults: tuple[dict[str, str], ...] = ()) -> Standing:
        """Return it without its trial; without one, with the file in force."""
        gone = self.trial or self.applied
        if gone is None:
            return self
        update: dict[str, Any] = {"trial": None}
        if self.trial is None:
            update |= {"applied": None, "previous": None, "can_go_back": False}
        after = self.model_copy(update=update)
        report = Report(
            id=gone.id,
            digest=after.digest,
            state="rolled_back",
            reason=reason,
            faults=faults,
            at=now,
        )
        return after.model_copy(update={"report": report})

    def refused(
        self, name: str, reason: str, faults: tuple[dict[str, str], ...], now: float
    ) -> Standing:
        """Return it with a configuration told of as refused."""
        report = Report(
            id=name, digest=self.digest, state="rejected", reason=reason, faults=faults, at=now
        )
        return self.model_copy(update={"report": report})

    @property
    def digest(self) -> str:
        """Of what is in force, or would be if a trial failed."""
        return self.file if self.applied is None else self.applied.digest

    @property
    def in_force(self) -> Document | None:
        """What counts now; None: the operator's file."""
        return self.applied if self.trial is None else self.trial.document


def digest_of(tables: Mapping[str, Any]) -> str:
    """Return the digest of a configuration as written, comments and order aside: SHA-256, hex."""
    text = json.dumps(tables, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def merged(tables: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with a JSON merge patch (RFC 7396): tables merge, null takes away."""
    result = dict(tables)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            below = result.get(name)
            result[name] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[name] = value
    return result


class StandingFile:
    """The file. Blocks: read it before the loop runs, and write it in a thread.

    Args:
        directory: the box's state directory; it is made when something is written.

    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME

    def read(self) -> Standing:
        """Return what is remembered; a damaged file is set aside, and nothing is.

        Raises:
            PartFailed: it cannot be read.

        """
        try:
            return Standing.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Standing()
        except OSError as error:
            raise PartFailed(
                f"{self._path} cannot be read: {error.strerror}",
                hint="nobody knows whether another configuration than the file's is in force",
                reason="state_unreadable",
            ) from error
        except ValidationError:
            with contextlib.suppress(OSError):
                self._path.rename(self._path.with_suffix(".damaged"))
            return Standing()

    def write(self, standing: Standing) -> None:
        """Remember it: after this returns, a power cut changes nothing.

        Raises:
            OSError: it cannot be written; the file is as before.

        """
        directory = self._path.parent
        directory.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(standing.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
