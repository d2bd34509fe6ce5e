"""A bundle for support: how the box is, in one file, without secrets and without pictures."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.control.commands import results as give
from edge.ops.redact_url import clean

if TYPE_CHECKING:
    from edge.app.box import Box

FOLDER = "bundles"
MOST = 3
"""Bundles that are kept; the oldest go."""
_ENTRIES = 500


async def facts_of(box: Box) -> dict[str, Any]:
    """Return what goes into a bundle, by the names of its parts."""
    commands = box.commands
    return {
        "about": {
            "version": __version__,
            "python": sys.version,
            "machine": platform.platform(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "status": commands.status(),
        "config": commands.config(),
        "configuration": box.desired.told().model_dump(mode="json"),
        "spool": commands.spool(),
        "audit": await commands.ledger.recent(_ENTRIES),
    }


def pack(folder: Path, facts: Mapping[str, Any], texts: Mapping[str, bytes]) -> give.Bundle:
    """Write a bundle, and let go of old ones. Blocks: call it in a thread.

    Raises:
        OSError: it cannot be written; nothing is left of it.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"edge-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.zip"
    part = path.with_suffix(".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, value in facts.items():
                text = json.dumps(clean(value), indent=1, ensure_ascii=False, default=str)
                bundle.writestr(f"{name}.json", text.encode("utf-8", "replace"))
            for name, body in texts.items():
                bundle.writestr(name, body)
        part.chmod(0o600)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    for old in sorted(folder.glob("edge-*.zip"))[:-MOST]:
        old.unlink(missing_ok=True)
    body = path.read_bytes()
    return give.Bundle(path=str(path), bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
