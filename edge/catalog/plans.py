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
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edge.catalog.plan_facts import KEY, PlanFacts
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
        body = self._bytes(key)
        if hashlib.sha256(body).hexdigest() != record["sha256"]:
            self.drop(key)
            raise PartFailed(
                f"the built engine {key} is not what was built, and was thrown away",
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
            "sha256": _digest_of(made),
            "bytes": made.lstat().st_size,
            "built_at": datetime.now(UTC).isoformat(),
            "seconds": seconds,
            "words": words[-_LOG_TAIL:],
            "refused": "",
        }
        try:
            # The record is on disk before anything is touched: a full disk costs nothing. Killed
            # between the renames, plan and record differ, and it is built again.
            with self._written(self._file(key, "json"), record):
                made.replace(self._file(key, "plan"))
        finally:
            made.unlink(missing_ok=True)
        self.prune()
        return self._shown(key, record)

    def serve(self, key: str) -> None:
        """Write down that a plan serves now; the one that did so before is the last good one.

        ``""``: none serves any more; the one that did is the last good one.
        """
        state = self._state()
        if key == state["serving"]:
            return
        last = state["serving"] or state["last_good"]
        self._write(self.path / "state.json", {"serving": key, "last_good": last})

    def last_good(self, model: str = "") -> Plan | None:
        """Return the plan that served before the one that serves now, if it can still be used."""
        plan = self.find(self._state()["last_good"])
        if plan is None or plan.state == "refused" or model not in {"", plan.model}:
            return None
        return plan

    def refuse(self, key: str, why: str) -> None:
        """Never use this plan again; it failed parity or the canary, ``why`` says how."""
        self._ready()
        record = self._record(key)
        if record is None:
            return
        self._write(self._file(key, "json"), record | {"refused": why[:500] or "it failed"})
        self._file(key, "plan").unlink(missing_ok=True)
        state = {name: "" if said == key else said for name, said in self._state().items()}
        self._write(self.path / "state.json", state)
        log.warning("the built engine %s is refused: %s", key, why)

    def drop(self, key: str) -> bool:
        """Throw a plan away, its record too; False if there was none."""
        self._ready()
        there = self._file(key, "json").exists()
        self._file(key, "json").unlink(missing_ok=True)
        self._file(key, "plan").unlink(missing_ok=True)
        return there

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
        with _translated(self.path):
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Rejected(
                "another process of this box builds an engine now",
                hint="wait until it is done, or let the box that runs do it",
                reason="busy",
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def _ready(self) -> None:
        """Make the directory, or see that it is this user's alone."""
        with _translated(self.path):
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

    def _record(self, key: str) -> dict[str, Any] | None:
        """Return a plan's record, or None; a record that cannot be read is thrown away."""
        if not KEY.fullmatch(key):
            return None
        try:
            record: dict[str, Any] = json.loads(self._file(key, "json").read_bytes())
            facts = PlanFacts(
                **record["facts"] | {"capability": tuple(record["facts"]["capability"])}
            )
            datetime.fromisoformat(record["built_at"])
            whole = record["refused"] or self._file(key, "plan").lstat().st_size == record["bytes"]
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
            why=record["refused"],
        )

    def _state(self) -> dict[str, str]:
        marks = {"serving": "", "last_good": ""}
        try:
            said = json.loads((self.path / "state.json").read_bytes())
            return {name: str(said[name]) for name in marks}
        except (OSError, ValueError, KeyError, TypeError):
            return marks  # nothing is lost: whoever serves says so when it serves

    def _bytes(self, key: str) -> bytes:
        try:
            handle = os.open(self._file(key, "plan"), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise PartFailed(
                f"the built engine {key} cannot be read: {error.strerror}",
                hint="edge engine build",
                reason="no_plan",
            ) from error
        with os.fdopen(handle, "rb") as plan:
            return plan.read()

    def _file(self, key: str, kind: str) -> Path:
        return self.path / f"{_checked(key)}.{kind}"

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        self._ready()
        with self._written(path, value):
            pass

    @contextmanager
    def _written(self, path: Path, value: Mapping[str, Any]) -> Iterator[None]:
        """Write a file anew; it takes its place at the end, and not if the body fails."""
        fresh = path.with_name(f".new-{path.name}-{secrets.token_hex(4)}")
        with _translated(path.parent):
            try:
                handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w", encoding="utf-8") as out:
                    json.dump(value, out, indent=1)
                    out.flush()
                    os.fsync(out.fileno())
                yield
                fresh.replace(path)
                _flush(path.parent)
            finally:
                fresh.unlink(missing_ok=True)


@contextmanager
def _translated(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PartFailed(
            f"engines cannot be kept in {directory}: {error.strerror}",
            hint="is there room, and may Edge write there?",
            reason="not_writable",
        ) from error


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise PartFailed(f"{key!r} is no key of a built engine", reason="no_plan")
    return key


def _digest_of(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as plan:
            return hashlib.file_digest(plan, "sha256").hexdigest()
    except OSError as error:
        raise PartFailed(
            f"the builder left no engine at {path}: {error.strerror}", reason="bad_plan"
        ) from error


def _flush(directory: Path) -> None:
    """A rename is durable only after its directory is flushed."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
