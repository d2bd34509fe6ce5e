"""What each verb does: functions over the box, one for each row of the table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.box import CommandedBox, Tell
from edge.control.commands.effects_engines import build, cancel, rebuild, use
from edge.control.commands.effects_privacy import raise_privacy, release
from edge.control.commands.effects_sources import (
    add,
    disable,
    enable,
    remove,
    snapshot,
    test,
)
from edge.control.commands.envelope import Failed
from edge.traffic import Letter, LetterQuery

Effect = Callable[[CommandedBox, Any, Tell], Awaitable[give.Result]]


async def _ping(box: CommandedBox, _: take.Nothing, __: Tell) -> give.About:
    return box.about()


async def _status(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Facts:
    return give.Facts(facts=dict(box.status()))


async def _pause(box: CommandedBox, args: take.Pause, _: Tell) -> give.Sync:
    box.sync.pause(args.seconds)
    return _synced(box)


async def _resume(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Sync:
    box.sync.resume()
    return _synced(box)


async def _now(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Sync:
    if box.sync.paused:
        raise Failed("precondition_failed", "delivery is paused", hint="sync.resume")
    box.sync.now()
    return _synced(box)


def _synced(box: CommandedBox) -> give.Sync:
    until = box.sync.until
    return give.Sync(
        paused=box.sync.paused,
        until=None if until is None else iso(until),
        waiting=int(box.spool()["outbox"]["waiting"]),
    )


async def _spool(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Facts:
    return give.Facts(facts=dict(box.spool()))


# -- dead letters


async def _list(box: CommandedBox, args: take.ListLetters, _: Tell) -> give.Letters:
    query = replace(_query(args), limit=args.limit + 1, after=args.after)
    found = await box.letters.letters(query)
    shown = found[: args.limit]
    more = shown[-1].id if len(found) > args.limit else None
    return give.Letters(letters=[_letter(one) for one in shown], next=more)


async def _replay(box: CommandedBox, args: take.Letters, _: Tell) -> give.Count:
    return give.Count(count=await box.letters.replay(_order(args)))


async def _drop(box: CommandedBox, args: take.Letters, _: Tell) -> give.Count:
    return give.Count(count=await box.letters.drop(_order(args)))


def _query(args: take.LetterFilter) -> LetterQuery:
    return LetterQuery(
        ids=args.ids,
        trigger=args.trigger,
        reason=args.reason,
        type=args.type,
        source=args.source,
        subject=args.subject,
        since=None if args.since is None else args.since.timestamp(),
        until=None if args.until is None else args.until.timestamp(),
    )


def _order(args: take.Letters) -> LetterQuery:
    query = _query(args)
    if not args.all and query == LetterQuery():
        raise Failed(
            "bad_request",
            "this would be every dead letter",
            hint='name some (ids, trigger, reason …), or say "all": true',
        )
    return replace(query, limit=args.limit)


def _letter(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "attributes": dict(letter.attributes),
        "trigger": letter.trigger,
        "reason": letter.reason,
        "error": letter.error,
        "died_at": iso(letter.died_at),
        "bytes": letter.bytes,
        "tries": letter.tries,
    }


# -- configuration, models, the rest


async def _get(box: CommandedBox, args: take.Get, _: Tell) -> give.Facts:
    shown = dict(box.config())
    if not args.section:
        return give.Facts(facts=shown)
    if args.section not in shown:
        raise Failed("not_found", f"no section {args.section}", hint=", ".join(shown))
    return give.Facts(facts={args.section: shown[args.section]})


async def _validate(box: CommandedBox, args: take.Toml, _: Tell) -> give.Validated:
    faults, restart = await asyncio.to_thread(box.validate, args.toml)
    told = [dict(fault) for fault in faults]
    return give.Validated(ok=not told, faults=told, restart=list(restart))


async def _apply(box: CommandedBox, args: take.Apply, _: Tell) -> give.Applied:
    return await box.desired.apply(args)


async def _report(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Reported:
    return box.desired.told()


async def _rollback(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Applied:
    return await box.desired.rollback()


async def _models(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Models:
    return give.Models(models=list(await asyncio.to_thread(box.models)))


async def _pull(box: CommandedBox, args: take.Model, tell: Tell) -> give.Models:
    await box.pull_model(args.model, tell)
    return give.Models(models=list(await asyncio.to_thread(box.models)))


async def _use(box: CommandedBox, args: take.UseModel, tell: Tell) -> give.Serving:
    found = await asyncio.to_thread(box.models)
    if not any(one.id == args.model and not one.fault for one in found):
        ids = ", ".join(one.id for one in found if not one.fault) or "none"
        raise Failed(
            "precondition_failed", f"{args.model} is not installed: {ids}", hint="model.pull"
        )
    tell("the next engine is opened; the one before goes on meanwhile")
    return await box.use_model(args.model)


async def _level(box: CommandedBox, args: take.Level, _: Tell) -> give.Done:
    box.set_log_level(args.level)
    return give.Done(message=f"logging from {args.level} on, until the next restart")


async def _selftest(box: CommandedBox, _: take.Nothing, __: Tell) -> give.SelfTested:
    return await box.selftest()


async def _bundle(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Bundle:
    try:
        return await box.bundle()
    except OSError as error:
        raise Failed("dependency_down", f"it cannot be written: {error.strerror}") from error


async def _restart(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Done:
    box.restart()
    return give.Done(message="stopping; the service manager starts Edge again")


def iso(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


EFFECTS: Mapping[str, Effect] = {
    "ping": _ping,
    "status.get": _status,
    "source.add": add,
    "source.enable": enable,
    "source.disable": disable,
    "source.remove": remove,
    "source.snapshot": snapshot,
    "source.test": test,
    "privacy.raise": raise_privacy,
    "privacy.release": release,
    "privacy.selftest": _selftest,
    "sync.pause": _pause,
    "sync.resume": _resume,
    "sync.now": _now,
    "spool.stats": _spool,
    "dlq.list": _list,
    "dlq.replay": _replay,
    "dlq.drop": _drop,
    "config.get": _get,
    "config.validate": _validate,
    "config.apply": _apply,
    "config.report": _report,
    "config.rollback": _rollback,
    "model.ls": _models,
    "model.pull": _pull,
    "model.use": _use,
    "engine.rebuild": rebuild,
    "engine.build": build,
    "engine.cancel": cancel,
    "engine.use": use,
    "log.level": _level,
    "bundle.create": _bundle,
    "service.restart": _restart,
}
"""Every verb's effect, but the audit log's, which the executor answers itself."""
