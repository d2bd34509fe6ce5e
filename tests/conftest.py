"""What every test shares: the process is settled as in production, before any heavy import."""

from __future__ import annotations

import signal

import pytest

from edge.ops.process import settle_process
from tests.places import ROOT

settle_process()
# A shell ignores it for what runs in the background, and commands that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_LONG = ("packaging", "journeys", "gpu")
"""Rooms whose files take long, in the order in which they begin."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first: where files run side by side, none is left over at the end."""

    def turn(item: pytest.Item) -> int:
        room = item.path.relative_to(ROOT / "tests").parts[0]
        return _LONG.index(room) if room in _LONG else len(_LONG)

    items.sort(key=turn)
