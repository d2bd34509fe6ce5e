"""How the box is, as the page and ``/v1/status`` tell it. ``app``'s second half: it reads, only.

Implements ``web.view.BoxView`` over the parts that ``app.Box`` has opened.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from prometheus_client import Counter

from edge import __version__
from edge.app.bus import BoxTraffic
from edge.contracts import Hook, Intake, Jobs, SourceStatus
from edge.control.commands.envelope import Failed, Reply, command_of, failure
from edge.control.commands.permissions import Caller
from edge.control.commands.signed import is_signed
from edge.engine_status import Engines
from edge.ops.metrics import Metrics, counts_by
from edge.parcel import Parcel
from edge.traffic import Traffic
from edge.web import view
from edge.web.engines import engines_json

if TYPE_CHECKING:
    from edge.app.box import Box

NOTICES = 50
"""So many notices are kept, the newest first."""
_JOB_STATES = ("queued", "running", "done", "dead")


class Notices:
    """What happened and the operator should know."""

    def __init__(self) -> None:
        self._newest: deque[view.Notice] = deque(maxlen=NOTICES)

    def add(self, text: str, hint: str = "") -> None:
        """Remember a warning; the same one twice in a row is one."""
        if self._newest and self._newest[0]["text"] == text:
            self._newest.popleft()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._newest.appendleft(view.Notice(at=now, level="warning", text=text, hint=hint))

    def all(self) -> list[view.Notice]:
        """Return them, the newest first."""
        return list(self._newest)


class BoxView:
    """The box as the web side sees it."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.started = datetime.now(UTC)
        self._started_at = time.monotonic()
        self._traffic = BoxTraffic(box.bus, box.pictures)

    @property
    def intake(self) -> Intake:
        return self._box.bus.broker

    @property
    def hook(self) -> Hook | None:
        return self._box.buckets.hook()

    @property
    def traffic(self) -> Traffic:
        return self._traffic

    @property
    def jobs(self) -> Jobs:
        return self._box.uploads

    @property
    def engines(self) -> Engines | None:
        return self._box.engines

    @property
    def metrics(self) -> Metrics:
        return self._box.metrics

    def latest(self, source: str) -> Parcel | None:
        return self._box.live.latest(source)

    async def next_parcel(
        self,
        source: str,
        after_id: str | None,
        timeout: float,  # noqa: ASYNC109 (the contract's)
    ) -> Parcel | None:
        return await self._box.live.next(source, after_id or "", timeout)

    async def command(self, verb: str, args: Mapping[str, Any], sender: view.Sender) -> view.Reply:
        executor, caller = (
            self._box.commands.executor,
            Caller(channel=sender.channel, who=sender.who),
        )
        if is_signed(args):
            body = json.dumps(args).encode()
            return _reply(await executor.handle(body, caller, verb=verb, wait=sender.wait))
        try:
            command = command_of({"id": sender.id or uuid4().hex, "args": args}, verb)
        except Failed as error:
            return _reply(failure(error, at=time.time()))
        return _reply(await executor.execute(command, caller, wait=sender.wait))

    async def command_reply(self, command_id: str) -> view.Reply | None:
        reply = await self._box.commands.executor.reply_of(command_id)
        return None if reply is None else _reply(reply)

    def ready(self) -> tuple[bool, list[str]]:
        reasons = []
        if not self._box.holder.up:
            reasons.append("no engine is up: nothing leaves")
        trouble = self._box.kept.no_room
        if trouble:
            reasons.append(trouble)
        return not reasons, reasons

    def alive(self) -> tuple[bool, list[str]]:
        stale = self._box.beats.stale()
        return not stale, stale

    def status(self) -> view.BoxStatus:
        counts = self._box.uploads.status().counts
        status = view.BoxStatus(
            overall=self._overall(),
            safe=self._safe(),
            seeing=[self._seeing(source) for source in self._box.sources.statuses()],
            sending=self._sending(),
            energy=self._box.energy.status(),
            uploads={state: counts.get(state, 0) for state in _JOB_STATES},
            box=self._about(),
            notices=self._box.notices.all(),
            commands=[_commanded(entry) for entry in self._box.commands.ledger.newest],
        )
        if self.engines is not None:
            status["engines"] = engines_json(self.engines.status())
        if self._box.upstream is not None:
            status["upstream"] = self._box.upstream.status()
        return status

    def _overall(self) -> view.Overall:
        reasons = [view.Reason(text=text, hint="see the log") for text in self.alive()[1]]
        trouble = self._box.kept.no_room
        if trouble:
            reasons.append(view.Reason(text=trouble, hint="free some space"))
        energy = self._box.energy.status()
        if energy["reason"]:
            reasons.append(view.Reason(text=energy["reason"], hint=energy["hint"]))
        for trigger in self._traffic.triggers():
            if trigger.reason not in ("", "disabled"):
                text = f"trigger {trigger.name}: {trigger.message}; {trigger.waiting} events wait"
                reasons.append(view.Reason(text=text, hint=f"edge trigger show {trigger.name}"))
        return view.Overall(state="degraded" if reasons else "ok", reasons=reasons)

    def _safe(self) -> view.Safe:
        box = self._box
        info = box.holder.info if box.holder.up else None
        part = box.supervisor.parts.get("engine")
        missing = box.engine_choice.missing
        reason = missing or (part.reason if part is not None else "")
        hint = "edge model import FILE.onnx" if missing else (part.hint if part is not None else "")
        seconds = list(box.redact.detect_seconds)
        return view.Safe(
            blurring=info is not None,
            safe_mode=info is not None and info.safe_mode,
            method=box.config.privacy.method,
            engine="" if info is None else info.name,
            model="" if info is None else info.model,
            engine_wanted=box.config.detect.engine,
            model_wanted=box.config.detect.model,
            seconds=statistics.median(seconds) if seconds else None,
            withheld=counts_by(box.metrics.pictures_withheld, "reason"),
            reason=reason,
            hint=hint,
        )

    def _seeing(self, source: SourceStatus) -> view.Seeing:
        metrics = self._box.metrics
        newest = self._box.live.latest(source.name)
        return view.Seeing(
            name=source.name,
            kind=source.kind,
            state=source.state,
            reason=source.reason,
            hint=source.hint,
            where=source.where,
            fps=source.fps,
            size=None if source.size is None else list(source.size),
            counts=dict(source.counts),
            last_picture_at=_iso(source.last_picture_at),
            last_picture_age=_age(source.last_picture_at),
            shown=None if newest is None else newest.id,
            shown_at=None if newest is None else _iso(newest.taken_at),
            shown_age=None if newest is None else _age(newest.taken_at),
            redacted_fps=self._box.live.rate(source.name),
            redacted=_of(metrics.pictures_redacted, source.name),
            dropped=_of(metrics.pictures_dropped, source.name),
            withheld=_of(metrics.pictures_withheld, source.name),
            rejected=_of(metrics.pictures_rejected, source.name),
        )

    def _sending(self) -> view.Sending:
        box, door, stats = self._box, self._box.forwarder.status(), self._box.outbox.stats()
        events = box.bus.journal.stats()
        where, last = door["store"], door["last_success"]
        return view.Sending(
            store=" ".join(str(value) for value in where.values()),
            up=door["state"] == "up",
            waiting=stats.waiting,
            bytes=stats.waiting_bytes,
            oldest=stats.oldest_seconds if stats.waiting else None,
            max_bytes=box.config.outbox.max_bytes,
            last_success=None if last is None else _iso(datetime.fromtimestamp(last, UTC)),
            stored=counts_by(box.metrics.parcels_stored, "").get("", 0),
            dead=stats.dead,
            events=events.events,
            letters=events.letters,
            reason=door["reason"],
            hint=door["hint"],
        )

    def _about(self) -> view.Box:
        return view.Box(
            site=self._box.config.box.site,
            node=self._box.config.box.node,
            version=__version__,
            uptime=time.monotonic() - self._started_at,
            started_at=self.started.isoformat(timespec="seconds"),
            clock=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _reply(reply: Reply) -> view.Reply:
    return view.Reply(
        id=reply.id,
        verb=reply.verb,
        status=reply.status,
        code=reply.code,
        message=reply.message,
        hint=reply.hint,
        data=dict(reply.data),
        at=reply.json()["at"],
        repeated=reply.repeated,
    )


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="milliseconds")


def _age(when: datetime | None) -> float | None:
    return None if when is None else max(0.0, (datetime.now(UTC) - when).total_seconds())


def _of(counter: Counter, source: str) -> int:
    return counts_by(counter, "source").get(source, 0)


def _commanded(entry: Mapping[str, Any]) -> view.Commanded:
    at = datetime.fromtimestamp(entry["at"], UTC).isoformat(timespec="milliseconds")
    names = ("verb", "channel", "who", "outcome", "code")
    verb, channel, who, outcome, code = (str(entry.get(name, "")) for name in names)
    return view.Commanded(at=at, verb=verb, channel=channel, who=who, outcome=outcome, code=code)
