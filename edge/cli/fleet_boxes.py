"""What a broker keeps of every box, read as what strangers wrote: bounded, and nothing is trusted.

``edge/messages/presence.py`` has the forms. Whatever is missing or odd is left out of the picture
and said; a later version's box is shown by what this one knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from edge.cli.fleet_read import (
    MOST_ITEMS,
    count,
    items,
    moment,
    plain,
    read_object,
    seconds,
    table,
)
from edge.topics import EVERY_NODE, level

MOST_BOXES: Final = 100_000
_PARTS: Final = ("status", "info", "health")
_UP: Final = frozenset({"streaming", "finished"})
_STATES: Final = frozenset({"online", "offline", "stopped"})
_AWAY: Final = {
    "offline": ("gone without a word", "power, network, or the process"),
    "stopped": ("stopped in order", "systemctl start edge, on the box"),
    "stale": ("says that it is online, but no more how it is", "its clock, or its process"),
    "unknown": ("nobody says whether it is there", ""),
}
"""Why a box is not there, in words, and where to look."""
STALE_AFTER: Final = 3
"""So many times ``every`` without a ``health``, and it is stale."""


@dataclass(slots=True)
class Kept:
    """What the broker keeps of one box: JSON objects, empty where there is none."""

    parts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    #: parts that could not be read
    odd: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """How a box is, by what it last said."""

    #: what its topics begin with
    topic: str
    site: str
    node: str
    #: ``online``, ``offline`` (gone without a word), ``stopped``, ``stale`` (it says it is online,
    #: and no more) or ``unknown``
    state: str
    #: it is online, and says that it is well
    fine: bool
    #: since when; of ``offline`` and ``stale``: when it was last heard
    since: str
    #: seconds from then until now
    age: float | None
    version: str
    model: str
    #: ``ok``, ``degraded``, ``failed``; empty: it does not say
    health: str
    #: pictures that wait for the store, messages that wait for the broker
    waiting: int
    messages: int
    #: seconds that the oldest picture has waited
    oldest: float | None
    sources_up: int
    sources: int
    reason: str
    hint: str
    pages: Sequence[str] = ()
    odd: Sequence[str] = ()


class Fleet:
    """Every box that a broker tells of.

    Args:
        prefix: what all topics begin with.
        every: seconds between two ``health`` of a box.

    """

    def __init__(self, prefix: str, *, every: float = 60.0) -> None:
        self._start, self._every = prefix + "/", every
        self._boxes: dict[tuple[str, str], Kept] = {}
        self._topics: set[str] = set()
        #: messages that were left out because there were too many boxes or sources
        self.ignored = 0

    def filters(self, site: str = "", node: str = "") -> list[str]:
        """Return what to subscribe to, for all boxes, those of a site, or one."""
        base = f"{self._start}{level(site) if site else '+'}/{level(node) if node else '+'}"
        return [f"{base}/{part}" for part in _PARTS] + [f"{base}/source/+/status"]

    def put(self, topic: str, payload: bytes) -> bool:
        """Take a message; tell whether its topic is a new one."""
        place = self._place(topic)
        if place is None:
            return False
        key, part, source = place
        box = self._boxes.get(key)
        if box is None:
            if not payload:
                return False
            if len(self._boxes) >= MOST_BOXES:
                self.ignored += 1
                return False
            box = self._boxes[key] = Kept()
        self._keep(box, part, source, payload)
        if not (box.parts or box.sources or box.odd):
            del self._boxes[key]
        new = topic not in self._topics
        (self._topics.add if payload else self._topics.discard)(topic)
        return new

    def boxes(self, now: datetime | None = None) -> list[Box]:
        """Return how every box is, by site and node."""
        moment = now or datetime.now(UTC)
        return [
            _Reader(kept, self._every, moment).box(self._start, *key)
            for key, kept in sorted(self._boxes.items())
        ]

    def _place(self, topic: str) -> tuple[tuple[str, str], str, str] | None:
        levels = topic.removeprefix(self._start).split("/") if topic.startswith(self._start) else []
        if len(topic) > 1024 or len(levels) < 3 or levels[1] == EVERY_NODE:
            return None
        match levels[2:]:
            case [part] if part in _PARTS:
                return (levels[0], levels[1]), part, ""
            case ["source", source, "status"]:
                return (levels[0], levels[1]), "source", source
        return None

    def _keep(self, box: Kept, part: str, source: str, payload: bytes) -> None:
        where = box.sources if source else box.parts
        key, name = source or part, f"{part} {source}".strip()
        box.odd.discard(name)
        if not payload:
            where.pop(key, None)
            return
        if source and source not in box.sources and len(box.sources) >= MOST_ITEMS:
            self.ignored += 1
            return
        read = read_object(payload)
        if read is None:
            where.pop(key, None)
            if len(box.odd) < MOST_ITEMS:
                box.odd.add(name)
        else:
            where[key] = read


class _Reader:
    """Makes of what is kept how a box is."""

    def __init__(self, kept: Kept, every: float, now: datetime) -> None:
        self._kept, self._every, self._now = kept, every, now
        self._status, self._info, self._health = (kept.parts.get(part, {}) for part in _PARTS)
        self._said = moment(self._status.get("at"))
        # of the connection that is: an earlier one's health says nothing about this one
        current = count(self._health.get("session")) >= count(self._status.get("session"))
        self._heard = moment(self._health.get("at")) if current else None

    def box(self, start: str, site: str, node: str) -> Box:
        state = self._state()
        since = self._since(state)
        up, of, faults = self._sources()
        store, health = table(self._health.get("store")), plain(self._health.get("state"), 20)
        reason, hint = self._reason(state, faults)
        return Box(
            topic=f"{start}{site}/{node}",
            site=self._name("site", site),
            node=self._name("node", node),
            state=state,
            fine=state == "online" and health in {"", "ok"} and not self._kept.odd,
            since="" if since is None else since.isoformat(timespec="seconds"),
            age=None if since is None else max(0.0, (self._now - since).total_seconds()),
            version=plain(self._info.get("version"), 40),
            model=self._model(),
            health=health,
            waiting=count(store.get("waiting")),
            messages=count(table(self._health.get("upstream")).get("waiting")),
            oldest=seconds(store.get("oldest")),
            sources_up=up,
            sources=of,
            reason=reason,
            hint=hint,
            pages=[plain(one) for one in items(self._info.get("pages"))[:10]],
            odd=[plain(one) for one in sorted(self._kept.odd)[:10]],
        )

    def _name(self, key: str, shown: str) -> str:
        """Return a name as its box writes it; where that is another's, as the topic has it."""
        said = plain(self._info.get(key))
        return said if said and level(said) == shown else plain(shown)

    def _state(self) -> str:
        state = plain(self._status.get("state"), 20)
        if state not in _STATES:
            return "unknown"
        if state != "online":
            return state
        last = max((one for one in (self._said, self._heard) if one is not None), default=None)
        if last is None or (self._now - last).total_seconds() <= STALE_AFTER * self._every:
            return "online"
        return "stale"

    def _since(self, state: str) -> datetime | None:
        if state in {"offline", "stale"}:
            # a will has the time when the box connected
            last = moment(self._health.get("at"))
            return max((one for one in (self._said, last) if one is not None), default=None)
        return self._said

    def _model(self) -> str:
        engine = table(self._info.get("engine"))
        if engine.get("up") is False:
            return "none"
        name = plain(engine.get("model"), 60) or plain(engine.get("name"), 60)
        return f"{name} (safe mode)" if engine.get("safe_mode") is True else name

    def _sources(self) -> tuple[int, int, list[str]]:
        """Return how many are up, of how many, and what is wrong with the others."""
        configured = [plain(table(one).get("name")) for one in items(self._info.get("sources"))]
        names = {level(one) for one in configured if one} or self._kept.sources.keys()
        up, of = 0, 0
        faults: list[str] = []
        for name in sorted(names):
            source = self._kept.sources.get(name, {})
            state = plain(source.get("state"), 20)
            of += state != "disabled"
            up += state in _UP
            if state not in _UP | {"disabled", ""}:
                why = plain(source.get("reason"), 120)
                faults.append(f"{plain(source.get('name')) or plain(name)} {state}: {why}"[:200])
        return up, of, [one.rstrip(": ") for one in faults]

    def _reason(self, state: str, faults: Sequence[str]) -> tuple[str, str]:
        """Return why it is not well, in words, and what to do about it."""
        if self._kept.odd:
            odd = ", ".join(plain(one, 60) for one in sorted(self._kept.odd)[:5])
            return f"what it says is not readable: {odd}", "is it a box, and of which version?"
        if state in _AWAY:
            return _AWAY[state]
        if self._health.get("state") in {None, "", "ok"}:
            return "", ""
        reasons = [table(one) for one in items(self._health.get("reasons"))]
        words = [plain(one.get("text")) for one in reasons if plain(one.get("text"))]
        hints = [plain(one.get("hint")) for one in reasons if plain(one.get("hint"))]
        text = "; ".join([*words, *faults][:3]) or plain(self._health.get("text"))
        return text or "it does not say why", hints[0] if hints else ""
