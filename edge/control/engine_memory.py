"""What was measured of engines on this box, kept over restarts in one small JSON file.

It can be lost without harm: then it is measured again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_MOST = 200
"""So many facts are kept, the newest ones: a model and an engine have one each."""


class Memory:
    """Facts by their keys. Safe to use from several threads.

    Args:
        path: the file; made when the first fact comes.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._facts: dict[str, dict[str, Any]] | None = None

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Return what is known under a key. Blocks at the first call."""
        with self._lock:
            return self._read().get(key)

    def keep(self, key: str, facts: Mapping[str, Any]) -> None:
        """Remember facts. Blocks. A disk that takes nothing only costs the memory."""
        with self._lock:
            known = self._read()
            known.pop(key, None)
            known[key] = dict(facts)
            for old in list(known)[: max(0, len(known) - _MOST)]:
                del known[old]
            try:
                self._write(known)
            except OSError as error:
                log.warning("what was measured of engines is not kept: %s", error.strerror)

    def forget(self, key: str) -> None:
        """Forget what is known under a key. Blocks."""
        with self._lock:
            if self._read().pop(key, None) is not None:
                with contextlib.suppress(OSError):
                    self._write(self._read())

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._facts is None:
            try:
                told = json.loads(self._path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                told = {}
            facts = told if isinstance(told, dict) else {}
            self._facts = {key: one for key, one in facts.items() if isinstance(one, dict)}
        return self._facts

    def _write(self, known: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as out:
            json.dump(known, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self._path)
