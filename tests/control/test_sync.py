"""Pausing, resuming and hurrying what leaves the box."""

from __future__ import annotations

import asyncio

from edge.control.sync import Sync


class Messages:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self, seconds: float | None) -> None:
        self.told.append(f"pause {seconds}")

    def resume(self) -> None:
        self.told.append("resume")

    def now(self) -> None:
        self.told.append("now")


async def test_messages_to_the_broker_are_paused_and_hurried_with_the_store() -> None:
    begun: list[str] = []

    async def deliver() -> None:
        begun.append("store")
        await asyncio.Event().wait()

    sync, messages = Sync(deliver, clock=lambda: 1000.0), Messages()
    sync.also.append(messages)
    task = asyncio.create_task(sync.run(), name="sync")
    await asyncio.sleep(0.01)
    sync.pause(60)
    assert (sync.paused, sync.until) == (True, 1060.0)
    await asyncio.sleep(0.01)
    sync.resume()
    await asyncio.sleep(0.01)
    sync.now()
    await asyncio.sleep(0.01)
    assert messages.told == ["pause 60", "resume", "now"]
    assert begun == ["store"] * 3
    assert not sync.paused
    task.cancel()
    await asyncio.wait([task])
