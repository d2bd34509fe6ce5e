"""The ratchet: from afar privacy can be raised and never lowered.

A floor lies under what the configuration says: the stricter of both counts, for each key by itself.
It is kept across restarts. blur < cells < fill; a larger margin; a lower threshold; more blackout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from edge.config.privacy import Margin, Method, Point, Policy
from edge.control.commands.arguments import Args, Raise, UseEngine
from edge.control.commands.envelope import Failed

STRENGTH: Mapping[Method, int] = {"blur": 0, "cells": 1, "fill": 2}
SIDES = ("top", "right", "bottom", "left")
_NONE = Margin(top=0, right=0, bottom=0, left=0)
MOST_POLYGONS = 256

Polygons = tuple[tuple[Point, ...], ...]


class SourceFloor(BaseModel):
    """What holds for one source, or for all, at least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "blur"
    margin: Margin = _NONE
    blackout: Polygons = ()

    def over(self, other: SourceFloor) -> SourceFloor:
        """Return the stricter of both, for each key."""
        return SourceFloor(
            method=max(self.method, other.method, key=STRENGTH.__getitem__),
            margin=larger(self.margin, other.margin),
            blackout=both(self.blackout, other.blackout),
        )


class Floor(BaseModel):
    """What holds at least, whatever the file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: highest threshold of detection, whatever the file or the model says
    threshold: float | None = None
    #: by source; ``""``: all of them
    sources: dict[str, SourceFloor] = {}

    def under(self, policy: Policy, source: str) -> Policy:
        """Return a source's policy, raised as far as need be."""
        own = self.sources.get("", SourceFloor()).over(self.sources.get(source, SourceFloor()))
        return replace(
            policy,
            method=max(policy.method, own.method, key=STRENGTH.__getitem__),
            margin=larger(policy.margin, own.margin),
            blackout=both(policy.blackout, own.blackout),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What counts now, for those whom a command would raise."""

    #: by source, every one that the command is about
    policies: Mapping[str, Policy] = field(default_factory=dict)
    #: the engine's; None: there is none now
    threshold: float | None = None


def raised(floor: Floor, wanted: Raise, now: InForce) -> Floor:
    """Return the floor after a command.

    Raises:
        Failed: ``forbidden_remote``: something would be lower than it is now; ``bad_request``.

    """
    _check(wanted)
    lower = _lower(wanted, now)
    if lower:
        raise Failed(
            "forbidden_remote",
            f"this would lower {', '.join(lower)}",
            hint="privacy can only be raised from afar; lower it in the file, on the box itself",
        )
    old = floor.sources.get(wanted.source, SourceFloor())
    more = SourceFloor(
        method=wanted.method or "blur", margin=wanted.margin or _NONE, blackout=wanted.blackout
    )
    fresh = old.over(more)
    if len(fresh.blackout) > MOST_POLYGONS:
        raise Failed("bad_request", f"blackout: at most {MOST_POLYGONS} polygons")
    thresholds = [one for one in (floor.threshold, wanted.threshold) if one is not None]
    return Floor(
        threshold=min(thresholds, default=None), sources={**floor.sources, wanted.source: fresh}
    )


def check_from_afar(args: Args) -> None:
    """See that a command lowers nothing by its words alone.

    Raises:
        Failed: ``forbidden_remote``: safe mode covers what moves, and overlooks who stands still
            for long; every other engine has to see what the model sees before it serves.

    """
    if isinstance(args, UseEngine) and args.engine == "builtin":
        raise Failed(
            "forbidden_remote",
            "safe mode instead of a trained model would lower privacy",
            hint="edge ctl engine.use engine=builtin, on the box itself",
        )


def weaker(policy: Policy, than: Policy) -> list[str]:
    """Return in what a policy covers less than another one; empty: in nothing."""
    found = []
    if STRENGTH[policy.method] < STRENGTH[than.method]:
        found.append("method")
    found += [
        f"margin.{side}"
        for side in SIDES
        if getattr(policy.margin, side) < getattr(than.margin, side)
    ]
    if not set(than.blackout) <= set(policy.blackout):
        found.append("blackout")
    return found


def larger(one: Margin, other: Margin) -> Margin:
    """Return the larger of two margins on each side."""
    return Margin(**{side: max(getattr(one, side), getattr(other, side)) for side in SIDES})


def both(one: Polygons, other: Polygons) -> Polygons:
    """Return the polygons of both, each once."""
    return tuple(dict.fromkeys((*one, *other)))


def _check(wanted: Raise) -> None:
    if not (wanted.model_fields_set - {"source"}):
        raise Failed("bad_request", "nothing to raise: name method, margin, threshold or blackout")
    if wanted.blackout and not wanted.source:
        raise Failed("bad_request", "blackout: expected the source whose pictures it is for")
    if any(len(polygon) < 3 for polygon in wanted.blackout):
        raise Failed("bad_request", "blackout: a polygon has three points at least")
    if wanted.threshold is not None and wanted.source:
        raise Failed("bad_request", "threshold: it is the same for all sources; leave source out")


def _lower(wanted: Raise, now: InForce) -> list[str]:
    """Return what of a command is lower than what counts now for each of those it is about."""
    found, policies = [], list(now.policies.values())
    if wanted.method is not None and policies:
        weakest = min(STRENGTH[policy.method] for policy in policies)
        found += ["method"] if STRENGTH[wanted.method] < weakest else []
    if wanted.margin is not None and policies:
        for side in SIDES:
            least = min(getattr(policy.margin, side) for policy in policies)
            found += [f"margin.{side}"] if getattr(wanted.margin, side) < least else []
    if wanted.threshold is not None and now.threshold is not None:
        found += ["threshold"] if wanted.threshold > now.threshold else []
    return found


def floor_of(kept: Any) -> Floor:
    """Read a floor that was kept; None: there is none.

    Raises:
        ValueError: it is damaged.

    """
    return Floor() if kept is None else Floor.model_validate(kept)
