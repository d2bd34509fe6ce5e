"""The answer to a camera's ``401``: Basic and Digest, RFC 7617 and RFC 7616 (MD5 as cameras do)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence

from edge.config.secret import Secret

_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


def answer(
    challenges: Sequence[str], method: str, uri: str, user: Secret, password: Secret
) -> Secret | None:
    """Return the ``Authorization`` for a request; None where no challenge is understood.

    Args:
        challenges: the values of all ``WWW-Authenticate`` headers.
        method: of the request that is sent again.
        uri: as it stands in that request's first line.
        user: as in the camera's address.
        password: the same.

    """
    offered = {text.partition(" ")[0].lower(): text for text in challenges}
    if "digest" in offered:
        pairs = _PARAMETER.findall(offered["digest"])
        asked = {name.lower(): quoted or plain for name, quoted, plain in pairs}
        return _digest(asked, method, uri, user, password)
    if "basic" in offered:
        plain = f"{user.reveal()}:{password.reveal()}".encode()
        return Secret("Basic " + base64.b64encode(plain).decode())
    return None


def _digest(
    asked: dict[str, str], method: str, uri: str, user: Secret, password: Secret
) -> Secret | None:
    if asked.get("algorithm", "MD5").upper() != "MD5":
        return None
    realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
    who = _md5(f"{user.reveal()}:{realm}:{password.reveal()}")
    what = _md5(f"{method}:{uri}")
    fields = {"username": user.reveal(), "realm": realm, "nonce": nonce, "uri": uri}
    quality = ""
    if "auth" in asked.get("qop", "").replace(" ", "").split(","):
        once = secrets.token_hex(8)
        quality = f', qop=auth, nc=00000001, cnonce="{once}"'
        fields["response"] = _md5(f"{who}:{nonce}:00000001:{once}:auth:{what}")
    else:
        fields["response"] = _md5(f"{who}:{nonce}:{what}")
    if "opaque" in asked:
        fields["opaque"] = asked["opaque"]
    listed = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return Secret(f"Digest {listed}{quality}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
