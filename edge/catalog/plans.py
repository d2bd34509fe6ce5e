"""The plans (built engines) of this box: ``<key>.plan`` and ``<key>.json`` in one directory.

1. A plan is code that runs on the GPU. It is made on this box, in this directory, which is this
   user's alone (0700); there is no way to hand in one from elsewhere. Where others could write to
   the directory, what lies in it is thrown away.
2. No plan is handed out unless its digest is the one that was written down when it was built.
3. Its key has everything that it depends on, so it is never used for another graph, GPU, library
   version or size of batch.
4. A ``.plan`` without its ``.json`` is not there; the ``.json`` is written last.
5. A plan that failed parity or the canary is refused: its bytes go, its record stays, and it is
   not built again unless somebody asks for that.
6. One that is built anew takes the place of one that has served; that one lies beside it
   (``<key>.last.plan``) until the new one has served, too, and comes back if it does not.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edge.catalog.plan_facts import KEY, PlanFacts
from edge.catalog.plan_files import bytes_of, digest_of, translated, written
from edge.engine_status import Plan
from edge.errors import PartFailed, Rejected

log = logging.getLogger(__name__)

_OURS = re.compile(r"(?:\.new-)?(?:[0-9a-f]{24}|timing-[0-9a-f]{16})[.a-z0-9-]*|state\.json")
"""Names of the files that are written here."""
_LEFTOVER_SECONDS = 24 * 3600.0
_REFUSED_KEPT = 32
_LOG_TAIL = 4000


class Plans:
    """The cache. Its methods block for a moment (``read`` and ``put``: for seconds).

    Args:
        path: the directory; made when the first plan comes.
        keep: how many are kept; the one that serves and the last good one always are.

    """

    def __init__(self, path: Path, keep: int = 4) -> None:
        self.path = path
        self.keep = keep
        #: plan and record belong together: nobody reads between two renames
        self._lock = threading.RLock()

    def find(self, key: str) -> Plan | None:
        """Return what is known of a plan, refused ones too; None if it is not there.

        Raises:
            PartFailed: ``plans_unsafe``: the directory is not this user's.

        """
        self._ready()
        record = self._record(key)
        return None if record is None else self._shown(key, record)

    def ls(self) -> list[Plan]:
        """Return every plan, the newest first. Raises PartFailed, as ``find``."""
        if not self.path.exists():
            return []
        self._ready()
        keys = [path.stem for path in self.path.glob("*.json") if KEY.fullmatch(path.stem)]
        records = ((key, self._record(key)) for key in keys)
        found = [self._shown(key, record) for key, record in records if record is not None]
        return sorted(found, key=lambda plan: plan.built_at, reverse=True)

    def read(self, key: str) -> bytes:
        """Return a plan's bytes, for the engine.

        Raises:
            PartFailed: ``no_plan``; ``plan_refused``; ``plan_damaged``: it is not what was built,
                and has been thrown away; ``plans_unsafe``.

        """
        with self._lock:
            return self._read(key)

    def _read(self, key: str) -> bytes:
        self._ready()
        record = self._record(key)
        if record is None:
            raise PartFailed(
                f"no engine {key!r} has been built", hint="edge engine build", reason="no_plan"
            )
        if record["refused"]:
            raise PartFailed(
                f"the engine {key} is not used: {record['refused']}",
                hint="edge engine build --force builds it again",
                reason="plan_refused",
            )
        body = bytes_of(self._file(key, "plan"))
        if hashlib.sha256(body).hexdigest() != record["sha256"]:
            why = f"the built engine {key} is not what was built, and was thrown away"
            self.discard(key, why)
            raise PartFailed(
                why,
                hint="edge engine build; if it happens again, check the disk",
                reason="plan_damaged",
            )
        return body

    def fresh(self, key: str) -> Path:
        """Return a path beside the plans where a plan of this key may be written."""
        self._ready()
        return self.path / f".new-{_checked(key)}-{secrets.token_hex(4)}.plan"

    def timing(self, facts: PlanFacts) -> Path:
        """Return the file of what buildings for this library and device measured."""
        return self.path / f"timing-{facts.timing_key}.cache"

    def put(self, facts: PlanFacts, made: Path, *, seconds: float, words: str = "") -> Plan:
        """Take over a plan that was built at ``fresh(facts.key)``.

        Args:
            facts: what it was built for.
            made: where it lies; it is moved.
            seconds: how long that took.
            words: what the builder said, the end of it.

        Raises:
            PartFailed: ``not_writable``: what was here before is as it was; ``bad_plan``: there is
                none at ``made``, or it lies elsewhere.

        """
        self._ready()
        key = facts.key
        if made.parent != self.path or not made.name.startswith(f".new-{key}-"):
            raise PartFailed(
                f"an engine is taken from {self.path} only: got {made}", reason="bad_plan"
            )
        record = {
            "facts": asdict(facts),
            "sha256": digest_of(made),
            "bytes": made.lstat().st_size,
            "built_at": datetime.now(UTC).isoformat(),
            "seconds": seconds,
            "words": words[-_LOG_TAIL:],
            "refused": "",
        }
        try:
            # The record is on disk before anything is touched: a full disk costs nothing. Killed
            # between the renames, plan and record differ, and it is built again.
            with self._lock, written(self._file(key, "json"), record):
                self._set_aside(key)
                made.replace(self._file(key, "plan"))
        finally:
            made.unlink(missing_ok=True)
        self.prune()
        return self._shown(key, record)

    def serve(self, key: str, built_at: str = "") -> None:
        """Write down that a plan serves now; the one that did so before is the last good one.

        Args:
            key: ``""``: none serves any more; the one that did is the last good one.
            built_at: the very build that serves, in ISO 8601; empty: the newest of its key.

        """
        state = self._state()
        with self._lock:
            record = self._record(key)
            if record is not None and built_at in {"", record["built_at"]}:
                if not record.get("served"):
                    self._write(self._file(key, "json"), record | {"served": True})
                self._forget_aside(key)
        if key == state["serving"]:
            return
        last = state["serving"] or state["last_good"]
        self._write(self.path / "state.json", {"serving": key, "last_good": last})

    def refuse(self, key: str, why: str, built_at: str = "") -> bool:
        """Never use this plan again; it failed parity or the canary, ``why`` says how.

        Returns:
            Whether another build of its key is there instead: the one that served before it.

        """
        with self._lock:
            self._ready()
            record = self._record(key)
            if record is None:
                return False
            if built_at not in {"", record["built_at"]} or self._fall_back(key, why):
                return True
            self._write(self._file(key, "json"), record | {"refused": why[:500] or "it failed"})
            self._file(key, "plan").unlink(missing_ok=True)
            state = {name: "" if said == key else said for name, said in self._state().items()}
            self._write(self.path / "state.json", state)
        log.warning("the built engine %s is refused: %s", key, why)
        return False

    def discard(self, key: str, why: str, built_at: str = "") -> bool:
        """Throw a plan away that cannot be opened, so that it is built again; else ``refuse``."""
        with self._lock:
            self._ready()
            record = self._record(key)
            if record is not None and built_at not in {"", record["built_at"]}:
                return True
            if self._fall_back(key, why):
                return True
            log.warning("the built engine %s is thrown away: %s", key, why)
            self.drop(key)
            return False

    def drop(self, key: str) -> bool:
        """Throw a plan away, its record too; False if there was none."""
        self._ready()
        with self._lock:
            there = self._file(key, "json").exists()
            self._file(key, "json").unlink(missing_ok=True)
            self._file(key, "plan").unlink(missing_ok=True)
            self._forget_aside(key)
        return there

    def _set_aside(self, key: str) -> None:
        """Keep a plan that has served beside the one that is about to take its place."""
        record = self._record(key)
        if record is None or record["refused"] or not record.get("served"):
            return
        for kind in ("plan", "json"):
            aside = self._file(key, f"last.{kind}")
            aside.unlink(missing_ok=True)
            try:
                os.link(self._file(key, kind), aside)
            except OSError as error:  # a disk that has no links
                log.warning("the engine before %s is not kept: %s", key, error.strerror)

    def _fall_back(self, key: str, why: str) -> bool:
        """Put the plan that served before in its place again; False if there is none."""
        record, plan = self._record(key, "last."), self._file(key, "last.plan")
        if record is None:
            return False
        said = f"it was built anew, and the one before is back: {why}"
        with written(self._file(key, "json"), record | {"anew": said[:500]}):
            plan.replace(self._file(key, "plan"))
        self._forget_aside(key)
        log.warning("the engine %s: %s", key, said)
        return True

    def _forget_aside(self, key: str) -> None:
        for kind in ("json", "plan"):
            self._file(key, f"last.{kind}").unlink(missing_ok=True)

    def prune(self) -> int:
        """Throw away the oldest plans beyond ``keep``, and what a killed builder left."""
        plans = self.ls()
        held = [plan for plan in plans if plan.state == "kept"]
        # one that was just built is kept until it has had its chance to serve
        room = max(1, self.keep - sum(plan.state in {"serving", "last_good"} for plan in plans))
        refused = [plan for plan in plans if plan.state == "refused"]
        gone = [*held[room:], *refused[_REFUSED_KEPT:]]
        known = {plan.key for plan in plans}
        unread = (path.stem for path in self.path.glob("*.json") if KEY.fullmatch(path.stem))
        for key in (*(plan.key for plan in gone), *(key for key in unread if key not in known)):
            self.drop(key)
        orphans = (
            path for path in self.path.glob("*.plan") if not path.with_suffix(".json").exists()
        )
        for left in (*self.path.glob(".new-*"), *orphans):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > _LEFTOVER_SECONDS:
                    left.unlink()
        return len(gone)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from building here meanwhile.

        Raises:
            Rejected: ``busy``: another process builds.

        """
        self._ready()
        with translated(self.path):
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Rejected(
                "another process of this box builds an engine now",
                hint="wait until it is done; a box that runs tries it then",
                reason="busy",
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def _ready(self) -> None:
        """Make the directory, or see that it is this user's alone."""
        with translated(self.path):
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700, parents=True)
            facts = self.path.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
                raise PartFailed(
                    f"{self.path} is not a directory of this user: engines are not kept there, and "
                    "none is taken from there",
                    hint="move it away; Edge makes its own",
                    reason="plans_unsafe",
                )
            if facts.st_mode & 0o022:
                log.warning("others may write to %s: the engines in it are thrown away", self.path)
                for path in self.path.iterdir():
                    if _OURS.fullmatch(path.name):
                        path.unlink()
            if facts.st_mode & 0o077:
                self.path.chmod(0o700)

    def _record(self, key: str, which: Literal["", "last."] = "") -> dict[str, Any] | None:
        """Return a plan's record, or None where it cannot be read or does not fit its plan."""
        if not KEY.fullmatch(key):
            return None
        try:
            record: dict[str, Any] = json.loads(self._file(key, f"{which}json").read_bytes())
            facts = PlanFacts(
                **record["facts"] | {"capability": tuple(record["facts"]["capability"])}
            )
            datetime.fromisoformat(record["built_at"])
            plan = self._file(key, f"{which}plan")
            whole = record["refused"] or plan.lstat().st_size == record["bytes"]
            if facts.key == key and isinstance(record["sha256"], str) and whole:
                return record
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the record of the built engine %s cannot be read: %s", key, error)
            return None
        log.warning("the built engine %s and its record differ: it is not used", key)
        return None

    def _shown(self, key: str, record: Mapping[str, Any]) -> Plan:
        facts, marks = record["facts"], self._state()
        state: Literal["serving", "last_good", "kept", "refused"] = "kept"
        if record["refused"]:
            state = "refused"
        elif key == marks["serving"]:
            state = "serving"
        elif key == marks["last_good"]:
            state = "last_good"
        return Plan(
            key=key,
            model=facts["model"],
            state=state,
            bytes=0 if state == "refused" else record["bytes"],
            built_at=datetime.fromisoformat(record["built_at"]),
            library=f"{facts['library']} {facts['library_version']}",
            device=facts["device"],
            seconds=record["seconds"],
            why=record["refused"] or str(record.get("anew", "")),
        )

    def _state(self) -> dict[str, str]:
        marks = {"serving": "", "last_good": ""}
        try:
            said = json.loads((self.path / "state.json").read_bytes())
            return {name: str(said[name]) for name in marks}
        except (OSError, ValueError, KeyError, TypeError):
            return marks  # nothing is lost: whoever serves says so when it serves

    def _file(self, key: str, kind: str) -> Path:
        return self.path / f"{_checked(key)}.{kind}"

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        self._ready()
        with written(path, value):
            pass


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise PartFailed(f"{key!r} is no key of a built engine", reason="no_plan")
    return key
