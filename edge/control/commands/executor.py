"""The executor: judges a command, sees to it that it takes effect once, and remembers the reply.

::

    transport --bytes--> read > signature > known verb? > expired? > may it? > arguments
                                                                                  |
       reply <-- kept with its id <-- effect (one at a time) <-- begun, on disk <-'

A command of class ``read`` changes nothing, so it is answered without being remembered. Of any
other the id is on disk before its effect begins, and the reply before it is given. What was begun
when the process died is done again where that is the same as once, else told of as unknown.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge.config.control import ControlConfig
from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.audit import Quiet, entry_of
from edge.control.commands.box import CommandedBox
from edge.control.commands.effects import EFFECTS, iso
from edge.control.commands.envelope import (
    Command,
    Failed,
    Reply,
    command_of,
    failure,
    id_in,
    read_object,
)
from edge.control.commands.judge import Judge
from edge.control.commands.ledger import Ledger
from edge.control.commands.permissions import Caller
from edge.control.commands.signed import is_signed, opened
from edge.control.commands.table import Verb
from edge.errors import EdgeError, Fatal, PartFailed, TryLater
from edge.ops.redact_url import without_credentials

log = logging.getLogger(__name__)

Say = Callable[[Reply], None]
"""Told of progress, and of the end where it came after ``wait``."""

MOST_WAITING = 16
"""Commands that may stand in line behind one that works."""


@dataclass(slots=True)
class _Run:
    """A command that is under way."""

    command: Command
    verb: Verb
    args: take.Args
    caller: Caller
    key: str
    expires: float
    listeners: list[Say] = field(default_factory=list)
    newest: Reply | None = None
    task: asyncio.Task[Reply] | None = None
    #: the last reply, for those that come with the same id meanwhile
    answer: asyncio.Future[Reply] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def end(self, reply: Reply | None) -> None:
        """Answer those that wait for the last reply; None: there will be none."""
        if self.answer.done():
            return
        if reply is None:
            self.answer.cancel()
        else:
            self.answer.set_result(reply)


class Executor:
    """Carries commands out. All of it happens on the loop.

    Args:
        box: what commands are about.
        ledger: remembers them.
        config: ``[control]``.
        address: this box, ``site/node``.
        clock: seconds since the epoch.

    Raises:
        Fatal: ``config`` names a verb or class that there is not.

    """

    def __init__(
        self,
        box: CommandedBox,
        ledger: Ledger,
        config: ControlConfig,
        *,
        address: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._box, self._ledger, self._clock = box, ledger, clock
        self._judge = Judge(config, address, clock)
        self._runs: dict[str, _Run] = {}
        self._turn = asyncio.Lock()
        self._quiet = Quiet()

    async def handle(
        self,
        body: bytes,
        caller: Caller,
        *,
        verb: str = "",
        say: Say | None = None,
        wait: float | None = None,
    ) -> Reply:
        """Carry out a command as it came: an envelope, or a signed one. Never raises for a bad one.

        Args:
            body: JSON.
            caller: who sent it.
            verb: as its address says; empty: the envelope says it.
            say: told of progress; and of the end, where that came after ``wait``.
            wait: seconds after which the answer is ``accepted`` while it goes on; None: any time.

        """
        given: Mapping[str, Any] = {}
        try:
            given, key = read_object(body), ""
            if is_signed(given):
                key, given = opened(given, self._judge.keys)
            command = command_of(given, verb)
        except Failed as error:
            reply = await self._refused(error, None, caller, verb)
            return replace(reply, id=id_in(given))
        return await self.execute(command, caller, key=key, say=say, wait=wait)

    async def execute(
        self,
        command: Command,
        caller: Caller,
        *,
        key: str = "",
        say: Say | None = None,
        wait: float | None = None,
    ) -> Reply:
        """Carry out a command that was read; see ``handle``. ``key``: who signed it."""
        try:
            verb, args, expires = self._judge.judged(command, caller, key)
        except Failed as error:
            return await self._refused(error, command, caller, command.verb)
        run = _Run(command, verb, args, caller, key, expires)
        if run.verb.kind == "read":
            known = self._expired(run) or self._busy(run, command)
            if known is not None:
                await self._note(run, known)
        else:
            known = await self._known(run, say, wait)
        return known or await self._carried(run, say, wait)

    async def reply_of(self, command_id: str) -> Reply | None:
        """Return how a command fares that came before; None: nobody knows that id."""
        run = self._runs.get(command_id)
        if run is not None:
            return run.newest or self._reply(run, status="accepted")
        known = await self._ledger.reply_of(command_id)
        if known is None:
            return None
        return known.reply or failure(_unknown(), Command(id=command_id, verb=""), self._clock())

    async def close(self) -> None:
        """End what is under way; what was begun is told of as unknown, or done again."""
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- what came before

    async def _known(self, run: _Run, say: Say | None, wait: float | None) -> Reply | None:
        """Return the reply of a command that came before; None: it is to be carried out."""
        command = run.command
        before = self._runs.get(command.id)
        if before is not None:
            return await self._joined(before, command, say, wait)
        busy = self._busy(run, command)
        if busy is not None and await self._ledger.reply_of(command.id) is None:
            return busy
        self._runs[command.id] = run  # from here on a second one sees it
        try:
            known = await self._begun(run)
        except (Failed, TryLater, PartFailed) as error:
            known = failure(_failed(error), command, self._clock())
        except asyncio.CancelledError:
            run.end(None)
            raise
        finally:
            self._runs.pop(command.id, None)
        if known is not None:
            run.end(known)
        return known

    async def _joined(
        self, before: _Run, command: Command, say: Say | None, wait: float | None
    ) -> Reply:
        """Return how a command fares that is under way, for one that came with the same id."""
        if before.command.digest != command.digest:
            return failure(_reused(), command, self._clock())
        if say is not None:
            before.listeners.append(say)
        done, _ = await asyncio.wait({before.answer}, timeout=wait)
        if done and not before.answer.cancelled():
            return replace(before.answer.result(), repeated=True)
        return replace(before.newest or self._reply(before, status="accepted"), repeated=True)

    async def _begun(self, run: _Run) -> Reply | None:
        command, expired = run.command, self._expired(run)
        if expired is None:
            entry = self._entry(run, "begun")
            known = await self._ledger.begin(command, run.expires, entry)
        else:  # no id is remembered for what is not carried out
            known = await self._ledger.reply_of(command.id)
            if known is None:
                await self._told(run, expired)
        if known is None:
            return expired
        if known.digest != command.digest:
            return failure(_reused(), command, self._clock())
        if known.reply is not None:
            return known.reply
        if run.verb.idempotent and expired is None:
            log.warning("command %s (%s) was begun before: again", command.id, command.verb)
            return None
        reply = failure(_unknown(), command, self._clock())
        await self._ledger.end(reply, self._entry(run, "unknown"))
        return reply

    def _expired(self, run: _Run) -> Reply | None:
        if self._clock() <= run.expires:
            return None
        words = f"it expired at {iso(run.expires)}, by this box's clock"
        return self._reply(run, status="expired", message=words)

    def _busy(self, run: _Run, command: Command) -> Reply | None:
        same = any(one.verb is run.verb for one in self._runs.values())
        if not (run.verb.long and same) and len(self._runs) <= MOST_WAITING:
            return None
        what = f"another {run.verb.name} goes on" if run.verb.long and same else "too many commands"
        return failure(Failed("busy", what, hint="try again in a while"), command, self._clock())

    # -- carrying out

    async def _carried(self, run: _Run, say: Say | None, wait: float | None) -> Reply:
        # a read has its id to itself: it may come again, and is answered anew
        identity = run.command.id if run.verb.kind != "read" else f"read {secrets.token_hex(8)}"
        task = asyncio.create_task(self._work(run), name=f"command {run.verb.name}")
        self._runs[identity], run.task = run, task
        task.add_done_callback(lambda _: self._runs.pop(identity, None))
        task.add_done_callback(lambda task: run.end(None if task.cancelled() else task.result()))
        if say is not None:
            run.listeners.append(say)
        done, _ = await asyncio.wait({task}, timeout=wait)
        if done:
            return task.result()
        if say is not None:
            task.add_done_callback(lambda task: None if task.cancelled() else say(task.result()))
        return self._reply(run, status="accepted", message="it goes on")

    async def _work(self, run: _Run) -> Reply:
        if run.verb.last:
            # nobody is left to keep the reply afterwards
            reply = self._reply(run, message="it is done as soon as this is answered")
            await self._note(run, reply)
            self._finished(run, await self._effect(run))
            return reply
        if run.verb.kind == "read" or run.verb.long:
            reply = self._finished(run, await self._effect(run))
        else:
            async with self._turn:
                reply = self._finished(run, await self._effect(run))
        await self._note(run, reply)
        return reply

    async def _effect(self, run: _Run) -> give.Result | BaseException:
        """Return what the verb made, or what it raised."""

        def tell(words: str) -> None:
            run.newest = self._reply(run, status="progress", message=words)
            for say in run.listeners:
                say(run.newest)

        work = asyncio.create_task(self._call(run, tell), name=f"effect {run.verb.name}")
        try:
            await asyncio.wait({work}, timeout=run.verb.limit)
        finally:
            late = not work.done()
            if late:
                work.cancel()
                await asyncio.wait({work})
        if late:
            return Failed("timeout", f"it was not done within {run.verb.limit:g} s")
        if work.cancelled():
            return Failed("internal", "it was interrupted")
        return work.exception() or work.result()

    async def _call(self, run: _Run, tell: Callable[[str], None]) -> give.Result:
        match run.args:
            case take.Recent():
                entries = await self._ledger.recent(run.args.limit)
                return give.Audit(entries=[{**one, "at": iso(one["at"])} for one in entries])
            case _ if run.verb.name == "audit.verify":
                found = await self._ledger.verify()
                log.info("the audit log has %d entries, head %s", found.entries, found.head)
                return give.Verified(
                    whole=found.whole, entries=found.entries, head=found.head, fault=found.fault
                )
        if isinstance(run.args, take.UseModel) and run.caller.channel != "local":
            await asyncio.to_thread(self._box.check_model, run.args.model)
        return await EFFECTS[run.verb.name](self._box, run.args, tell)

    def _finished(self, run: _Run, made: give.Result | BaseException) -> Reply:
        if isinstance(made, give.Result):
            return self._reply(run, data=made.model_dump(mode="json"))
        if not isinstance(made, EdgeError):
            log.error("command %s met a bug", run.verb.name, exc_info=made)
            made = Failed("internal", "a bug in Edge; see the log")
        return failure(_failed(made), run.command, self._clock())

    # -- replies and the audit log

    def _reply(self, run: _Run, **facts: Any) -> Reply:
        return Reply(id=run.command.id, verb=run.verb.name, at=self._clock(), **facts)

    async def _note(self, run: _Run, reply: Reply) -> None:
        """Keep a reply, and write it into the audit log; a full disk does not unsay it."""
        try:
            if run.verb.kind == "read":
                await self._told(run, reply)
            else:
                await self._ledger.end(reply, self._entry(run, reply.status, reply.code))
        except (TryLater, PartFailed) as error:
            log.warning("the reply to command %s is not remembered: %s", run.command.id, error)

    async def _told(self, run: _Run, reply: Reply) -> None:
        if self._quiet.passes(self._clock()):
            entry = self._entry(run, reply.status, reply.code)
            await self._ledger.write({**entry, **self._quiet.unwritten()})

    async def _refused(
        self, error: Failed, command: Command | None, caller: Caller, verb: str
    ) -> Reply:
        reply = failure(error, command, self._clock())
        reply = replace(reply, verb=reply.verb or verb)
        if self._quiet.passes(self._clock()):
            entry = entry_of(command, caller, "", "refused", error.code)
            entry |= {"verb": reply.verb[:64], **self._quiet.unwritten()}
            try:
                await self._ledger.write(entry)
            except (TryLater, PartFailed) as failed:
                log.warning("a refused command is not in the audit log: %s", failed)
        return reply

    def _entry(self, run: _Run, outcome: str, code: str = "") -> Mapping[str, Any]:
        return entry_of(run.command, run.caller, run.key, outcome, code)


def _failed(error: EdgeError) -> Failed:
    """Translate an error of the house."""
    if isinstance(error, Failed):
        return error
    words = without_credentials(str(error))
    if isinstance(error, TryLater):
        return Failed("busy", words, hint=error.hint)
    if isinstance(error, PartFailed | Fatal):
        return Failed("dependency_down", words, hint=error.hint)
    return Failed("bad_request", words, hint=error.hint)


def _unknown() -> Failed:
    words = "unknown outcome: it was begun, and then the box stopped"
    return Failed("internal", words, hint="look how things are, then send it with a new id")


def _reused() -> Failed:
    return Failed("conflict", "another command had this id", hint="give each an id of its own")
