"""Parcels for tests of what stands behind the gate."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.parcel import Parcel


def a_parcel(source: str, number: int) -> Parcel:
    """A parcel that is a function of its arguments."""
    return Parcel(
        id=f"{source}-{number}.policy",
        event_id=f"{source}-{number}",
        source=source,
        taken_at=datetime(2026, 1, 2, 3, 4, number % 60, tzinfo=UTC),
        key=f"{source}/{number}.jpg",
        body=b"\xff\xd8 redacted",
        content_type="image/jpeg",
        message={"data": {}},
    )
