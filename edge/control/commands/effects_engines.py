"""Verbs of the engines: build one, stop that, let another one look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.box import CommandedBox, Tell
from edge.control.commands.envelope import Code, Failed
from edge.errors import Rejected

_CODES: Mapping[str, Code] = {
    "no_gpu": "unsupported",
    "no_library": "unsupported",
    "no_model": "precondition_failed",
    "busy": "busy",
    "unknown": "not_found",
    "missing": "unsupported",
}


async def rebuild(box: CommandedBox, _: take.Nothing, tell: Tell) -> give.Done:
    """Build the wanted model's engine anew, and wait until it looks or was found unfit."""
    with _translated():
        made = await box.rebuild_engine(tell)
    if made.state != "done":
        raise Failed("dependency_down", made.reason or f"the build is {made.state}", hint=made.hint)
    now = box.engines.status()
    built = f"the engine of {made.model} is built, in {made.seconds:.0f} s"
    return give.Done(message=f"{built}; {now.serving or 'none'} looks: {now.why}")


async def build(box: CommandedBox, args: take.BuildEngine, _: Tell) -> give.Building:
    """Begin to build."""
    with _translated():
        begun = await box.engines.build(args.model, force=args.force)
    return give.Building(build=asdict(begun))


async def cancel(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Cancelled:
    """Stop building."""
    return give.Cancelled(cancelled=await box.engines.cancel())


async def use(box: CommandedBox, args: take.UseEngine, tell: Tell) -> give.Serving:
    """Let another engine look."""
    tell("it is tried; the one before looks meanwhile")
    with _translated():
        now = await box.engines.use(args.engine)
    return give.Serving(
        engine=now.serving, model=now.model, safe_mode=now.serving in {"", "builtin"}
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Raise a refusal as Failed; its own reason is in the reply's data."""
    try:
        yield
    except Rejected as error:
        code = _CODES.get(error.reason, "precondition_failed")
        raise Failed(code, str(error), hint=error.hint, data={"reason": error.reason}) from error
