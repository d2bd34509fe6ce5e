"""Templates for names in the store: what stands in one, and what is wrong with one."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

KEY_TEMPLATE = "{source}/{yyyy}/{mm}/{dd}/{time}-{id}.{ext}"
"""Names of pictures where nothing else is said."""
PLACEHOLDERS = ("source", "yyyy", "mm", "dd", "time", "id", "ext", "dir", "stem")
OF_THE_NAME = frozenset({"dir", "stem"})
"""Placeholders that only a picture with a name of its own has: an object, a file, an upload."""
LONGEST_KEY = 1024
"""Bytes of UTF-8 that any S3 takes as a key."""
LONGEST_PREFIX = 256
"""The same for what stands before names in the store: the names must have room, too."""
LONGEST_TEMPLATE = 256
LONGEST_PART = 255
"""Bytes of one part between slashes; a directory takes no longer name."""
FILES = (".jpg", ".webp", ".png", ".json")
"""How the store's own files end. No directory of it does: on a disk one name is one thing."""
OWN = ".edge-tmp-"
"""How the names of files begin that are still being written."""
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters, halves of characters, and what no list of a bucket (XML) can hold."""

_PIECE = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_END = ".{ext}"


@dataclass(frozen=True, slots=True)
class Template:
    """A template, taken apart: text and placeholders in turn."""

    #: (True, name) is a placeholder, (False, text) stands for itself
    pieces: tuple[tuple[bool, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """The placeholders that occur."""
        return frozenset(text for named, text in self.pieces if named)


@functools.lru_cache(maxsize=256)
def read_template(text: str) -> Template:
    """Take a template apart.

    Raises:
        ValueError: what is wrong with it, and what was expected.

    """
    if len(text.encode("utf-8", "replace")) > LONGEST_TEMPLATE:
        raise ValueError(f"expected at most {LONGEST_TEMPLATE} bytes")
    pieces: list[tuple[bool, str]] = []
    for found in _PIECE.finditer(text):
        name, plain, brace = found.groups()
        if brace:
            raise ValueError(
                f"{brace} at character {found.start() + 1} has no partner; expected {{name}}"
            )
        if name is not None and name not in PLACEHOLDERS:
            known = " ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise ValueError(f"there is no {{{name}}}; expected one of {known}")
        pieces.append((name is not None, plain or name or ""))
    template = Template(tuple(pieces))
    if not template.names - {"ext"}:
        raise ValueError(f"every picture would get one name; expected such as {KEY_TEMPLATE}")
    if not text.endswith(_END):
        raise ValueError("expected .{ext} at the end: what a file is must be told by its name")
    # as its directories and file names look, with something in the place of each placeholder
    problem = bad_name(re.sub(r"\{[^}]*\}", "x", text.removesuffix(_END)))
    if problem:
        raise ValueError(problem)
    return template


def bad_name(path: str) -> str:
    """Say what is wrong with a relative path in the store; empty: nothing."""
    if UNWRITABLE.search(path):
        return "expected no control characters"
    parts = path.split("/")
    if path.startswith("/") or any(part.strip() in {"", ".", ".."} for part in parts):
        return "expected a relative path: no / at its beginning, no // and no part . or .."
    if any(part.lower().endswith(FILES) for part in parts[:-1]):
        return f"expected no directory that is named like a file ({' '.join(FILES)})"
    if any(part.startswith(OWN) for part in parts):
        return f"expected no part that begins with {OWN}: those are unfinished files"
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        return f"expected at most {LONGEST_PART} bytes between two slashes"
    return ""


def bad_prefix(prefix: str) -> str:
    """Say what is wrong with what is put before names in the store; empty: nothing."""
    if not prefix:
        return ""
    if len(prefix.encode("utf-8", "replace")) > LONGEST_PREFIX:
        return f"expected at most {LONGEST_PREFIX} bytes: the names behind it need room, too"
    return bad_name(f"{prefix}x")
