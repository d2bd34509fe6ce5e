"""Which start of the box this is, and how the run before it ended."""

from __future__ import annotations

import logging
from typing import Any

from edge.control.commands.ledger import Ledger
from edge.errors import PartFailed, TryLater
from edge.ops.machine import boot_id

log = logging.getLogger(__name__)

_NAME = "boots"


class Boots:
    """Counts the starts of a box. ``open`` it once the spool is open.

    Args:
        ledger: keeps the count.

    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.number = 1
        #: ``first``, ``stopped``, ``rebooted`` (in order), ``crashed``, ``power_lost``
        self.reason = "first"

    async def open(self) -> None:
        """Count this start. A full disk does not keep the box from starting."""
        before = await self._ledger.kept(_NAME)
        if isinstance(before, dict) and isinstance(before.get("number"), int):
            self.number, self.reason = before["number"] + 1, _reason(before)
        await self._keep(clean=False)

    async def ended(self) -> None:
        """Note that this run ends in order."""
        await self._keep(clean=True)

    async def _keep(self, *, clean: bool) -> None:
        try:
            facts = {"number": self.number, "clean": clean, "boot": boot_id()}
            await self._ledger.keep(_NAME, facts)
        except (TryLater, PartFailed) as error:
            log.warning("this start is not counted: %s", error)


def _reason(before: dict[str, Any]) -> str:
    same = before.get("boot") == boot_id()
    if before.get("clean"):
        return "stopped" if same else "rebooted"
    return "crashed" if same else "power_lost"
