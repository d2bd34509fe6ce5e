"""The labelled pictures, and what is measured on them.

The definitions reproduce the table of the shared data's README:

- AP50: greedy matching at IoU 0.5 over all pictures by falling score, each person once; precision
  made monotone, mean over 101 recalls (as COCO does).
- recall: share of people matched at IoU 0.5 by detections at or above the threshold.
- cover: share of people with at least 80 % of their box inside the union of the detections at or
  above the threshold, each grown by 10 % of its side on every side.

Crowd regions count neither way: a detection that lies in one by half is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.frame import Frame
from edge.stages.detect import detect

Boxes = NDArray[np.float64]
Seen = tuple[Boxes, NDArray[np.float32]]
"""Boxes in the picture's pixels and their scores, strongest first."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, its people, and the crowds in it."""

    frame: Frame
    people: Boxes
    crowds: Boxes


People = list[Picture]


@dataclass(frozen=True, slots=True)
class Figures:
    """What an engine reached."""

    ap50: float
    recall: float
    cover: float


def load_people(folder: Path) -> People:
    """Decode the pictures and read their labels."""
    labels = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    pictures = []
    for image in labels["images"]:
        pixels = np.asarray(cv2.imread(str(folder / image["file_name"])), np.uint8)
        boxes: dict[int, list[list[float]]] = {0: [], 1: []}
        for note in labels["annotations"]:
            if note["image_id"] == image["id"]:
                x, y, width, height = note["bbox"]
                boxes[note["iscrowd"]].append([x, y, x + width, y + height])
        frame = Frame(
            pixels=pixels,
            taken_at=datetime.now(UTC),
            source="people",
            subject=image["file_name"],
            live=False,
        )
        both = [np.array(boxes[kind], np.float64).reshape(-1, 4) for kind in (0, 1)]
        pictures.append(Picture(frame, *both))
    return pictures


def look(engine: Engine, people: People) -> list[Seen]:
    """Let an engine look at every picture, through the house's own preparation."""
    answers = []
    for picture in people:
        seen = detect(picture.frame, engine).detections
        width, height = picture.frame.size
        order = np.argsort(-seen.scores, kind="stable")
        boxes = seen.boxes[order].astype(np.float64).clip(0, [width, height, width, height])
        answers.append((boxes, seen.scores[order]))
    return answers


def measure(answers: list[Seen], people: People, threshold: float) -> Figures:
    """Compare answers with the labels."""
    marks: list[tuple[float, bool]] = []
    found = covered = 0
    for (boxes, scores), picture in zip(answers, people, strict=True):
        mine = _match(boxes, scores, picture)
        marks += mine
        found += sum(hit for score, hit in mine if score >= threshold)
        sure = boxes[scores >= threshold]
        covered += sum(_share_covered(person, sure) >= 0.8 for person in picture.people)
    total = sum(len(picture.people) for picture in people)
    return Figures(_average_precision(marks, total), found / total, covered / total)


def _match(boxes: Boxes, scores: NDArray[np.float32], picture: Picture) -> list[tuple[float, bool]]:
    """Give each detection its score and whether it hit a person; those in crowds are left out."""
    overlap, _ = _iou(boxes, picture.people)
    _, inside = _iou(boxes, picture.crowds)
    marks, free = [], set(range(len(picture.people)))
    for row, score in enumerate(scores):
        _, best = max(((overlap[row, person], person) for person in free), default=(0.0, -1))
        if best >= 0 and overlap[row, best] >= 0.5:
            free.remove(best)
            marks.append((float(score), True))
        elif not (inside[row] >= 0.5).any():
            marks.append((float(score), False))
    return marks


def _average_precision(marks: list[tuple[float, bool]], total: int) -> float:
    hits = np.array([hit for _, hit in sorted(marks, key=lambda mark: -mark[0])])
    true = np.cumsum(hits)
    recall, precision = true / total, true / np.arange(1, len(hits) + 1)
    best_after = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101))
    return float(np.append(best_after, 0.0)[np.minimum(places, len(hits))].mean())


def _iou(boxes: Boxes, others: Boxes) -> tuple[Boxes, Boxes]:
    """Return ``(n, m)`` intersection over union, and over the first box's own area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    area, other = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, others))
    return common / (area[:, None] + other[None] - common + 1e-9), common / (area[:, None] + 1e-9)


def _share_covered(person: NDArray[np.float64], boxes: Boxes) -> float:
    """Return the share of a person's box that grown boxes cover, counted in whole pixels."""
    x1, y1, x2, y2 = np.rint(person).astype(int)
    mask = np.zeros((max(y2 - y1, 1), max(x2 - x1, 1)), bool)
    margin = 0.1 * np.tile(boxes[:, 2:] - boxes[:, :2], 2) * [-1, -1, 1, 1]
    grown = np.rint(boxes + margin).astype(int) - [x1, y1, x1, y1]
    for left, top, right, bottom in grown.clip(0):
        mask[top:bottom, left:right] = True
    return float(mask.mean())
