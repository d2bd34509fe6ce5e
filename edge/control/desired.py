"""Desired configuration: on probation first; it stays only if the box is as well as before.

::

    wanted --> faults? --rejected--> reported
       |  no
    on disk --> live, or a fresh start --> cameras, engine, store, broker as before?
                                             |  yes, for a while      | no, in time
                                          applied                rolled_back, by itself

What is on probation is on disk before it counts, with its deadline and its count of starts: a box
that is killed, cut off or dies of it goes back all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.envelope import Failed
from edge.control.desired_box import Beginning, ConfiguredBox, Examined
from edge.control.desired_state import (
    GRACE_S,
    Document,
    Report,
    Standing,
    Trial,
    Wanted,
    digest_of,
    merged,
)
from edge.errors import Fatal

log = logging.getLogger(__name__)

SETTLED_S = 10.0
"""All must be well for so long, without a break, before a configuration stays."""
LOOK_S = 0.25
ANSWERED_S = 0.5
"""Seconds between an answer and the restart: it has to be on its way."""
MOST_FAULTS = 50


class Desired:
    """The configuration of a box as somebody far away sees it.

    Args:
        box: whose it is.
        beginning: what it was started with; None: there is no file, so nothing can be changed.
        probation: seconds.
        clock: seconds since the epoch.

    Attributes:
        changed: told of each new report.

    """

    def __init__(
        self,
        box: ConfiguredBox,
        beginning: Beginning | None,
        *,
        probation: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._box, self._probation, self._clock = box, probation, clock
        self._file = None if beginning is None else beginning.file
        self._tables = {} if beginning is None else beginning.tables
        self.standing = Standing() if beginning is None else beginning.standing
        #: the trial that this process was started with: there is nothing to put into force
        self._started_with = self.standing.trial
        self._candidate: Examined | None = None
        self._proven = ""
        self._wake = asyncio.Event()
        #: what asks for the configuration that is being looked at: remembered with what becomes of
        #: it, so that it is taken up once
        self.wish: Wanted | None = None
        #: the box stops: nothing is judged any more
        self.closing = False
        self.changed: list[Callable[[], None]] = []

    # -- what is told

    @property
    def report(self) -> Report:
        """What became of the newest configuration that was wanted."""
        return self.standing.report

    def told(self) -> give.Reported:
        """Return the report as the verb ``config.report`` and ``config/reported`` tell it."""
        report = self.report
        return give.Reported(
            id=report.id,
            digest=report.digest,
            state=report.state,
            reason=report.reason,
            faults=[dict(one) for one in report.faults],
            at=_iso(report.at) if report.at else None,
            until=None if report.until is None else _iso(report.until),
            file=self.standing.in_force is None,
        )

    @property
    def tables(self) -> Mapping[str, Any]:
        """The configuration in force as written, secrets by reference."""
        document = self.standing.in_force
        return self._tables if document is None else document.tables

    @property
    def file_tables(self) -> Mapping[str, Any]:
        """The operator's file as written."""
        return self._tables

    def proven(self, report: Report) -> None:
        """The broker has acknowledged a report: it can be reached with what is in force."""
        self._proven = report.digest

    # -- what is asked

    async def apply(self, wanted: take.Apply) -> give.Applied:
        """Put a configuration on probation; return as soon as it is on disk.

        Raises:
            Failed: it has faults, lowers privacy, or another one is on probation.

        """
        self._may_begin()
        name = wanted.id
        try:
            tables = self._wanted_tables(wanted)
            digest = digest_of(tables)
            name = name or digest[:12]
            if digest == self.standing.digest:
                return await self._already(name)
            found = await asyncio.to_thread(self._box.examine, tables)
            _refuse(found)
        except Failed as error:
            faults = tuple(getattr(error, "faults", ()))
            await self._save(self.standing.refused(name, str(error), faults, self._clock()))
            raise
        return await self._try_out(Document(id=name, digest=digest, tables=tables), found)

    async def rollback(self) -> give.Applied:
        """Put the configuration before the one in force on probation.

        Raises:
            Failed: there is none, it lowers privacy, or one is on probation.

        """
        self._may_begin()
        if not self.standing.can_go_back:
            raise Failed("precondition_failed", "there is no configuration before this one")
        before = self.standing.previous
        tables = self._tables if before is None else before.tables
        found = await asyncio.to_thread(self._box.examine, tables)
        _refuse(found)
        return await self._try_out(before, found)

    async def reread(self, tables: Mapping[str, Any]) -> bool:
        """Take note of what the operator's file says now; True: it was changed, and counts again.

        What came from afar is set aside then, even on probation.
        """
        now = self.standing.for_file(digest_of(tables), self._clock())
        if now is self.standing:
            return False
        self._tables = tables
        await self._save(now)
        return True

    async def refuse(self, wish: Wanted, reason: str) -> None:
        """Tell of a desired configuration as refused, for what it is and not for what it says."""
        refused = self.standing.refused(wish.id, reason[:2000], (), self._clock())
        await self._save(refused.model_copy(update={"wanted": wish}))

    def _may_begin(self) -> None:
        if self._file is None:
            raise Failed(
                "unsupported", "this box has no configuration file", hint="start it with --config"
            )
        trial = self.standing.trial
        if trial is not None:
            raise Failed(
                "conflict",
                f"the configuration {trial.id!r} is on probation",
                hint="wait for its end: config/reported",
            )

    def _wanted_tables(self, wanted: take.Apply) -> dict[str, Any]:
        if bool(wanted.toml.strip()) == bool(wanted.patch):
            raise Failed("bad_request", "expected either toml or patch")
        if wanted.base not in ("", self.standing.digest):
            raise Failed(
                "conflict",
                f"it was made from {wanted.base!r}, but {self.standing.digest!r} is in force",
                hint="make it from that one",
            )
        if wanted.toml:
            return self._box.parsed(wanted.toml)
        return merged(self.tables, wanted.patch)

    async def _already(self, name: str) -> give.Applied:
        standing = self.standing
        report = Report(id=name, digest=standing.digest, state="applied", at=self._clock())
        await self._save(standing.model_copy(update={"report": report}))
        return give.Applied(
            id=name,
            state="applied",
            digest=standing.digest,
            restart=[],
            until=None,
            message="it is in force already",
        )

    async def _try_out(self, document: Document | None, found: Examined) -> give.Applied:
        now = self._clock()
        digest = self.standing.file if document is None else document.digest
        trial = Trial(
            document=document,
            id="file" if document is None else document.id,
            digest=digest,
            fine=self._box.fine(),
            began=now,
            deadline=now + self._probation + GRACE_S,
        )
        self._candidate = found
        await self._save(self.standing.tried(trial))
        self._wake.set()
        log.warning("configuration %s is on probation for %g s", trial.id, self._probation)
        return give.Applied(
            id=trial.id,
            state="probation",
            digest=digest,
            restart=list(found.restart),
            until=_iso(now + self._probation),
            message="config.report and the topic config/reported tell how it ends",
        )

    # -- probation

    async def run(self) -> None:
        """See every configuration through its probation; for ever."""
        while True:
            trial = self.standing.trial
            if trial is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._see_through(trial)

    async def _see_through(self, trial: Trial) -> None:
        reason = ""
        if trial != self._started_with and self._candidate is not None:
            self._proven = ""
            reason = await self._into_force(self._candidate)
        reason = reason or await self._probed(trial)
        if self.standing.trial != trial:
            return  # the operator's file was changed meanwhile, and counts
        self._candidate = None
        if not reason:
            log.warning("configuration %s stays", trial.id)
            await self._save(self.standing.kept(self._clock()))
            return
        log.error("configuration %s did not work, going back: %s", trial.id, reason)
        await self._save(self.standing.back(reason, self._clock()))
        found = await asyncio.to_thread(self._box.examine, self.tables, ours=True)
        if found.config is None or await self._into_force(found):
            await self._anew()

    async def _into_force(self, found: Examined) -> str:
        """Put a configuration into force; return why that failed, if it did."""
        if found.restart:
            log.warning("a fresh start for %s", ", ".join(found.restart))
            await self._anew()
        try:
            await self._box.take(found.config)
        except Fatal as error:
            return str(error)
        return ""

    async def _anew(self) -> None:
        """Have the box started again; does not return."""
        await asyncio.sleep(ANSWERED_S)
        self._box.restart()
        await asyncio.Event().wait()

    async def _probed(self, trial: Trial) -> str:
        """Watch until all was well for a while; return what was not when the time was over."""
        loop = asyncio.get_running_loop()
        end, settled = loop.time() + self._probation, min(SETTLED_S, self._probation / 4)
        since = None
        while self.standing.trial == trial:
            if self.closing:
                await asyncio.Event().wait()
            now, lacks = loop.time(), self._lacks(trial)
            since = None if lacks else (now if since is None else since)
            if since is not None and now - since >= settled:
                return ""
            if now >= end and lacks:
                return "; ".join(lacks)[:2000]
            await asyncio.sleep(LOOK_S)
        return ""

    def _lacks(self, trial: Trial) -> list[str]:
        found = list(self._box.lacks(trial.fine))
        if trial.fine.broker and self._proven != trial.digest:
            found.append("the broker acknowledged nothing")
        return found

    async def _save(self, standing: Standing) -> None:
        if self.wish is not None:
            standing = standing.model_copy(update={"wanted": self.wish})
        if self._file is not None:
            try:
                await asyncio.to_thread(self._file.write, standing)
            except OSError as error:
                words = f"what became of a configuration cannot be written: {error.strerror}"
                if standing.trial is not None and standing.trial != self.standing.trial:
                    raise Failed("dependency_down", words, hint="free space") from error
                log.error("%s", words)  # noqa: TRY400 (nobody needs its traceback)
        self.standing = standing
        for tell in self.changed:
            tell()


class _Faulty(Failed):
    """It has faults; all of them are named."""

    faults: tuple[dict[str, str], ...] = ()


def _refuse(found: Examined) -> None:
    if not found.faults:
        return
    words = "; ".join(f"{one['path']}: {one['message']}" for one in found.faults)
    many = len(found.faults)
    error = _Faulty(
        "forbidden_remote" if found.forbidden else "bad_request",
        f"{many} fault{'s' if many > 1 else ''}: {words}"[:4000],
        hint="change it in the file, on the box itself" if found.forbidden else "",
    )
    error.faults = tuple(dict(one) for one in found.faults[:MOST_FAULTS])
    raise error


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
