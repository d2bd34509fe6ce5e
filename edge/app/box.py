"""The box: the one module that knows every room. It builds, wires, opens and closes them.

::

    cameras, scene, folders, uploads                      events (HTTP)
        | offer / accept                                     |      opened last, closed first
    [ lanes ] --> [ delivery ] --> triggers             [ broker ] --> triggers
                                      |                      |
                    redact: decode > detect > redact > GATE  |  route, forward, log ...
                                      |                      |
                            [ spool: outbox    and    journal ]
                                      |
                              [ forwarder ] --> store              opened first, closed last

Open: spool -> store -> engine -> bus -> path -> web -> sources -> broker -> ``READY=1``.
Close: ``STOPPING=1`` -> sources -> pictures and events in hand (budget) -> store -> broker
-> engine -> web -> spool.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.boots import Boots
from edge.app.buckets import Buckets
from edge.app.bus import Bus
from edge.app.commands import BoxCommands
from edge.app.config import LIVE, BoxConfigured, needs_restart
from edge.app.energy import BoxEnergy
from edge.app.engines import BoxEngines
from edge.app.hands import WAITING, fit, hands_of
from edge.app.jobs import jobs_of
from edge.app.jpeg import BoxJpeg
from edge.app.parts import build_store, is_live
from edge.app.sources import build_source, is_camera
from edge.app.spool import spool_in
from edge.app.status import BoxView, Notices
from edge.bus.delivery import Delivery
from edge.bus.lanes import LATEST, LanePolicy, Lanes
from edge.bus.pictures import Kept, Pictures
from edge.config.diff import changes
from edge.config.privacy import Policy, SourcePrivacy
from edge.config.root import Config, state_directory
from edge.control.desired import Desired
from edge.control.desired_box import Beginning
from edge.control.live import Live
from edge.control.sources import SourceTable
from edge.errors import Fatal
from edge.ops import log as logs
from edge.ops.beats import Beats, LoopLag
from edge.ops.groups import cause_of
from edge.ops.metrics import Metrics
from edge.ops.notify import notify, watchdog_seconds
from edge.ops.redact_url import without_credentials
from edge.ops.supervise import Supervisor
from edge.privacy.gate import PrivacyGate
from edge.privacy.naming import Naming
from edge.sinks.forward import Forwarder
from edge.sinks.outbox import Outbox
from edge.stages.pool import PicturePool
from edge.stages.walk import Redact
from edge.web.local import LocalServer
from edge.web.server import WebServer

if TYPE_CHECKING:
    from edge.app.upstream import Upstream

log = logging.getLogger(__name__)

STORE_LIMIT = 300.0
"""Seconds without a try at the store, while parcels wait, after which the box is not alive."""
BUS_LIMIT = 60.0
"""Seconds that a delivery may be over its own timeout before the box is not alive."""
TICK = 1.0
"""Seconds between two looks at the beats, the loop's lag and the service manager."""


