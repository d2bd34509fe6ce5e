"""How the box is, as its broker is told: the page's facts in the words of ``messages.presence``."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.ops.machine import clock_synchronised, temperature
from edge.ops.metrics import counts_by
from edge.sinks.upstream.alarms import Trouble
from edge.sinks.upstream.presence import Look, SourceLook, moment, now
from edge.web.present import OVERALL
from edge.web.verdict import LIVE, Answer, Verdict, gpu_failed, judge
from edge.web.view import BoxStatus, Safe, Seeing

if TYPE_CHECKING:
    from edge.app.box import Box

MACHINE_EVERY = 15.0
"""Seconds between two looks at disk, clock and temperature."""
LOST_AFTER, SHUT_AFTER, ENGINE_AFTER = 60.0, 300.0, 30.0
"""Seconds that a source, the store, the engine may be away before that is an alarm."""
_PICTURES = ("redacted", "dropped", "withheld", "rejected")
_LOST = ("connecting", "stalled", "waiting", "failed")


class Facts:
    """Reads how the box is.

    Args:
        box: its view and its sources are there by the first ``look``.

    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._machine: dict[str, Any] = {}
        self._machine_at = float("-inf")

    def look(self) -> tuple[Look, list[Trouble]]:
        """Return how the box is now, and what of it is troubling."""
        status = self._box.view.status()
        verdict = judge(status)
        people = counts_by(self._box.metrics.people_covered, "source")
        machine = self._of_machine()
        answers = {name: _answer(verdict, name) for name in ("safe", "seeing", "sending")}
        look = Look(
            info=self._info(status),
            health=self._health(status, verdict, people) | answers | machine,
            mood=[
                verdict["overall"]["state"],
                *(one["state"] for one in answers.values()),
                news_of_build(status),
            ],
            sources={one["name"]: self._source(one, people) for one in status["seeing"]},
        )
        free = int(machine["disk"]["free"])
        return look, troubles(status, free, self._box.config.upstream.keep_free)

    def _info(self, status: BoxStatus) -> dict[str, Any]:
        box, info = status["box"], self._box.holder.info
        return {
            "site": box["site"],
            "node": box["node"],
            "version": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "engine": {
                "up": self._box.holder.up,
                "name": "" if info is None else info.name,
                "model": "" if info is None else info.model,
                "digest": "" if info is None else info.digest,
                "safe_mode": info is not None and info.safe_mode,
                **choice_of(status),
            },
            "sources": [{"name": one["name"], "kind": one["kind"]} for one in status["seeing"]],
            "pages": [self._box.page] if self._box.page else [],
            "started_at": moment(self._box.view.started),
            "boot": {"number": self._box.boots.number, "reason": self._box.boots.reason},
        }

    def _health(
        self, status: BoxStatus, verdict: Verdict, people: Mapping[str, int]
    ) -> dict[str, Any]:
        sending, state = status["sending"], verdict["overall"]["state"]
        metrics = self._box.metrics
        counters = (
            metrics.pictures_redacted,
            metrics.pictures_dropped,
            metrics.pictures_withheld,
            metrics.pictures_rejected,
        )
        totals = [counts_by(one, "").get("", 0) for one in counters]
        waiting = status.get("upstream")
        return {
            "at": now(),
            "uptime": round(status["box"]["uptime"], 1),
            "state": state,
            "text": OVERALL[state],
            "reasons": [dict(reason) for reason in verdict["overall"]["reasons"]],
            "pictures": {
                **dict(zip(_PICTURES, totals, strict=True)),
                "people": sum(people.values()),
            },
            "store": {
                "up": sending["up"],
                **_waiting(sending["waiting"], sending["bytes"], sending["oldest"]),
                "dead": sending["dead"],
            },
            "upstream": _waiting(0, 0, None)
            if waiting is None
            else _waiting(waiting["waiting"], waiting["bytes"], waiting["oldest"]),
            "events": {"waiting": sending["events"], "dead": sending["letters"]},
            "energy": self._box.energy.told(),
            **build_of(status),
        }

    def _source(self, source: Seeing, people: Mapping[str, int]) -> SourceLook:
        name = source["name"]
        last = source["last_picture_at"]
        seen = {} if last is None else {"last_picture_at": last}
        config = self._box.sources.configs[name]
        return SourceLook(
            status={
                "at": now(),
                "name": name,
                "kind": source["kind"],
                "state": source["state"],
                "reason": source["reason"],
                "hint": source["hint"],
                "fps": round(source["fps"], 2),
                **seen,
                "pictures": {
                    "redacted": source["redacted"],
                    "dropped": source["dropped"],
                    "withheld": source["withheld"],
                    "rejected": source["rejected"],
                    "people": people.get(name, 0),
                },
            },
            settings={"enabled": config.enabled, "method": self._box.policy_for(name).method},
            mood=source["state"],
        )

    def _of_machine(self) -> dict[str, Any]:
        clock = time.monotonic()
        if clock - self._machine_at >= MACHINE_EVERY:
            disk = shutil.disk_usage(self._box.spool.path.parent)
            degrees, synchronised = temperature(), clock_synchronised()
            self._machine = {"disk": {"free": disk.free, "total": disk.total}}
            if degrees is not None:
                self._machine["temperature"] = degrees
            if synchronised is not None:
                self._machine["clock_synchronised"] = synchronised
            self._machine_at = clock
        return self._machine


