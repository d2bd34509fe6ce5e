"""Commands of a box: what they see of it, and what they may do. ``app``'s part for remote control.

Implements ``control.commands.box.CommandedBox`` over the parts that ``app.Box`` has opened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import generate_latest

from edge import __version__
from edge.app import same_view
from edge.app.bundle import FOLDER, facts_of, pack
from edge.app.checks import faults
from edge.app.config import needs_restart
from edge.app.model_cover import covers_less
from edge.app.parts import models_directory
from edge.app.selftest import selftest
from edge.config.load import loads
from edge.config.load_faults import ConfigError
from edge.config.privacy import Policy, SourcePrivacy
from edge.config.root import Config, state_directory
from edge.config.sources import SourceConfig
from edge.control.commands import results as give
from edge.control.commands.box import Tell
from edge.control.commands.envelope import Failed
from edge.control.commands.executor import Executor
from edge.control.commands.ledger import Ledger
from edge.control.commands.ratchet import STRENGTH, Floor, both, floor_of, larger
from edge.control.desired import Desired
from edge.control.sources import SourceTable
from edge.control.sync import Sync
from edge.engine_status import Build, Engines
from edge.errors import Fatal, PartFailed
from edge.ops import log as logs
from edge.ops.redact_url import clean
from edge.parcel import Parcel
from edge.traffic import DeadLetters

if TYPE_CHECKING:
    from edge.app.box import Box

log = logging.getLogger(__name__)

_FLOOR = "privacy floor"
_LOOK_S = 1.0
"""Seconds between two looks at how a building stands."""
_ANSWERED_S = 0.5
"""Seconds between a restart's reply and the stop: the reply has to be on its way."""
_MIB = 2**20


