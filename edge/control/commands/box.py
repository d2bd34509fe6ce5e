"""The box as commands see it: facts, and what may be done to it. ``app`` has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from edge.config.privacy import Policy
from edge.config.sources import SourceConfig
from edge.control.commands import arguments as take
from edge.control.commands import results as give
from edge.control.commands.ratchet import Floor
from edge.control.sources import SourceTable
from edge.control.sync import Sync
from edge.engine_status import Build, Engines
from edge.parcel import Parcel
from edge.traffic import DeadLetters

Tell = Callable[[str], None]
"""Told how far a long command is, in words."""


class ConfigFromAfar(Protocol):
    """Puts configurations on probation: ``control.desired.Desired``."""

    def told(self) -> give.Reported:
        """Say what is in force, and what became of the newest that came."""
        ...

    async def apply(self, wanted: take.Apply) -> give.Applied:
        """Put a configuration on probation. Raises Failed."""
        ...

    async def rollback(self) -> give.Applied:
        """Put the one before on probation. Raises Failed."""
        ...


class CommandedBox(Protocol):
    """What commands need of a box. Every method is called on the event loop."""

    @property
    def sources(self) -> SourceTable:
        """The sources that run now."""
        ...

    @property
    def letters(self) -> DeadLetters:
        """The dead letters."""
        ...

    @property
    def sync(self) -> Sync:
        """Delivery to the store."""
        ...

    @property
    def floor(self) -> Floor:
        """What commands raised privacy to."""
        ...

    @property
    def desired(self) -> ConfigFromAfar:
        """The configuration as somebody far away sees it."""
        ...

    def about(self) -> give.About:
        """Say which box this is."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return all that the page says."""
        ...

    def spool(self) -> Mapping[str, Any]:
        """Say what waits, and how much room there is."""
        ...

    def latest(self, source: str) -> Parcel | None:
        """Return the newest redacted picture of a source."""
        ...

    async def sources_changed(self) -> None:
        """Tell the bus that a source came or went."""
        ...

    def file_policy(self, source: str, config: SourceConfig) -> tuple[Policy, Policy]:
        """Return how a source would be covered, and how the file says that it is, at least."""
        ...

    def policies(self, source: str) -> Mapping[str, Policy]:
        """Return what counts now for a source, or for each where ``source`` is empty."""
        ...

    async def selftest(self) -> give.SelfTested:
        """Show the engine that serves known people.

        Raises:
            TryLater: there is no engine now. PartFailed: it broke.

        """
        ...

    def threshold(self) -> float | None:
        """Return the engine's threshold; None where no engine is up."""
        ...

    async def set_floor(self, floor: Floor) -> None:
        """Keep a floor for good, and let it count at once."""
        ...

    def config(self) -> Mapping[str, Any]:
        """Return the configuration in effect, secrets as stars."""
        ...

    def validate(self, toml: str) -> tuple[Sequence[Mapping[str, str]], Sequence[str]]:
        """Return the faults of a configuration, and which keys would need a restart."""
        ...

    def models(self) -> Sequence[give.Model]:
        """Return the models on this box. Blocks: call it in a thread."""
        ...

    async def pull_model(self, model: str, tell: Tell) -> None:
        """Fetch a model. Raises PartFailed."""
        ...

    def check_model(self, model: str) -> None:
        """See that a model covers as many people as the configuration's. Blocks.

        Raises:
            Failed: ``forbidden_remote``: it covers fewer, or nobody has measured it.

        """
        ...

    async def use_model(self, model: str) -> give.Serving:
        """Let another model look; return once an engine is up. Raises PartFailed."""
        ...

    @property
    def engines(self) -> Engines:
        """What looks, and could look."""
        ...

    async def rebuild_engine(self, tell: Tell) -> Build:
        """Build the GPU's engine anew, try it, and return how building ended.

        Raises:
            Rejected: ``no_gpu``, ``no_library``, ``no_model``, ``busy``.

        """
        ...

    def set_log_level(self, level: str) -> None:
        """Log from this level on."""
        ...

    async def bundle(self) -> give.Bundle:
        """Pack what support needs to know. Raises OSError: it cannot be written."""
        ...

    def restart(self) -> None:
        """Begin to stop, so that the service manager starts the box again."""
        ...
