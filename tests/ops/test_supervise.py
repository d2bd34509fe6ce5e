"""The supervisor keeps one part alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from edge.errors import Fatal, PartFailed
from edge.ops.metrics import Metrics
from edge.ops.supervise import BUGS_IN_A_ROW, Supervisor

Up = Callable[[], None]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def supervisor(metrics: Metrics) -> Supervisor:
    return Supervisor(metrics, first=0.001, most=0.002)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_part_that_fails_is_opened_again_until_it_ends(
    supervisor: Supervisor, metrics: Metrics
) -> None:
    tries = 0

    async def run(up: Up) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise PartFailed("the camera is gone", hint="look at its cable")
        up()

    await supervisor.keep("camera gate", run)
    part = supervisor.parts["camera gate"]
    assert (tries, part.state, part.restarts, part.reason) == (4, "ended", 3, "")
    assert value(metrics, "edge_part_restarts_total", part="camera gate") == 3


async def test_while_it_waits_the_part_says_why(supervisor: Supervisor) -> None:
    seen = []

    async def run(up: Up) -> None:
        part = supervisor.parts["store"]
        seen.append((part.state, part.reason, part.hint))
        if len(seen) == 1:
            raise PartFailed("the store refused", hint="check its key")
        up()
        seen.append((part.state, part.reason, part.hint))

    await supervisor.keep("store", run)
    assert seen == [
        ("opening", "", ""),
        ("waiting", "the store refused", "check its key"),
        ("up", "", ""),
    ]


async def test_failures_are_logged_once_and_the_recovery_once(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def run(up: Up) -> None:
        nonlocal tries
        tries += 1
        if tries < 6:
            raise PartFailed("gone")
        up()

    with caplog.at_level(logging.INFO, "edge"):
        await supervisor.keep("camera", run)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "recovered after 5 failures" in caplog.text


async def test_a_bug_is_counted_logged_with_its_traceback_and_survived(
    supervisor: Supervisor, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def run(_: Up) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ZeroDivisionError("a bug")

    await supervisor.keep("path", run)
    assert value(metrics, "edge_bugs_total") == 1
    assert "ZeroDivisionError" in caplog.text


async def test_bugs_in_a_row_end_the_process(supervisor: Supervisor, metrics: Metrics) -> None:
    async def run(_: Up) -> None:
        raise ZeroDivisionError

    with pytest.raises(Fatal, match="bugs in a row"):
        await supervisor.keep("path", run)
    assert value(metrics, "edge_bugs_total") == BUGS_IN_A_ROW


async def test_bugs_with_successes_between_them_do_not(supervisor: Supervisor) -> None:
    tries = 0

    async def run(up: Up) -> None:
        nonlocal tries
        tries += 1
        up()
        if tries <= 2 * BUGS_IN_A_ROW:
            raise ZeroDivisionError

    await supervisor.keep("path", run)
    assert tries == 2 * BUGS_IN_A_ROW + 1


async def test_what_is_fatal_passes_through(supervisor: Supervisor) -> None:
    async def run(_: Up) -> None:
        raise Fatal("no model")

    with pytest.raises(Fatal, match="no model"):
        await supervisor.keep("engine", run)


async def test_a_kept_part_can_be_cancelled(supervisor: Supervisor) -> None:
    async def run(up: Up) -> None:
        up()
        await asyncio.Event().wait()

    task = asyncio.create_task(supervisor.keep("camera", run), name="camera")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