class Box:
    """One box, from its configuration to its end. ``run`` once."""

    def __init__(
        self, config: Config, *, path: Path | None = None, beginning: Beginning | None = None
    ) -> None:
        self.config = config
        self.metrics = metrics = Metrics()
        self.origin = f"/{config.box.site}/{config.box.node}"
        self._path = path
        self._policies: dict[str, Policy] = {}
        self._stopping = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

        state = state_directory(config.box)
        self.spool = spool_in(state)
        self.outbox = Outbox(self.spool, config.outbox, metrics)
        self.outbox.room.yields = lambda name: is_live(self.sources.configs.get(name))
        self.store = build_store(config)
        self.forwarder = Forwarder(self.outbox, self.store, config.outbox, metrics)
        self.engines, self.jpeg = BoxEngines(self), BoxJpeg(self)
        self.engine_choice, self.holder = self.engines.choice, self.engines.holder
        self.pool = PicturePool(hands_of(config.detect), config.detect.timeout)
        self.kept = Kept(metrics, self.outbox)
        self.bus = Bus(self)
        self.buckets = Buckets(self)
        self.lanes = Lanes(metrics, self.lane_policy)
        self.live = Live()
        self.uploads = jobs_of(self)
        self.supervisor = Supervisor(metrics)
        self.doors = Supervisor(metrics, most=config.outbox.retry_max)
        self.beats = Beats()
        self.notices = Notices()
        self.energy = BoxEnergy(config.energy, metrics)
        self.commands = BoxCommands(self, path)
        self.configured = BoxConfigured(self, path)
        probation = config.control.probation
        self.desired = Desired(self.configured, beginning, probation=probation)
        self.boots = Boots(self.commands.ledger)
        self.upstream = self._upstream(path)
        self.page = ""
        self.web: WebServer | None = None
        self.local: LocalServer | None = None

    def _upstream(self, path: Path | None) -> Upstream | None:
        if self.config.mqtt is None:
            return None
        from edge.app.upstream import Upstream  # noqa: PLC0415 (MQTT: only where there is a broker)

        return Upstream(self, self.config.mqtt, path)

    async def run(self) -> None:
        """Open, serve until a signal or ``stop``, close.

        Raises:
            Fatal: configuration or state with which no box can work.
            GpuLost: it stopped because only a new process can use the GPU again.

        """
        await self.outbox.open()
        try:
            async with asyncio.TaskGroup() as group:
                await self._open(group)
                await self._stopping.wait()
                await self._close()
        except BaseExceptionGroup as group:
            raise cause_of(group) from group
        finally:
            self.pool.close()
            await self.engines.close()
            await self.jpeg.close()
            await self.commands.close()
            if self.local is not None:
                await self.local.stop()
            if self.web is not None:
                await self.web.stop()
            await self.bus.close()
            await self.buckets.close()
            await self.forwarder.close()
            await self.outbox.close()
        if self.engines.lost is not None:
            raise self.engines.lost

    def stop(self) -> None:
        """Begin to stop; ``run`` returns when everything is closed."""
        self._stopping.set()

    def policy_for(self, source: str) -> Policy:
        """Return how people are covered in the pictures of a source."""
        # Called by the workers, too: whoever still reads old settings fills the old dictionary.
        policies = self._policies
        policy = policies.get(source)
        if policy is None:
            config = self.sources.configs.get(source)
            special = SourcePrivacy() if config is None else config.privacy
            policy = self.config.privacy.for_source(special)
            policy = policies[source] = self.commands.raised(policy, source)
        return policy

    def _key_template(self, source: str) -> str:
        config = self.sources.configs.get(source)
        own = "" if config is None else config.key_template
        return own or self.config.store.key_template

    def _priority(self, source: str) -> int:
        config = self.sources.configs.get(source)
        if config is None:
            return self.config.jobs.priority if source == self.uploads.name else 0
        return config.priority

    def policies_changed(self) -> None:
        """Ask anew how people are covered."""
        self._policies = {}

    def lane_policy(self, source: str) -> LanePolicy:
        """Return how a source queues."""
        config = self.sources.configs.get(source)
        return LATEST if config is None else LanePolicy(config.queue, config.queue_room)

    def reload(self) -> None:
        """Read the configuration again and apply what can be applied without a restart."""
        loop = asyncio.get_running_loop()
        self._reloading = loop.create_task(self._reload(), name="reload")

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    async def _open(self, group: asyncio.TaskGroup) -> None:
        self._hear_signals()

        def start(name: str, work: Coroutine[Any, Any, None]) -> None:
            self._background.append(group.create_task(work, name=name))

        start("config", self.desired.run())
        await self.commands.open()
        await self.boots.open()
        await self.engines.open()
        start("engine", self.supervisor.keep("engine", self.engines.keep))
        path = self._build_path()
        await self.bus.open(self.redact)
        if self.upstream is not None:
            await self.upstream.open()
        # after the triggers are set: some want to know what the store has
        start("store", self.commands.sync.run())
        start("bus", self.bus.broker.run())
        start("path", path.run())
        self.sources: SourceTable = SourceTable(
            partial(build_source, self),
            offer=self.energy.thin(self.lanes.offer, self.lane_policy, partial(is_camera, self)),
            accept=self.lanes.accept,
            supervisor=self.supervisor,
            metrics=self.metrics,
            group=group,
            changed=self._source_changed,
        )
        self.view = BoxView(self)
        web = WebServer(self.config.web, self.view, max_event=self.config.bus.max_event)
        self.page = await web.start()
        log.info("the page is at %s", self.page)
        self.web, self.local = web, LocalServer(self.commands.socket(), self.view)
        await self.local.start()
        start("uploads", self._pump_uploads())
        start("model", self.engine_choice.keep_looking(self.engines.better))
        start("engines", self.supervisor.keep("engines", self.engines.run))
        start("tick", self._tick())
        start("energy", self.supervisor.keep("energy", self.energy.run))
        self._begin(start)

    def _begin(self, start: Callable[[str, Coroutine[Any, Any, None]], None]) -> None:
        """Open the taps, and say that all is open."""
        start("encoder", self.jpeg.open())
        for name, config in self.config.sources.items():
            self.sources.add(name, config)
        if self.upstream is not None:
            self.upstream.start(start)
        self.configured.ready = True
        self.configured.notice()
        self.desired.changed.append(self.configured.notice)
        notify(READY=1, STATUS=f"{len(self.config.sources)} sources")

    def _build_path(self) -> Delivery:
        gate = PrivacyGate(
            self.policy_for,
            engine_ok=self.holder.qualifies,
            key_for=Naming(self._key_template, room=self.config.store.key_room),
            jpeg=self.jpeg.encode,
        )
        self.redact = Redact(
            self.metrics,
            pool=self.pool,
            holder=self.holder,
            gate=gate,
            policy_for=self.policy_for,
            max_pixels=self.config.detect.max_pixels,
            priority_for=self._priority,
        )
        self.pictures: Pictures = Pictures(
            self.metrics, audience=self.bus.listeners, keeper=self.kept
        )
        self.kept.made += [self.live.show, self.uploads.finished]
        self.delivery = Delivery(
            self.lanes,
            self.pictures,
            self.metrics,
            in_hand=self.pool.workers + WAITING,
            broke=self.holder.broke,
        )
        self.holder.served = partial(fit, self)
        self.beats.watch("the path", self.delivery.age, 3 * self.config.detect.timeout)
        self.beats.watch("the bus", self.bus.broker.age, BUS_LIMIT)
        self.beats.watch("the store", self._store_age, STORE_LIMIT + self.config.outbox.retry_max)
        return self.delivery

    def _store_age(self) -> float | None:
        return None if self.commands.sync.paused else self.forwarder.age()

    def _source_changed(self, name: str) -> None:
        """Forget what was known of a source: its policy, and the picture on the page."""
        self._policies = {}
        self.live.forget(name)

    async def _pump_uploads(self) -> None:
        async for event in self.uploads.events():
            self.metrics.pictures_taken.labels(self.uploads.name).inc()
            await self.lanes.accept(event, self.uploads.settle)
            del event  # or the original would stay in memory until the next one comes

    async def _tick(self) -> None:
        lag = LoopLag()
        while True:
            await asyncio.sleep(TICK)
            self.metrics.loop_lag_seconds.set(lag.tick(TICK))
            if watchdog_seconds() is not None and not self.beats.stale():
                notify(WATCHDOG=1)

    async def _reload(self) -> None:
        if self._path is None:
            log.warning("there is no configuration file to read again")
            return
        notify(RELOADING=1)
        try:
            await self.take(await self.configured.reread(self._path))
        except Fatal as error:
            self._refused(error)
        notify(READY=1)

    def _refused(self, error: Fatal) -> None:
        log.error("the configuration was not reloaded: %s", error)
        self.notices.add(
            "The configuration has faults; the box goes on with the old one",
            without_credentials(str(error)),
        )

    async def take(self, wanted: Config) -> None:
        """Take over another configuration, as far as that goes without a restart.

        Raises:
            Fatal: triggers or handlers of it are none; the box goes on with the old one.

        """
        different = changes(self.config, wanted)
        later = [change.path for change in needs_restart(self.config, wanted)]
        if later:
            log.warning("these need a restart: %s", ", ".join(later))
            self.notices.add(f"Changed, but not before a restart: {', '.join(later)}")
        await self.bus.apply(wanted)
        if self.upstream is not None:
            self.upstream.reload(wanted)
        logs.set_up(wanted.log.level, self.config.log.format)
        self.config = self.config.model_copy(update={name: getattr(wanted, name) for name in LIVE})
        self._policies = {}
        await self.sources.apply(wanted.sources)
        log.info("configuration reloaded: %d changes", len(different))

    async def _close(self) -> None:
        log.info("stopping")
        notify(STOPPING=1)
        self.desired.closing = True
        budget = self.config.box.stop_timeout
        await self.sources.shut()
        await self.uploads.close()
        await self.lanes.close()
        left = await self.delivery.drain(budget)
        await self.bus.broker.drain(budget / 2)
        if left:
            log.warning("%d pictures were not finished within %g s", left, budget)
        await self.forwarder.drain(budget / 2)
        if self.upstream is not None:
            await self.upstream.close(budget / 4)
        await self.boots.ended()
        for task in self._background:
            task.cancel()


def run_box(config: Config, path: Path | None, beginning: Beginning | None = None) -> None:
    """Run a box in this process until it is told to stop.

    Args:
        config: what counts.
        path: the operator's file, if there is one.
        beginning: how ``config`` came to count.

    Raises:
        Fatal: it cannot work as configured. GpuLost: only a new process can use the GPU again.

    """

    async def main() -> None:
        await Box(config, path=path, beginning=beginning).run()

    asyncio.run(main())
