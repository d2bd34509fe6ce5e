"""Which engine looks: the configured model, or safe mode where it cannot be had.

A box that cannot get its model is not dead, but it is not what was ordered either: it covers what
moves, withholds what it cannot judge, says so everywhere, and goes on trying to get the model.

A trained model is run by ONNX Runtime, or by another engine that was tried beside it
(``engine_trials.py``) and found to agree. Whoever is opened is checked before it is handed out,
and where another engine cannot be opened any more, ONNX Runtime is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from edge.config.detect import DetectConfig, ModelsConfig
from edge.contracts import Engine
from edge.errors import EdgeError, Fatal, GpuLost, PartFailed
from edge.ops.backoff import Backoff

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks whether somebody has imported the model by hand."""
PULL_FIRST, PULL_MOST = 60.0, 3600.0
"""Seconds between two tries to fetch a model that is missing."""


REFERENCE = "onnx"
"""The engine that every other one is measured against; where nothing else serves, it does."""


class Installed(Protocol):
    """A model on this box."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def path(self) -> Path:
        """Its canonical graph."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical graph."""
        ...


OpenWay = Callable[[Any, float | None], Engine]
"""Opens another engine with an installed model and the operator's threshold. Blocks. Raises
PartFailed."""


class Models(Protocol):
    """The catalogue, as far as the choice of an engine needs it."""

    def find(self, model: str) -> Installed | None:
        """Return an installed model. Raises PartFailed where its file is damaged."""
        ...

    async def pull(self, model: str, *, timeout: float) -> Installed:  # noqa: ASYNC109
        """Fetch and install a model within ``timeout`` seconds. Raises PartFailed."""
        ...


