"""What a configuration from afar is put into force on, and what is found in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.control.desired_state import Fine, Standing, StandingFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a configuration would be."""

    #: the configuration itself; None where it has faults
    config: Any = None
    #: path, given, message of each
    faults: Sequence[Mapping[str, str]] = ()
    #: it has no other faults than that it lowers privacy, or changes what only the box may
    forbidden: bool = False
    #: keys that need a fresh start
    restart: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a box was started with."""

    file: StandingFile
    standing: Standing
    #: the operator's file, as written
    tables: Mapping[str, Any] = field(default_factory=dict)


class ConfiguredBox(Protocol):
    """What a configuration is put into force on. On the event loop, but for ``examine``."""

    def parsed(self, toml: str) -> dict[str, Any]:
        """Return what a configuration's text says. Raises Failed."""
        ...

    def examine(self, tables: Mapping[str, Any], *, ours: bool = False) -> Examined:
        """Look for every fault; ``ours``: it was in force before. Blocks: call it in a thread."""
        ...

    def fine(self) -> Fine:
        """Say what is well now."""
        ...

    def lacks(self, fine: Fine) -> Sequence[str]:
        """Say, in words, what was well and is not now."""
        ...

    async def take(self, config: Any) -> None:
        """Take a configuration over while the box runs. Raises Fatal: it goes on with its own."""
        ...

    def restart(self) -> None:
        """Begin to stop; the service manager starts the box again."""
        ...