class BoxCommands:
    """The box as commands see it, and the executor over it.

    Args:
        box: whose commands they are; its spool is not open yet.
        path: the file of its configuration, if it has one.

    """

    def __init__(self, box: Box, path: Path | None) -> None:
        self._box, self._path = box, path
        self._floor = Floor()
        self._started = time.monotonic()
        config = box.config.control
        self.ledger = Ledger(box.spool, remember=config.remember, audit_rows=config.audit_rows)
        self.sync = Sync(lambda: box.doors.keep("store", box.forwarder.run))
        address = f"{box.config.box.site}/{box.config.box.node}"
        self.executor = Executor(self, self.ledger, config, address=address)

    async def open(self) -> None:
        """Let count what commands raised in an earlier run; before the engine and the sources.

        Raises:
            Fatal: it cannot be read, so that nobody knows how much is to be covered.

        """
        try:
            self._floor = floor_of(await self.ledger.kept(_FLOOR))
        except ValueError as error:
            raise Fatal(
                f"what privacy was raised to cannot be read: {error}",
                hint="edge spool check; a spool without it starts from the file alone",
                reason="privacy_floor",
            ) from error
        self._box.engine_choice.most_threshold = self._floor.threshold
        await self.ledger.look()

    async def close(self) -> None:
        """End what is under way."""
        await self.executor.close()

    def socket(self) -> Path:
        """Return where ``edge ctl`` finds this box."""
        return control_socket(self._box.config)

    # -- CommandedBox

    @property
    def sources(self) -> SourceTable:
        return self._box.sources

    @property
    def letters(self) -> DeadLetters:
        return self._box.view.traffic

    @property
    def desired(self) -> Desired:
        return self._box.desired

    @property
    def floor(self) -> Floor:
        return self._floor

    def about(self) -> give.About:
        box = self._box.config.box
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        uptime = round(time.monotonic() - self._started, 1)
        return give.About(
            site=box.site, node=box.node, version=__version__, time=now, uptime=uptime
        )

    def status(self) -> Mapping[str, Any]:
        return dict(self._box.view.status())

    def spool(self) -> Mapping[str, Any]:
        box = self._box
        outbox, events = box.outbox.stats(), box.bus.journal.stats()
        disk = shutil.disk_usage(box.spool.path.parent)
        return {
            "outbox": {
                "waiting": outbox.waiting,
                "bytes": outbox.waiting_bytes,
                "oldest": round(outbox.oldest_seconds, 1) if outbox.waiting else None,
                "dead": outbox.dead,
                "max_bytes": box.config.outbox.max_bytes,
            },
            "events": {"waiting": events.events, "dead": events.letters},
            "disk": {"free": disk.free, "total": disk.total},
            "paused": self.sync.paused,
        }

    def latest(self, source: str) -> Parcel | None:
        return self._box.live.latest(source)

    async def selftest(self) -> give.SelfTested:
        policy = self._box.policy_for("")
        with self._box.holder.lend() as engine:
            # beside the pool: pictures go on meanwhile
            return await asyncio.to_thread(selftest, engine, policy)

    async def sources_changed(self) -> None:
        await self._box.bus.sources_changed(self._box.sources.configs)

    def file_policy(self, source: str, config: SourceConfig) -> tuple[Policy, Policy]:
        privacy = self._box.config.privacy
        own = self._box.config.sources.get(source)
        least = privacy.for_source(SourcePrivacy() if own is None else own.privacy)
        known = {**self._box.config.sources, **self._box.sources.configs}
        for other in same_view.others(source, config, known):
            elsewhere = privacy.for_source(known[other].privacy)
            least = replace(
                least,
                method=max(least.method, elsewhere.method, key=STRENGTH.__getitem__),
                margin=larger(least.margin, elsewhere.margin),
                blackout=both(least.blackout, self.raised(elsewhere, other).blackout),
            )
        return privacy.for_source(config.privacy), least

    def policies(self, source: str) -> Mapping[str, Policy]:
        names = [source] if source else list(self._box.sources.configs)
        found = {name: self._box.policy_for(name) for name in names}
        return found or {"": self.raised(self._box.config.privacy.for_source(SourcePrivacy()), "")}

    def raised(self, policy: Policy, source: str) -> Policy:
        """Return a source's policy with the floor under it."""
        return self._floor.under(policy, source)

    def threshold(self) -> float | None:
        holder = self._box.holder
        return holder.info.threshold if holder.up and holder.info is not None else None

    async def set_floor(self, floor: Floor) -> None:
        kept = None if floor == Floor() else floor.model_dump(mode="json")
        await self.ledger.keep(_FLOOR, kept)
        before, self._floor = self._floor, floor
        self._box.policies_changed()
        if floor.threshold != before.threshold:
            self._box.engine_choice.most_threshold = floor.threshold
            await self._under_the_floor()

    async def _under_the_floor(self) -> None:
        """Return once no picture is with an engine that still looks as it did before."""
        holder = self._box.holder
        if not holder.up:
            holder.reopen()  # one that is being opened now may not have heard of it
            return
        try:
            await holder.swap()
        except PartFailed as error:  # rather none than one that overlooks whom it must not
            holder.broke(error)
            raise
        await holder.retired()
        self._box.engines.look_again()

    def config(self) -> Mapping[str, Any]:
        shown = clean(self._box.config.model_dump(mode="json"))
        return shown if isinstance(shown, dict) else {}

    def validate(self, toml: str) -> tuple[Sequence[Mapping[str, str]], Sequence[str]]:
        directory = None if self._path is None else self._path.resolve().parent
        try:
            wanted = loads(toml, "the configuration", directory=directory, also=faults)
        except ConfigError as error:
            told = [
                {"path": one.path, "given": one.given, "message": one.message}
                for one in error.faults
            ]
            return told, []
        return [], [one.path for one in needs_restart(self._box.config, wanted)]

    def models(self) -> Sequence[give.Model]:
        from edge.catalog.installed import Catalog, Damaged  # noqa: PLC0415

        info = self._box.holder.info if self._box.holder.up else None
        serving = "" if info is None else info.model
        return [
            give.Model(id=one.id, digest="", installed_at="", serving=False, fault=one.reason)
            if isinstance(one, Damaged)
            else give.Model(
                id=one.id,
                digest=one.digest,
                installed_at=one.installed_at.isoformat(),
                serving=one.id == serving,
            )
            for one in Catalog(models_directory(self._box.config)).ls()
        ]

    async def pull_model(self, model: str, tell: Tell) -> None:
        from edge.catalog.installed import Catalog  # noqa: PLC0415

        models = self._box.config.models
        catalog = Catalog(models_directory(self._box.config), max_bytes=models.max_bytes)
        told = 0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if done - told >= _MIB or done == total:
                told = done
                tell(f"{done} of {total} bytes")

        await catalog.pull(model, progress=progress)

    def check_model(self, model: str) -> None:
        config = self._box.config
        detect = config.detect.model_copy(update={"model": model})
        why = covers_less(config.model_copy(update={"detect": detect}), config)
        if why:
            raise Failed(
                "forbidden_remote",
                f"{why}: this may lower privacy",
                hint=f"edge ctl model.use model={model}, on the box itself; or [control] models",
            )

    async def use_model(self, model: str) -> give.Serving:
        choice = self._box.engine_choice
        before = choice.model
        choice.use(model)
        try:
            info = await self._box.holder.swap()
        except PartFailed:
            choice.use(before)
            raise
        self._box.engines.look_again()
        if info.model != model:
            raise PartFailed(f"{model} does not look: {info.model} does", hint="see the log")
        return give.Serving(engine=info.name, model=info.model, safe_mode=info.safe_mode)

    @property
    def engines(self) -> Engines:
        return self._box.engines

    async def rebuild_engine(self, tell: Tell) -> Build:
        engines, told = self._box.engines, ""
        build = await engines.build(force=True)
        while build.state == "running" or engines.status().trying:
            share = "" if build.share is None else f"{build.share:.0%} "
            words = f"{share}{build.phase}" if build.state == "running" else "it is tried"
            if words != told:
                told = words
                tell(words)
            await asyncio.sleep(_LOOK_S)
            build = engines.status().build
        return build

    def set_log_level(self, level: str) -> None:
        logs.set_up(level, self._box.config.log.format)
        log.info("logging from %s on", level)

    async def bundle(self) -> give.Bundle:
        facts = await facts_of(self._box)
        texts = {"metrics.txt": generate_latest(self._box.metrics.registry)}
        folder = self._box.spool.path.parent / FOLDER
        return await asyncio.to_thread(pack, folder, facts, texts)

    def restart(self) -> None:
        log.info("a command asks for a restart")
        asyncio.get_running_loop().call_later(_ANSWERED_S, self._box.stop)


def control_socket(config: Config, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a box listens for ``edge ctl``."""
    if config.control.socket:
        return Path(config.control.socket)
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return (Path(runtime) if runtime else state_directory(config.box)) / "control.sock"
