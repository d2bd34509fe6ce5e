"""Which engine looks: the configured model, or safe mode where it cannot be had.

A box that cannot get its model is not dead, but it is not what was ordered either: it covers what
moves, withholds what it cannot judge, says so everywhere, and goes on trying to get the model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge.config.detect import DetectConfig, ModelsConfig
from edge.contracts import Engine
from edge.errors import Fatal, PartFailed
from edge.ops.backoff import Backoff

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks whether somebody has imported the model by hand."""
PULL_FIRST, PULL_MOST = 60.0, 3600.0
"""Seconds between two tries to fetch a model that is missing."""


class Installed(Protocol):
    """A model on this box."""

    @property
    def path(self) -> Path:
        """Its canonical graph."""
        ...


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

    """

    def __init__(
        self,
        detect: DetectConfig,
        fetch: ModelsConfig,
        *,
        models: Models,
        onnx: Callable[[Path, float | None], Engine],
        builtin: Callable[[float], Engine],
    ) -> None:
        self._detect = detect
        self._fetch = fetch
        self._models = models
        self._onnx = onnx
        self._builtin = builtin
        #: why there is no trained model, in words; empty where there is one or none was wanted
        self.missing = ""
        #: highest threshold that is allowed, whatever the file or the model says; None: any
        self.most_threshold: float | None = None

    @property
    def model(self) -> str:
        """Id of the model that is wanted."""
        return self._detect.model

    def use(self, model: str) -> None:
        """Want another model from the next opening on."""
        self._detect = self._detect.model_copy(update={"model": model})

    async def open(self) -> Engine:
        """Open the engine.

        Raises:
            Fatal: ``engine = "onnx"`` and the model cannot be had.
            PartFailed: the model is there but does not run.

        """
        if self._detect.engine == "builtin":
            return self._builtin(self._detect.still_for)
        try:
            installed = await self._get(self._fetch.pull_timeout)
        except PartFailed as error:
            return self._without(error)
        self.missing = ""
        return await asyncio.to_thread(self._opened, installed.path)

    def _opened(self, path: Path) -> Engine:
        engine, most = self._onnx(path, self._detect.threshold), self.most_threshold
        if most is None or engine.info.threshold <= most:
            return engine
        engine.close()
        return self._onnx(path, most)

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
                if wait > 0 and self._models.find(self._detect.model) is None:
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
        installed = await asyncio.to_thread(self._models.find, self._detect.model)
        if installed is not None:
            return installed
        if not self._fetch.pull:
            raise PartFailed(
                f"model {self._detect.model} is not installed",
                hint="import it: edge model import FILE.onnx",
                reason="no_model",
            )
        return await self._models.pull(self._detect.model, timeout=limit)

    def _without(self, error: PartFailed) -> Engine:
        if self._detect.engine == "onnx":
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
