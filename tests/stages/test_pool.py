from __future__ import annotations

import asyncio
import threading

import pytest

from edge.errors import PartFailed
from edge.stages.pool import PicturePool
from tests.stages.parts import Hang


async def test_a_call_that_takes_too_long_is_given_up_and_the_pool_works_on() -> None:
    pool, hang = PicturePool(1, limit=0.2), Hang()
    with pytest.raises(PartFailed, match=r"longer than 0\.2 s") as caught:
        await pool.run(hang)
    assert caught.value.reason == "timeout"
    assert pool.given_up == 1

    assert await pool.run(lambda: 7) == 7
    hang.free.set()
    pool.close()


async def test_calls_run_beside_each_other_up_to_the_number_of_workers() -> None:
    pool = PicturePool(2, limit=10)
    together = threading.Barrier(2, timeout=5)
    assert sorted(await asyncio.gather(*(pool.run(together.wait) for _ in range(2)))) == [0, 1]
    pool.close()


async def test_a_pool_gets_more_workers_and_loses_them_again_and_no_call_is_lost() -> None:
    pool, hang = PicturePool(1, limit=10), Hang()
    before = [asyncio.create_task(pool.run(hang), name=f"before {n}") for n in range(3)]
    await asyncio.to_thread(hang.entered.wait, 5)
    pool.resize(3)
    together = threading.Barrier(3, timeout=5)
    assert sorted(await asyncio.gather(*(pool.run(together.wait) for _ in range(3)))) == [0, 1, 2]
    pool.resize(1)
    assert await pool.run(lambda: 7) == 7
    hang.free.set()
    assert len(await asyncio.gather(*before)) == 3
    assert pool.given_up == 0
    pool.close()


async def test_what_a_call_raises_reaches_the_caller() -> None:
    pool = PicturePool(1, limit=10)

    def fail() -> None:
        raise TimeoutError("my own")

    with pytest.raises(TimeoutError, match="my own"):
        await pool.run(fail)
    pool.close()
