"""Runs ``edge infer``: the steps of the walk, one after the other, each with its time."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge.app.parts import choose_engine, with_model
from edge.cli.infer_plan import FORMATS, STDIN, Asked, Input, bucket_of, ending_of
from edge.config.privacy import Policy, SourcePrivacy
from edge.config.root import Config
from edge.contracts import Engine, Picture
from edge.detections import Sighting
from edge.errors import PartFailed, Rejected, Withheld
from edge.event import PICTURE_ARRIVED, Event
from edge.frame import Encoded, ObjectRef
from edge.privacy.gate import PrivacyGate
from edge.sources.buckets.objects import BucketObjects
from edge.stages.blackout import blackout
from edge.stages.decode import decode
from edge.stages.detect import detect
from edge.stages.engines.holder import warm_up
from edge.stages.redact import redact

T = TypeVar("T")
Tell = Callable[[dict[str, Any], int], None]
"""Told of each picture: its line of JSON, and its exit code."""

MAX_BYTES = 512 * 2**20
"""A larger file is refused."""
_SOURCE = "infer"


@dataclass(slots=True)
class _Times:
    """How long each step took, in milliseconds."""

    each: dict[str, float] = field(default_factory=dict)

    def step(self, name: str, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.took(name, began)

    def took(self, name: str, began: float) -> None:
        self.each[name] = round(1000 * (time.perf_counter() - began), 2)


async def run(inputs: Sequence[Input], asked: Asked, tell: Tell) -> None:
    """Look at every picture, and tell of each.

    Raises:
        ConfigError, Fatal: the configuration has faults, or there is no model.
        PartFailed: the engine, a server or the disk of ``--out`` is out of order.

    """
    config = await asyncio.to_thread(asked.settings)
    if asked.model is not None:
        config = await asyncio.to_thread(with_model, config, asked.model)
    async with AsyncExitStack() as stack:
        fetcher = _Fetcher(asked, config, stack)
        engine: Engine | None = None
        for one in inputs:
            got = await _fetched(one, fetcher)
            if engine is None and got.picture is not None:  # a wrong key need not wait for it
                engine = await choose_engine(config).open()
                stack.callback(engine.close)
                await asyncio.to_thread(warm_up, engine)
            line, code = await asyncio.to_thread(_answer, one, got, engine, config)
            tell(line, code)


@dataclass(frozen=True, slots=True)
class _Got:
    """A picture file, or why there is none."""

    picture: Encoded | None
    privacy: SourcePrivacy
    times: _Times
    error: Rejected | None = None


class _Fetcher:
    """Reads files and objects; every bucket is connected to once."""

    def __init__(self, asked: Asked, config: Config, stack: AsyncExitStack) -> None:
        self._asked, self._config, self._stack = asked, config, stack
        self._objects: dict[str, BucketObjects] = {}

    async def read(self, one: Input) -> tuple[Encoded, SourcePrivacy]:
        """Return a picture file, and how the people in it are covered."""
        if not one.bucket:
            return await asyncio.to_thread(_read_file, one.name), SourcePrivacy()
        source, bucket = bucket_of(self._asked, self._config, one.name)
        objects = self._objects.get(source)
        if objects is None:
            objects = self._objects[source] = BucketObjects(bucket, parallel=1)
            self._stack.push_async_callback(objects.close)
        fetched = await objects.get(ObjectRef(bucket=bucket.bucket, key=one.name))
        picture = _encoded(fetched.body, one.name, datetime.now(UTC))
        return replace(picture, origin=fetched.ref), bucket.privacy


async def _fetched(one: Input, fetcher: _Fetcher) -> _Got:
    times, began = _Times(), time.perf_counter()
    try:
        picture, privacy = await fetcher.read(one)
    except Rejected as error:
        return _Got(None, SourcePrivacy(), times, error)
    times.took("fetch" if one.bucket else "read", began)
    return _Got(picture, privacy, times)


def _read_file(name: str) -> Encoded:
    """Read a file, or standard input, to ``MAX_BYTES`` at most.

    Raises:
        Rejected: it cannot be read, or is too large.

    """
    taken_at = datetime.now(UTC)
    try:
        if name == STDIN:
            body = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                body = file.read(MAX_BYTES + 1)
            taken_at = datetime.fromtimestamp(Path(name).stat().st_mtime, UTC)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Rejected(f"it cannot be read: {why}", reason="unreadable") from error
    if len(body) > MAX_BYTES:
        raise Rejected(f"it has more than {MAX_BYTES} bytes", reason="too_large")
    return _encoded(body, "stdin" if name == STDIN else Path(name).name, taken_at)


def _encoded(body: bytes, name: str, taken_at: datetime) -> Encoded:
    return Encoded(body=body, name=name, taken_at=taken_at, source=_SOURCE, subject=name)


def _answer(
    one: Input, got: _Got, engine: Engine | None, config: Config
) -> tuple[dict[str, Any], int]:
    """Return the line of one picture, and its exit code."""
    try:
        if got.picture is None or engine is None:
            raise got.error or Rejected("there is no picture")
        found = _look(one, got.picture, _policy(one, got, config), engine, config, got.times)
    except Rejected as error:
        told = {"reason": error.reason, "message": str(error), "hint": error.hint}
        code = 5 if isinstance(error, Withheld) else 1
        return {"input": one.shown, "error": told, "times_ms": got.times.each}, code
    return found, 0


def _policy(one: Input, got: _Got, config: Config) -> Policy:
    privacy = config.privacy
    if one.output is not None and one.named:
        wanted = FORMATS[one.output.suffix.lower()]
        privacy = privacy.model_copy(update={"format": wanted})
    return privacy.for_source(got.privacy)


def _look(
    one: Input, picture: Encoded, policy: Policy, engine: Engine, config: Config, times: _Times
) -> dict[str, Any]:
    frame = times.step("decode", lambda: decode(picture, max_pixels=config.detect.max_pixels))
    frame = blackout(frame, policy.blackout)
    sighting = times.step("detect", lambda: detect(frame, engine))
    width, height = frame.size
    info = engine.info
    line: dict[str, Any] = {
        "input": one.shown,
        "size": [width, height],
        "found": _found(sighting),
        "engine": {
            "name": info.name,
            "model": info.model,
            "digest": info.digest,
            "safe_mode": info.safe_mode,
        },
        "times_ms": times.each,
    }
    if one.output is not None:
        ending = "" if one.named else ending_of(policy.format)
        output = Path(f"{one.output}{ending}")
        _write(output, picture, sighting, policy, times)
        line["output"] = str(output)
    return line


def _found(sighting: Sighting) -> list[dict[str, Any]]:
    """Return what was seen: ``box`` is x, y, width, height in pixels, cut at the picture's edges.

    What lies beyond an edge altogether is left out.
    """
    seen, (width, height) = sighting.detections, sighting.frame.size
    corners = seen.boxes.clip(0, np.array((width, height, width, height), np.float32))
    rows = zip(corners.tolist(), seen.scores.tolist(), seen.labels.tolist(), strict=True)
    return [
        {
            "box": [round(side, 1) for side in (x1, y1, x2 - x1, y2 - y1)],
            "score": round(score, 4),
            "label": sighting.engine.labels[label],
        }
        for (x1, y1, x2, y2), score, label in rows
        if x1 < x2 and y1 < y2
    ]


def _write(
    output: Path, picture: Encoded, sighting: Sighting, policy: Policy, times: _Times
) -> None:
    """Redact, ask the gate, and write what it lets through; nothing else is ever written.

    Raises:
        Withheld: as the gate does. PartFailed: the file cannot be written.

    """
    event: Event[Picture] = Event(
        id=picture.name,
        source=f"/infer/{_SOURCE}",
        type=PICTURE_ARRIVED,
        subject=picture.subject,
        time=picture.taken_at.isoformat(),
        data=picture,
    )
    gate = PrivacyGate(lambda _: policy, engine_ok=lambda info: info is sighting.engine)
    redaction = times.step("redact", lambda: redact(sighting, policy))
    parcel = times.step("encode", lambda: gate.release(event, sighting, redaction))
    part = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(parcel.body)
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PartFailed(
            f"{output} could not be written: {error.strerror}",
            hint="name another place with --out",
            reason="output",
        ) from error
