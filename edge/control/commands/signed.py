"""Signed commands: for brokers that are not trusted. Ed25519 (RFC 8032) over the very bytes.

::

    {"signed": base64(the envelope as JSON), "key": "ops-2026", "signature": base64(64 bytes)}

The envelope inside must say ``to`` (this box, or its group) and ``issued``. Its ``id`` is the
nonce: an id takes effect once, and is remembered far longer than the window in which a signed
command is taken.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from edge.config.control import KeyConfig
from edge.control.commands.envelope import Failed, read_object

CONTEXT = b"edge command v1\0"
"""Stands before what is signed, so that no other signature of the same key passes for one."""
_FIELDS = {"signed", "key", "signature"}


def is_signed(given: Mapping[str, Any]) -> bool:
    """Tell whether an object is a signed command."""
    return "signed" in given


def opened(given: Mapping[str, Any], keys: Mapping[str, KeyConfig]) -> tuple[str, dict[str, Any]]:
    """Return the key's id, and the envelope that was signed with it.

    Raises:
        Failed: ``bad_request`` or ``forbidden_remote``: it is not what that key signed.

    """
    faulty = given.keys() != _FIELDS or not all(isinstance(one, str) for one in given.values())
    if faulty:
        raise Failed("bad_request", "a signed command has signed, key and signature, all text")
    key = keys.get(given["key"])
    if key is None:
        raise Failed(
            "forbidden_remote",
            f"no key {given['key'][:64]!r} is known here",
            hint="add it to [control.keys]",
        )
    try:
        body = base64.b64decode(given["signed"], validate=True)
        signature = base64.b64decode(given["signature"], validate=True)
    except (binascii.Error, ValueError):
        raise Failed("bad_request", "signed and signature: expected base64") from None
    if not verifies(key.public, body, signature):
        raise Failed("forbidden_remote", f"the signature is not by {given['key'][:64]!r}")
    return given["key"], read_object(body)


def verifies(public: str, body: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` is the key's over ``body``."""
    try:
        raw = base64.b64decode(
            public.replace("-", "+").replace("_", "/") + "=" * (-len(public) % 4)
        )
        verifier = eddsa.new(eddsa.import_public_key(raw), "rfc8032")
        verifier.verify(CONTEXT + body, signature)
    except ValueError:
        return False
    return True


def sign(private: bytes, key: str, body: bytes) -> dict[str, str]:
    """Sign an envelope with a 32-byte private key: for those who send."""
    secret = ECC.construct(curve="Ed25519", seed=private)
    signature = eddsa.new(secret, "rfc8032").sign(CONTEXT + body)
    return {
        "signed": base64.b64encode(body).decode(),
        "key": key,
        "signature": base64.b64encode(signature).decode(),
    }
