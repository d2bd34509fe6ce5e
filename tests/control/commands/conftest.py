"""A real box in this process, and what tests say to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from edge.app.box import Box
from edge.config.root import Config
from edge.control.commands.envelope import Command, Reply
from edge.control.commands.permissions import Caller
from tests.parts import until

SCENE = {"kind": "scene", "fps": 5, "width": 320, "height": 180}


@dataclass(slots=True)
class Commanded:
    """A box that runs, and a way to command it."""

    box: Box

    async def say(self, verb: str, channel: Any = "local", *, key: str = "", **args: Any) -> Reply:
        """Command it, and return the last reply."""
        command = Command(id=key or uuid4().hex, verb=verb, args=args)
        caller = Caller(channel=channel, who="a test")
        return await self.box.commands.executor.execute(command, caller)

    async def does(self, verb: str, channel: Any = "local", **args: Any) -> Any:
        """Command it, and return what it answered."""
        reply = await self.say(verb, channel, **args)
        assert reply.status == "ok", reply
        return reply.data

    async def fails(self, verb: str, channel: Any = "local", **args: Any) -> str:
        """Command it in vain, and return the code."""
        reply = await self.say(verb, channel, **args)
        assert reply.status == "error", reply
        assert reply.message
        return reply.code


@contextlib.asynccontextmanager
async def running(home: Path, **sections: Any) -> AsyncIterator[Commanded]:
    """Run a box: a drawn camera, safe mode, a folder."""
    given: dict[str, Any] = {
        "box": {"site": "yard", "node": "north", "state": str(home / "state")},
        "sources": {"gate": SCENE},
        "detect": {"engine": "builtin", "workers": 1},
        "store": {"kind": "folder", "path": str(home / "out")},
        "web": {"port": 0},
        "models": {"path": str(home / "models"), "pull": False},
    }
    box = Box(Config.model_validate({**given, **sections}))
    task = asyncio.create_task(box.run(), name="box")
    try:
        await until(lambda: task.done() or (box.local is not None and box.holder.up), 30)
        if task.done():
            task.result()
        yield Commanded(box)
    finally:
        box.stop()
        await asyncio.wait_for(task, 30)


@pytest.fixture
async def commanded(tmp_path: Path) -> AsyncIterator[Commanded]:
    """A box that runs."""
    async with running(tmp_path) as it:
        yield it
