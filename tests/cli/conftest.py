"""A running box, for the commands that talk to one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.running_box import RunningBox, running_box


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningBox]:
    """A box without a token, to which every command goes."""
    with running_box() as box:
        monkeypatch.setenv("EDGE_URL", box.url)
        yield box
