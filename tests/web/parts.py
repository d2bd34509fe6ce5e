"""An honest small box for the web side: real uploads, real metrics, made-up facts."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np

from edge.config.sources import JobsConfig
from edge.contracts import Hook
from edge.control.commands.effects import EFFECTS
from edge.control.commands.envelope import Failed
from edge.control.commands.judge import read_args
from edge.control.commands.table import VERBS
from edge.engine_status import Engines
from edge.event import Outcome
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sources.upload import Uploads
from edge.web.engines import engines_json
from edge.web.view import BoxStatus, Reply, Seeing, Sender, Sending
from tests.web.traffic_parts import MemoryBus

NOW = datetime(2026, 5, 4, 9, 30, 0, tzinfo=UTC)
JPEG_START = b"\xff\xd8"


def drawing(seed: int = 0, width: int = 640, height: int = 360) -> bytes:
    """Return a JPEG that looks like a site with covered people."""
    rows = np.linspace(0, 1, height)[:, None, None]
    sky, ground = np.array([190, 170, 150]), np.array([90, 110, 125])
    canvas = np.broadcast_to(sky * (1 - rows) + ground * rows, (height, width, 3))
    pixels = np.ascontiguousarray(canvas, dtype=np.uint8)
    chance = np.random.default_rng(seed)
    for _ in range(6):
        x, h = int(chance.integers(0, width - 60)), int(chance.integers(60, 150))
        y = height - h - int(chance.integers(10, 60))
        cells = chance.integers(60, 200, (4, 2, 3), dtype=np.uint8)
        w = min(h // 2, width - x)
        pixels[y : y + h, x : x + w] = cv2.resize(cells, (w, h), interpolation=cv2.INTER_CUBIC)
    good, data = cv2.imencode(".jpg", pixels)
    assert good
    return data.tobytes()


def parcel(number: int = 1, source: str = "gate", body: bytes | None = None) -> Parcel:
    return Parcel(
        id=f"{source}-{number}.policy",
        event_id=f"{source}-{number}",
        source=source,
        taken_at=datetime.now(UTC),
        key=f"{source}/{number}.jpg",
        body=drawing(number) if body is None else body,
        content_type="image/jpeg",
        message={},
    )


def seeing(name: str, **facts: Any) -> Seeing:
    usual: Seeing = {
        "name": name,
        "kind": "camera",
        "state": "streaming",
        "reason": "",
        "hint": "",
        "where": f"rtsp://***@10.0.0.7/{name}",
        "fps": 15.0,
        "size": [1280, 720],
        "counts": {"read": 900},
        "last_picture_at": NOW.isoformat(),
        "last_picture_age": 0.1,
        "shown": None,
        "shown_at": None,
        "shown_age": None,
        "redacted_fps": 9.8,
        "redacted": 12345,
        "dropped": 42,
        "withheld": 0,
        "rejected": 0,
    }
    return {**usual, **facts}  # type: ignore[typeddict-item]


def well() -> BoxStatus:
    """Return the facts of a box with which nothing is wrong."""
    return {
        "overall": {"state": "ok", "reasons": []},
        "safe": {
            "blurring": True,
            "safe_mode": False,
            "method": "cells",
            "engine": "onnx",
            "model": "picodet_s_416",
            "engine_wanted": "auto",
            "model_wanted": "picodet_s_416",
            "seconds": 0.0312,
            "withheld": {},
            "reason": "",
            "hint": "",
        },
        "seeing": [seeing("gate"), seeing("crane")],
        "sending": _sending_well(),
        "uploads": {"queued": 0, "running": 0, "done": 0, "dead": 0},
        "box": {
            "site": "harbour-east",
            "node": "box-7",
            "version": "0.1.0",
            "uptime": 93784.0,
            "started_at": NOW.isoformat(),
            "clock": NOW.isoformat(),
        },
        "notices": [],
        "commands": [],
    }


def _sending_well() -> Sending:
    return {
        "store": "s3 http://10.0.0.2:9000/site-pictures",
        "up": True,
        "waiting": 0,
        "bytes": 0,
        "oldest": None,
        "max_bytes": 2 * 2**30,
        "last_success": NOW.isoformat(),
        "stored": 24690,
        "dead": 0,
        "events": 0,
        "letters": 0,
        "reason": "",
        "hint": "",
    }


class FakeBox:
    """Keeps the promises of ``BoxView`` without a camera, an engine or a store."""

    def __init__(self, jobs: JobsConfig | None = None, **limits: Any) -> None:
        self.metrics = Metrics()
        self.facts = well()
        self.jobs = Uploads(
            jobs or JobsConfig(), metrics=self.metrics, origin="/site/box", **limits
        )
        #: the bus; ``intake`` and ``traffic`` are two views of it
        self.intake = self.traffic = MemoryBus()
        self.hook: Hook | None = None
        #: a box that has something to choose sets them
        self.engines: Engines | None = None
        self.readiness: tuple[bool, list[str]] = (True, [])
        self.liveness: tuple[bool, list[str]] = (True, [])
        self.commands: list[tuple[str, Mapping[str, Any]]] = []
        self.senders: list[Sender] = []
        self.reply: Reply = {"status": "ok", "code": "", "message": "", "hint": "", "data": {}}
        self._newest: dict[str, Parcel] = {}
        self._new = asyncio.Condition()

    def change(self, part: str, **facts: Any) -> None:
        """Change some facts of ``safe`` or ``sending``."""
        part_facts: dict[str, Any] = self.facts[part]  # type: ignore[literal-required]
        part_facts.update(facts)

    def status(self) -> BoxStatus:
        facts = copy.deepcopy(self.facts)
        if self.engines is not None:
            facts["engines"] = engines_json(self.engines.status())
        for source in facts["seeing"]:
            newest = self._newest.get(source["name"])
            if newest is not None and source["shown"] is None:
                source["shown"] = newest.id
                source["shown_at"] = newest.taken_at.isoformat()
                source["shown_age"] = (datetime.now(UTC) - newest.taken_at).total_seconds()
        return facts

    def latest(self, source: str) -> Parcel | None:
        return self._newest.get(source)

    async def show(self, shown: Parcel) -> None:
        self._newest[shown.source] = shown
        async with self._new:
            self._new.notify_all()

    async def next_parcel(
        self,
        source: str,
        after_id: str | None,
        timeout: float,  # noqa: ASYNC109
    ) -> Parcel | None:
        def newer() -> bool:
            newest = self._newest.get(source)
            return newest is not None and newest.id != after_id

        try:
            async with asyncio.timeout(timeout), self._new:
                await self._new.wait_for(newer)
        except TimeoutError:
            return None
        return self._newest[source]

    def ready(self) -> tuple[bool, list[str]]:
        return self.readiness

    def alive(self) -> tuple[bool, list[str]]:
        return self.liveness

    async def command(self, verb: str, args: Mapping[str, Any], sender: Sender) -> Reply:
        self.commands.append((verb, args))
        self.senders.append(sender)
        if verb.startswith("engine.") and self.engines is not None:
            return await self._engine(verb, args)
        return self.reply

    async def _engine(self, verb: str, args: Mapping[str, Any]) -> Reply:
        """Do what the real box does of these verbs."""
        box: Any = self
        try:
            made = await EFFECTS[verb](box, read_args(VERBS[verb], args), lambda _: None)
        except Failed as error:
            code, message, hint = error.code, str(error), error.hint
            data = dict(error.data)
            return {
                "status": "error", "code": code, "message": message, "hint": hint, "data": data,
            }  # fmt: skip
        return {
            "status": "ok", "code": "", "message": "", "hint": "", "data": made.model_dump(),
        }  # fmt: skip

    async def command_reply(self, command_id: str) -> Reply | None:
        return self.reply if command_id == "known" else None

    async def work(self, outcome: Outcome = Outcome.DONE, reason: str = "") -> None:
        """Be the path: make of each upload the same drawing, and say how it ended."""
        async for event in self.jobs.events():
            if outcome is Outcome.DONE:
                self.jobs.finished(
                    Parcel(
                        id=f"{event.id}.policy",
                        event_id=event.id,
                        source="upload",
                        taken_at=event.data.taken_at,
                        key=f"upload/{event.id}.jpg",
                        body=drawing(7),
                        content_type="image/jpeg",
                        message={},
                    )
                )
            await self.jobs.settle(event, outcome, reason)
