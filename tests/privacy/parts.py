"""What the gate's tests share: people, sightings, and a gate that is open."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.config.privacy import Method, Policy
from edge.contracts import Gate, Picture
from edge.detections import Detections, EngineInfo, Sighting
from edge.event import PICTURE_ARRIVED, Event
from edge.frame import Encoded, Frame
from edge.parcel import Parcel
from edge.privacy.gate import PrivacyGate
from edge.stages.redact import redact
from tests.stages.parts import INFO, a_frame, an_event

PERSON = (40.0, 30.0, 90.0, 150.0)
OTHER = (150.0, 60.0, 200.0, 190.0)
METHODS: list[Method] = ["cells", "fill", "blur"]


def people(*boxes: tuple[float, ...], masks: NDArray[np.bool_] | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(n, 4),
        scores=np.linspace(0.9, 0.5, n).astype(np.float32),
        labels=np.zeros(n, np.int32),
        masks=masks,
    )


def seen(frame: Frame, detections: Detections) -> Sighting:
    return Sighting(frame=frame, detections=detections, engine=INFO)


def gate(policy: Policy, engine: EngineInfo = INFO) -> Gate:
    return PrivacyGate(lambda _: policy, engine_ok=lambda info: info is engine)


def released(detections: Detections, policy: Policy, frame: Frame | None = None) -> Parcel:
    frame = frame or a_frame()
    sighting = seen(frame, detections)
    return gate(policy).release(an_event(frame), sighting, redact(sighting, policy))


def shown(parcel: Parcel) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(parcel.body)).convert("RGB"))[:, :, ::-1]


def uploaded() -> tuple[Event[Picture], Frame]:
    when = datetime(2026, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)
    name = "a b.png"
    frame = replace(a_frame("upload"), subject=name, taken_at=when, live=False)
    arrived = Encoded(body=b"", name=name, taken_at=when, source="upload", subject=name)
    event: Event[Picture] = Event(
        id="upload/a b.png/1234",
        source="/site/node/upload",
        type=PICTURE_ARRIVED,
        subject=name,
        time=when.isoformat(),
        data=arrived,
    )
    return event, frame
