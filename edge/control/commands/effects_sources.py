"""Verbs of sources."""

from __future__ import annotations

import asyncio
import hashlib
import time

from pydantic import TypeAdapter, ValidationError

from edge.config.sources import SourceConfig
from edge.contracts import SourceStatus
from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.box import CommandedBox, Tell
from edge.control.commands.envelope import Failed
from edge.control.commands.ratchet import weaker
from edge.ops.redact_url import without_credentials

_SOURCE: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
_LOOK_S = 0.1


async def add(box: CommandedBox, args: take.AddSource, _: Tell) -> give.OfSource:
    """Add a source. It may not be covered less than the file says."""
    if args.name in box.sources.configs:
        raise Failed("conflict", f"there is a source {args.name}", hint="remove it first")
    config = _read(args)
    policy, least = box.file_policy(args.name, config)
    lower = weaker(policy, least)
    if lower:
        raise Failed(
            "forbidden_remote",
            f"this would cover less than the file says: {', '.join(lower)}",
            hint="privacy can only be raised from afar",
        )
    try:
        box.sources.add(args.name, config)
    except ValueError as error:
        raise Failed("conflict", str(error)) from error
    await box.sources_changed()
    return _of(box, args.name, "added until the next restart")


async def enable(box: CommandedBox, args: take.Source, _: Tell) -> give.OfSource:
    """Start a source that was disabled."""
    _known(box, args.name)
    box.sources.enable(args.name)
    return _of(box, args.name, "enabled")


async def disable(box: CommandedBox, args: take.Source, _: Tell) -> give.OfSource:
    """Stop a source but keep its place."""
    _known(box, args.name)
    await box.sources.disable(args.name)
    return _of(box, args.name, "disabled")


async def remove(box: CommandedBox, args: take.Source, _: Tell) -> give.OfSource:
    """Remove a source."""
    _known(box, args.name)
    await box.sources.remove(args.name)
    await box.sources_changed()
    words = "removed until the next restart"
    return give.OfSource(name=args.name, state="removed", message=words)


async def snapshot(box: CommandedBox, args: take.Source, _: Tell) -> give.Snapshot:
    """Name the newest redacted picture."""
    _known(box, args.name)
    parcel = box.latest(args.name)
    if parcel is None:
        raise Failed("not_found", f"{args.name} has no redacted picture yet", hint="source.test")
    return give.Snapshot(
        name=args.name,
        id=parcel.id,
        key=parcel.key,
        taken_at=parcel.taken_at.isoformat(timespec="milliseconds"),
        bytes=len(parcel.body),
        sha256=hashlib.sha256(parcel.body).hexdigest(),
        content_type=parcel.content_type,
    )


async def test(box: CommandedBox, args: take.TestSource, tell: Tell) -> give.Tested:
    """Wait for a picture that comes in from now on."""
    _known(box, args.name)
    if not box.sources.configs[args.name].enabled:
        raise Failed("precondition_failed", f"{args.name} is disabled", hint="source.enable")
    before, began = _status(box, args.name).last_picture_at, time.monotonic()
    told = ""
    while time.monotonic() - began < args.seconds:
        status = _status(box, args.name)
        if status.last_picture_at is not None and status.last_picture_at != before:
            return give.Tested(
                name=args.name,
                state=status.state,
                seconds=round(time.monotonic() - began, 3),
                fps=status.fps,
                size=None if status.size is None else list(status.size),
            )
        words = f"{status.state}: {status.reason}".rstrip(": ")
        if words != told:
            told = words
            tell(without_credentials(words))
        await asyncio.sleep(_LOOK_S)
    status = _status(box, args.name)
    words = f"no picture of {args.name} within {args.seconds:g} s: {status.state}"
    reason = f", {without_credentials(status.reason)}" if status.reason else ""
    raise Failed("dependency_down", words + reason, hint=status.hint)


def _read(args: take.AddSource) -> SourceConfig:
    given = args.model_dump(exclude={"name"})
    try:
        return _SOURCE.validate_python(given)
    except ValidationError as error:
        # Without the values: an address may carry a password.
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise Failed("bad_request", without_credentials("; ".join(faults))) from None


def _known(box: CommandedBox, name: str) -> None:
    if name not in box.sources.configs:
        known = ", ".join(box.sources.configs) or "none"
        raise Failed("not_found", f"no source {name}", hint=f"there are: {known}")


def _status(box: CommandedBox, name: str) -> SourceStatus:
    for status in box.sources.statuses():
        if status.name == name:
            return status
    raise Failed("conflict", f"{name} was removed meanwhile")


def _of(box: CommandedBox, name: str, words: str) -> give.OfSource:
    return give.OfSource(name=name, state=_status(box, name).state, message=words)
