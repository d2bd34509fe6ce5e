"""A command to several boxes: one id, one expiry, and an envelope for each of them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import click

from edge.cli.show import warn
from edge.control.commands.envelope import MOST_BYTES, Failed
from edge.control.commands.judge import read_args
from edge.control.commands.signed import sign
from edge.control.commands.table import VERBS, Verb
from edge.errors import Rejected

_ID: Final = re.compile(r"[A-Za-z0-9._:~-]{1,128}")
_PEM: Final = re.compile(
    rb"-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----"
)
_HEAD: Final = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410)."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs."""

    name: str
    private: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A command to several boxes. Times are seconds since the epoch."""

    verb: Verb
    args: Mapping[str, Any]
    id: str
    issued: float
    expires: float
    key: Key | None = None

    @classmethod
    def of(
        cls, verb: str, args: Mapping[str, Any], *, given_id: str, lasts: float, key: Key | None
    ) -> Order:
        """Make one that counts for ``lasts`` seconds from now.

        Raises:
            click.UsageError: no box would carry it out.

        """
        known = VERBS.get(verb)
        if known is None:
            raise click.UsageError(f"no verb {verb}: there are {', '.join(VERBS)}")
        if known.local:
            raise click.UsageError(f"{verb} is for the box itself: edge ctl {verb}, on the box")
        try:
            read_args(known, args)
        except Failed as error:
            raise click.UsageError(f"{error}; {error.hint}") from error
        if given_id and not _ID.fullmatch(given_id):
            raise click.BadParameter("1 to 128 letters, digits and . _ : ~ -", param_hint="--id")
        if lasts <= 0:
            raise click.BadParameter("expected more than nothing", param_hint="--expires")
        now = time.time()
        order = cls(
            verb=known, args=args, id=given_id or uuid4().hex, issued=now, expires=now + lasts,
            key=key,
        )  # fmt: skip
        if len(order.body("x" * 128)) > MOST_BYTES:
            raise click.UsageError(f"the command is longer than {MOST_BYTES} bytes")
        return order

    def body(self, to: str) -> bytes:
        """Return the envelope for a box, ``site/node``, or for a group, ``site/_all``."""
        envelope = {
            "id": self.id,
            "verb": self.verb.name,
            "args": dict(self.args),
            "issued": _iso(self.issued),
            "expires": _iso(self.expires),
        }
        if self.key is None:
            # its topic says which box it is for
            return json.dumps(envelope).encode()
        body = json.dumps({**envelope, "to": to}).encode()
        return json.dumps(sign(self.key.private, self.key.name, body)).encode()


def read_key(path: Path, name: str | None) -> Key:
    """Read an Ed25519 key as ``openssl genpkey -algorithm ed25519`` writes it.

    Raises:
        Rejected: it is none.

    """
    try:
        text, mode = path.read_bytes()[:MOST_BYTES], path.stat().st_mode
        found = _PEM.search(text)
        raw = base64.b64decode(b"".join(found[1].split()), validate=True) if found else b""
    except (OSError, binascii.Error) as error:
        raise Rejected(f"the key {path}: {error}", reason="key") from error
    if len(raw) != len(_HEAD) + 32 or not raw.startswith(_HEAD):
        raise Rejected(
            f"the key {path}: expected an Ed25519 private key as PEM, without a passphrase",
            hint="openssl genpkey -algorithm ed25519 -out ops.pem",
            reason="key",
        )
    if mode & 0o077:
        warn(f"others may read the key {path}: chmod 600")
    return Key(name or path.stem, raw[len(_HEAD) :])


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
