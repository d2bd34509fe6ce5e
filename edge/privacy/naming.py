"""Names in the store: a picture's key, made of a template. Sound whatever its original was called.

A key is a relative path of parts of at most 255 bytes, 1024 bytes in all with what stands before
it, that every store takes: no empty part, no ``.`` or ``..``, no control characters. Where a name
had to be changed or shortened for that, ``~`` and 20 hex digits of its digest stand before the
ending, and a name that already ends so is changed, too: so two names never meet by being changed.
The same picture has the same key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.config.key_template import (
    FILES,
    KEY_TEMPLATE,
    LONGEST_KEY,
    LONGEST_PART,
    OF_THE_NAME,
    OWN,
    UNWRITABLE,
    Template,
    read_template,
)

_ID_DIGITS = 16
"""64 bits: among ten million pictures two share them with a chance of 3 in a million."""
_DIGEST_DIGITS = 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_SAFE = 64
_CHANGED = re.compile(rf"~[0-9a-f]{{{_DIGEST_DIGITS}}}")
_LONGEST_FILE = LONGEST_PART - len(".json") - _DIGEST_DIGITS - 1
"""Bytes of a file's name without its ending, so that digest and any ending have room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a picture's key is made of."""

    #: name of the source
    source: str
    taken_at: datetime
    #: the parcel's
    id: str
    #: without its dot
    ending: str
    #: what the original was called, with its directories; empty: it is a frame and has no name
    original: str = ""


KeyFor = Callable[[Named], str]


class Naming:
    """Makes keys. Safe to call from several threads at once.

    Args:
        template_for: the template of a source, by its name; a sound one.
        room: bytes that a key may have.

    """

    def __init__(
        self, template_for: Callable[[str], str] = lambda _: KEY_TEMPLATE, room: int = LONGEST_KEY
    ) -> None:
        self._template_for = template_for
        self._room = room

    def __call__(self, named: Named) -> str:
        """Return the key of a picture."""
        template = read_template(self._template_for(named.source))
        written = _filled(template, named)
        original = named.original if template.names & OF_THE_NAME else ""
        return _sound(written, original, named.ending, self._room)


def safe(name: str) -> str:
    """Return a name for paths, keys and topics; where it had to change, a hash keeps it its own."""
    changed = _UNSAFE.sub("_", name).lstrip(".")
    if changed == name and len(name) <= _LONGEST_SAFE:
        return name
    return f"{changed[: _LONGEST_SAFE // 2]}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _filled(template: Template, named: Named) -> str:
    """Return the template with every value in its place, and without the ending."""
    utc = named.taken_at.astimezone(UTC)
    digits = hashlib.sha256(named.id.encode()).hexdigest()[:_ID_DIGITS]
    directory, _, name = named.original.rpartition("/")
    stem = name.rpartition(".")[0] or name  # .hidden is all stem
    values = {
        "source": safe(named.source),
        "yyyy": f"{utc.year:04d}",
        "mm": f"{utc.month:02d}",
        "dd": f"{utc.day:02d}",
        "time": f"{utc:%H%M%S}.{utc.microsecond // 1000:03d}",
        "id": digits,
        "ext": named.ending,
        "dir": directory,
        # a frame in a template for names has none: its id keeps it apart from the others
        "stem": stem if named.original else digits,
    }
    written = "".join(values[text] if is_name else text for is_name, text in template.pieces)
    return written.removesuffix(f".{named.ending}")


def _sound(written: str, original: str, ending: str, room: int) -> str:
    """Return a key that every store takes: as it is written, if that is one."""
    # a picture without directories has no part for them, and nothing was changed by that
    parts = [part for part in written.split("/") if part]
    mended = [_mended(part, directory=True) for part in parts[:-1]] + [
        _mended(part, directory=False) for part in parts[-1:]
    ]
    changed = mended != parts or not parts or _is_odd(original) or bool(_CHANGED.search(written))
    key = "/".join(mended) + f".{ending}"
    if not changed and len(key.encode()) <= room:
        return key
    told = f"{written}\0{original}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(told).hexdigest()[:_DIGEST_DIGITS]
    end = f"~{digest}.{ending}"
    above, slash, last = _cut("/".join(mended), room - len(end)).rstrip("/").rpartition("/")
    return f"{above}{slash}{_cut(last, _LONGEST_FILE)}{end}"


def _is_odd(original: str) -> bool:
    """Tell whether a name has empty parts, of which a key has none."""
    return original != "" and "" in original.split("/")


def _mended(part: str, *, directory: bool) -> str:
    """Return one part as every store takes it; the part itself where it is one."""
    part = UNWRITABLE.sub("_", part)
    if part.strip() in {"", ".", ".."} or part.startswith(OWN):
        part = f"_{part.strip()}"
    if directory and part.lower().endswith(FILES):
        part = f"{part}_"
    return _cut(part, LONGEST_PART if directory else _LONGEST_FILE)


def _cut(text: str, most: int) -> str:
    """Return the beginning of a text, at most so many bytes of UTF-8."""
    return text.encode()[:most].decode("utf-8", "ignore")
