"""Verbs of privacy: the ratchet, and the way back, which only the box itself has."""

from __future__ import annotations

from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.box import CommandedBox, Tell
from edge.control.commands.envelope import Failed
from edge.control.commands.ratchet import Floor, InForce, raised


async def raise_privacy(box: CommandedBox, args: take.Raise, _: Tell) -> give.Floor:
    """Cover more."""
    if args.source and args.source not in box.sources.configs:
        known = ", ".join(box.sources.configs) or "none"
        raise Failed("not_found", f"no source {args.source}", hint=f"there are: {known}")
    now = InForce(policies=box.policies(args.source), threshold=box.threshold())
    await box.set_floor(raised(box.floor, args, now))
    return _shown(box.floor)


async def release(box: CommandedBox, _: take.Nothing, __: Tell) -> give.Floor:
    """Give up what was raised."""
    await box.set_floor(Floor())
    return _shown(box.floor)


def _shown(floor: Floor) -> give.Floor:
    return give.Floor.model_validate(floor.model_dump(mode="json"))