class EngineChoice:
    """Opens the engine that the configuration asks for; ``open`` is the holder's opener.

    Args:
        onnx: opens a trained model from its canonical graph, with the operator's threshold.
        builtin: opens safe mode.
        check: shows a trained engine something before it is handed out. Blocks; raises PartFailed.

    """

    def __init__(
        self,
        detect: DetectConfig,
        fetch: ModelsConfig,
        *,
        models: Models,
        onnx: Callable[[Path, float | None], Engine],
        builtin: Callable[[float], Engine],
        check: Callable[[Engine, Any], object] = lambda _, __: None,
    ) -> None:
        self._detect = detect
        self._fetch = fetch
        self.models = models
        self._onnx = onnx
        self._builtin = builtin
        self._check = check
        #: the other engines, by name
        self.ways: dict[str, OpenWay] = {}
        #: says which engine serves a model best, as far as that was found out before
        self.best: Callable[[Any], str] = lambda _: REFERENCE
        #: raises PartFailed unless another engine was found to agree; asked before it serves
        self.admit: Callable[[Engine, Any], object] = lambda _, __: None
        #: told where another engine could not be opened, and ONNX Runtime takes its place
        self.failed: Callable[[str, PartFailed], None] = lambda _, __: None
        #: the engine that somebody tries to swap in; empty: the best is opened
        self._target = ""
        #: why there is no trained model, in words; empty where there is one or none was wanted
        self.missing = ""
        #: highest threshold that is allowed, whatever the file or the model says; None: any
        self.most_threshold: float | None = None

    @property
    def wanted(self) -> str:
        """Return what the configuration asks for: ``auto``, or an engine's name."""
        return self._detect.engine

    @property
    def model(self) -> str:
        """Id of the model that is wanted."""
        return self._detect.model

    def use(self, model: str) -> None:
        """Want another model from the next opening on."""
        self._detect = self._detect.model_copy(update={"model": model})

    def ask(self, engine: str) -> None:
        """Want another kind of engine from the next opening on."""
        self._detect = self._detect.model_copy(update={"engine": engine})

    @property
    def threshold(self) -> str:
        """Return what scores are people, as the operator and commands have it."""
        return f"{self._detect.threshold} {self.most_threshold}"

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Want this engine and no other, while somebody tries to swap."""
        self._target = name
        try:
            yield
        finally:
            self._target = ""

    async def open(self) -> Engine:
        """Open the engine.

        Raises:
            Fatal: an engine is demanded by its name and the model cannot be had.
            PartFailed: the model is there but does not run, or does not see who it has to.

        """
        if self._detect.engine == "builtin":
            return self._builtin(self._detect.still_for)
        try:
            installed = await self._get(self._fetch.pull_timeout)
        except PartFailed as error:
            return self._without(error)
        self.missing = ""
        return await asyncio.to_thread(self._opened, installed)

    def _opened(self, installed: Installed) -> Engine:
        name = self._target or self.best(installed)
        way = self.ways.get(name)
        if way is not None:
            try:
                with self._blamed(name):
                    return self._checked(installed, lambda most: way(installed, most), self.admit)
            except PartFailed as error:
                if self._target or isinstance(error, GpuLost):
                    raise
                log.warning("engine %s cannot serve: %s. %s", name, error, error.hint)
                self.failed(name, error)
        return self._checked(installed, lambda most: self._onnx(installed.path, most))

    def reference(self, installed: Installed) -> Engine:
        """Open the engine that others are measured against. Blocks. Raises PartFailed."""
        return self._lowered(lambda most: self._onnx(installed.path, most))

    def other(self, name: str, installed: Installed) -> Engine:
        """Open another engine beside the one that serves. Blocks. Raises PartFailed."""
        with self._blamed(name):
            return self._checked(installed, lambda most: self.ways[name](installed, most))

    @contextlib.contextmanager
    def _blamed(self, name: str) -> Iterator[None]:
        """Do not open an engine again in this run that met a bug: ONNX Runtime looks instead."""
        try:
            yield
        except EdgeError:
            raise
        except Exception:
            bug = PartFailed("it met a bug when it was opened", hint="see the log", reason="bug")
            self.failed(name, bug)
            raise

    def _checked(
        self,
        installed: Installed,
        opened: Callable[[float | None], Engine],
        *more: Callable[[Engine, Any], object],
    ) -> Engine:
        engine = self._lowered(opened)
        try:
            for check in (self._check, *more):
                check(engine, installed)
        except BaseException:
            engine.close()
            raise
        return engine

    def _lowered(self, opened: Callable[[float | None], Engine]) -> Engine:
        engine, most = opened(self._detect.threshold), self.most_threshold
        if most is None or engine.info.threshold <= most:
            return engine
        engine.close()
        return opened(most)

    async def keep_looking(self, better: Callable[[], None]) -> None:
        """While the model is missing, look for it and fetch it; ``better`` when it is there."""
        backoff = Backoff(PULL_FIRST, PULL_MOST)
        wait = backoff.next()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self.missing:
                continue
            wait -= LOOK_EVERY
            try:
                if wait > 0 and self.models.find(self._detect.model) is None:
                    continue
                await self._get(self._fetch.pull_timeout)
            except PartFailed as error:
                self.missing = str(error)
                wait = backoff.next()
                continue
            log.info("model %s is here now: leaving safe mode", self._detect.model)
            self.missing = ""
            backoff.reset()
            better()

    async def _get(self, limit: float) -> Installed:
        installed = await asyncio.to_thread(self.models.find, self._detect.model)
        if installed is not None:
            return installed
        if not self._fetch.pull:
            raise PartFailed(
                f"model {self._detect.model} is not installed",
                hint="import it: edge model import FILE.onnx",
                reason="no_model",
            )
        return await self.models.pull(self._detect.model, timeout=limit)

    def _without(self, error: PartFailed) -> Engine:
        if self._detect.engine != "auto":
            raise Fatal(
                f"model {self._detect.model} cannot be had: {error}",
                hint=error.hint or 'import it, or set engine = "auto" for safe mode meanwhile',
            ) from error
        self.missing = str(error)
        log.warning(
            "SAFE MODE: no trained model looks. %s. %s",
            error,
            error.hint or "import one: edge model import FILE.onnx",
        )
        return self._builtin(self._detect.still_for)
