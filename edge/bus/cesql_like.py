r"""LIKE: ``%`` stands for any characters, ``_`` for one, ``\%`` and ``\_`` for themselves.

A pattern is cut at its ``%`` into pieces. The first and the last have their place; each of the
others is looked for from where the one before it ended, and the leftmost find is as good as any, so
nothing is ever tried twice. A piece with ``_`` inside is found by Shift-And (Baeza-Yates and Gonnet
1992): one step a character. The time is linear in the text, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Matches = Callable[[str], bool]

#: the characters of a piece in turn; None stands for ``_``
_Piece = tuple[str | None, ...]

_WORDS = re.compile(r"\\[%_]|.", re.DOTALL)


def like(pattern: str) -> Matches:
    """Return the function that says whether a text matches ``pattern``, case and all."""
    pieces = list(_pieces(pattern))
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return _whole(first)
    if not any(None in piece for piece in pieces) and not any(pieces[1:-1]):
        return _ends("".join(map(str, first)), "".join(map(str, last)))
    finders = [_finder(piece) for piece in pieces[1:-1] if piece]
    starts, ends = _whole(first), _whole(last)
    least = len(first) + len(last)

    def matches(text: str) -> bool:
        end = len(text) - len(last)
        if len(text) < least or not starts(text[: len(first)]) or not ends(text[end:]):
            return False
        at = len(first)
        for find in finders:
            at = find(text, at, end)
            if at < 0:
                return False
        return True

    return matches


def _pieces(pattern: str) -> Iterator[_Piece]:
    piece: list[str | None] = []
    for word in _WORDS.findall(pattern):
        if word == "%":
            yield tuple(piece)
            piece = []
        else:
            piece.append(None if word == "_" else word[-1])
    yield tuple(piece)


def _ends(start: str, end: str) -> Matches:
    """Return the matcher of ``start%end``."""
    least = len(start) + len(end)

    def matches(text: str) -> bool:
        return len(text) >= least and text.startswith(start) and text.endswith(end)

    if not end:
        return lambda text: text.startswith(start)
    return matches


def _whole(piece: _Piece) -> Matches:
    """Return the matcher of a text that is this piece and nothing else."""
    if None not in piece:
        fixed = "".join(map(str, piece))
        return lambda text: text == fixed
    # neither alternatives nor repetition: no way to go back
    shape = re.compile(
        "".join("." if char is None else re.escape(char) for char in piece), re.DOTALL
    )
    return lambda text: shape.fullmatch(text) is not None


def _finder(piece: _Piece) -> Callable[[str, int, int], int]:
    """Return what finds the piece in ``text[start:end]``: the end of the leftmost, or -1."""
    if None not in piece:
        fixed = "".join(map(str, piece))

        def find(text: str, start: int, end: int) -> int:
            at = text.find(fixed, start, end)
            return at if at < 0 else at + len(fixed)

        return find
    return _shift_and(piece)


def _shift_and(piece: _Piece) -> Callable[[str, int, int], int]:
    """Bit n of the state: the last n + 1 characters are the first n + 1 of the piece."""
    anything = sum(1 << bit for bit, char in enumerate(piece) if char is None)
    fits = {char: anything for char in piece if char is not None}
    for bit, char in enumerate(piece):
        if char is not None:
            fits[char] |= 1 << bit
    complete = 1 << (len(piece) - 1)

    def find(text: str, start: int, end: int) -> int:
        state = 0
        for at in range(start, end):
            state = (state << 1 | 1) & fits.get(text[at], anything)
            if state & complete:
                return at + 1
        return -1

    return find
