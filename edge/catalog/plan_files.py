"""Files of plans: written whole or not at all, never through a link, and durable."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.errors import PartFailed


@contextmanager
def written(path: Path, value: Mapping[str, Any]) -> Iterator[None]:
    """Write JSON anew; it takes its place at the end, and not if the body fails.

    Raises:
        PartFailed: ``not_writable``.

    """
    fresh = path.with_name(f".new-{path.name}-{secrets.token_hex(4)}")
    with translated(path.parent):
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
def translated(directory: Path) -> Iterator[None]:
    """Raise what a disk says as PartFailed, ``not_writable``."""
    try:
        yield
    except OSError as error:
        raise PartFailed(
            f"engines cannot be kept in {directory}: {error.strerror}",
            hint="is there room, and may Edge write there?",
            reason="not_writable",
        ) from error


def bytes_of(path: Path) -> bytes:
    """Return what is in a plan. Raises PartFailed: ``no_plan``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise PartFailed(
            f"the built engine {path.stem} cannot be read: {error.strerror}",
            hint="edge engine build",
            reason="no_plan",
        ) from error
    with os.fdopen(handle, "rb") as plan:
        return plan.read()


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a plan that was built. Raises PartFailed: ``bad_plan``."""
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