def troubles(status: BoxStatus, free: int, keep_free: int) -> list[Trouble]:
    """Return what of a box's state is troubling enough for an alarm, should it last."""
    found = [*_of_engine(status["safe"]), *_of_gpu(status), *_of_sources(status["seeing"])]
    sending = status["sending"]
    if not sending["up"]:
        words = f": {sending['reason']}" if sending["reason"] else ""
        found.append(
            Trouble(
                alarm="store_shut",
                text=f"The store takes no pictures{words}; {sending['waiting']} wait.",
                hint=sending["hint"],
                after=SHUT_AFTER,
            )
        )
    if free < keep_free:
        text = f"The disk is nearly full: {free // 2**20} MiB are free."
        found.append(Trouble(alarm="disk_low", text=text, hint="free some space", after=10.0))
    dead = sending["dead"] + sending["letters"]
    if dead:
        text = f"There are dead letters: {dead} could not be delivered."
        found.append(Trouble(alarm="dead_letters", text=text, hint="edge dlq list says why"))
    return found


def _of_engine(safe: Safe) -> Sequence[Trouble]:
    why = f": {safe['reason']}" if safe["reason"] else ""
    if not safe["blurring"]:
        text = f"No engine is up, nothing leaves the box{why}."
        return [
            Trouble(alarm="engine_down", text=text, hint=safe["hint"], after=ENGINE_AFTER),
        ]
    if safe["safe_mode"] and safe["engine_wanted"] != "builtin":
        text = f"Safe mode: no trained model looks at the pictures{why}."
        return [Trouble(alarm="safe_mode", text=text, hint=safe["hint"], after=ENGINE_AFTER)]
    return []


def _of_gpu(status: BoxStatus) -> Sequence[Trouble]:
    reason = gpu_failed(status)
    return [] if reason is None else [Trouble(alarm="gpu_fault", **reason)]


def _of_sources(sources: Sequence[Seeing]) -> list[Trouble]:
    return [
        Trouble(
            alarm="source_lost",
            source=one["name"],
            text=f"{one['name']} brings no pictures: {one['reason'] or one['state']}.",
            hint=one["hint"],
            after=LOST_AFTER,
        )
        for one in sources
        if one["kind"] in LIVE and one["state"] in _LOST
    ]


def choice_of(status: BoxStatus) -> dict[str, str]:
    """Return which engine was asked for, and why this one looks, where there was a choice."""
    engines = status.get("engines")
    return {} if engines is None else {name: engines[name] for name in ("wanted", "why")}


def build_of(status: BoxStatus) -> dict[str, Any]:
    """Return how the newest build of an engine stands, if there was one."""
    build = status["engines"]["build"] if "engines" in status else None
    if build is None or build["state"] == "idle":
        return {}
    names = ("state", "model", "phase", "seconds", "reason", "hint")
    share = {} if build["share"] is None else {"share": round(build["share"], 3)}
    return {"build": {name: build[name] for name in names} | share}


def news_of_build(status: BoxStatus) -> tuple[str, int]:
    """Return what of a build is news: its state, and each tenth of the way."""
    build = build_of(status).get("build", {})
    return build.get("state", ""), int(10 * build.get("share", 0))


def _answer(verdict: Verdict, name: str) -> dict[str, str]:
    answer: Answer = verdict[name]  # type: ignore[literal-required]
    return {key: str(value) for key, value in answer.items()}


def _waiting(waiting: int, size: int, oldest: float | None) -> dict[str, Any]:
    old = {} if oldest is None else {"oldest": round(oldest, 1)}
    return {"waiting": waiting, "bytes": size, **old}
