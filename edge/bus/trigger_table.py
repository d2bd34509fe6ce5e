"""The triggers there are: those of the file, those set at run time, those built in.

Of one name the file's comes first, then the one set at run time. One that is shadowed is kept, and
is back when the other goes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from edge.bus.triggers import MakeForward, Plan, Trigger, link
from edge.contracts import Handler
from edge.errors import Rejected

ORIGINS = ("config", "api", "built-in")
MOST_TRIGGERS = 1000
"""Triggers that may be set at run time."""

Plans = Mapping[str, Plan]


@dataclass(frozen=True, slots=True)
class Table:
    """Plans by origin and name; changed by making another one."""

    plans: Mapping[str, Plans] = field(default_factory=lambda: {origin: {} for origin in ORIGINS})

    def with_all(self, origin: str, plans: Plans) -> Table:
        """Return a table in which all of one origin are ``plans``."""
        return Table({**self.plans, origin: plans})

    def with_one(self, plan: Plan) -> Table:
        """Return a table with one more, or another one of that name and origin.

        Raises:
            Rejected: ``bad_trigger``: there are too many.

        """
        plans = {**self.plans[plan.origin], plan.name: plan}
        if len(plans) > MOST_TRIGGERS:
            raise Rejected(f"expected at most {MOST_TRIGGERS} triggers", reason="bad_trigger")
        return self.with_all(plan.origin, plans)

    def without(self, origin: str, name: str) -> Table:
        """Return a table without one."""
        rest = {other: plan for other, plan in self.plans[origin].items() if other != name}
        return self.with_all(origin, rest)

    def in_force(self) -> dict[str, Plan]:
        """Return who delivers, by name: those of the file first, each with its ``/dead`` one."""
        found: dict[str, Plan] = {}
        for origin in ORIGINS:
            for name, plan in self.plans[origin].items():
                if name in found:
                    continue
                found[name] = plan
                if plan.dead is not None:
                    found[plan.dead.name] = plan.dead
        return found


@dataclass(slots=True)
class Linker:
    """Makes triggers of plans with the handlers there are."""

    handlers: Mapping[str, Handler]
    make_forward: MakeForward

    def link(self, plan: Plan) -> Trigger:
        """Return the trigger of a plan."""
        return link(plan, self.handlers, self.make_forward)

    def is_stale(self, trigger: Trigger) -> bool:
        """Tell whether a trigger is linked to other handlers than there are now."""
        # of one that could not be linked there are none, and it may well be possible now
        subscribers = zip(trigger.plan.subscribers, trigger.subscribers.each, strict=False)
        return bool(trigger.fault) or any(
            config.ref and self.handlers.get(config.ref) is not one.handler
            for config, one in subscribers
        )

    def replace(self, handlers: Mapping[str, Handler]) -> Collection[Handler]:
        """Take other handlers; return those that are no longer among them."""
        old, self.handlers = self.handlers, dict(handlers)
        kept = {id(handler) for handler in self.handlers.values()}
        return [handler for handler in old.values() if id(handler) not in kept]
