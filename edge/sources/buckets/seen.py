"""Which objects a bucket's source dealt with: a bounded memory of marks, 8 bytes each."""

from __future__ import annotations

import hashlib
import secrets
from array import array
from bisect import bisect_left
from typing import Final

MOST: Final = 1_000_000
_SHARDS: Final = 1024
"""A million marks are a thousand in each: an insertion moves 4 KiB."""


class Seen:
    """A set of pairs of texts. Of more than ``most`` it forgets the oldest, half of them at least.

    It keeps 64 bits of a keyed hash in two generations, 18 bytes for each of a million pairs. Of a
    million pairs two are taken for one another once in 30 million runs, and nobody can choose them.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._salt = secrets.token_bytes(16)
        self._young, self._old = _empty(), _empty()
        self._count = 0

    def add(self, key: str, mark: str) -> None:
        """Remember that the object ``key`` was dealt with as it was at ``mark``."""
        number = self._number(key, mark)
        shard = self._young[number % _SHARDS]
        at = bisect_left(shard, number)
        if at < len(shard) and shard[at] == number:
            return
        shard.insert(at, number)
        self._count += 1
        if self._count >= self._most:
            self._old, self._young, self._count = self._young, _empty(), 0

    def has(self, key: str, mark: str) -> bool:
        """Tell whether it was added. What was asked for is kept longer."""
        number = self._number(key, mark)
        if _holds(self._young, number):
            return True
        if not _holds(self._old, number):
            return False
        self.add(key, mark)
        return True

    def forget(self, key: str, mark: str) -> None:
        """Forget that it was added: the object is gone, and the same may come again."""
        number = self._number(key, mark)
        for generation in (self._young, self._old):
            shard = generation[number % _SHARDS]
            at = bisect_left(shard, number)
            if at < len(shard) and shard[at] == number:
                del shard[at]
                self._count -= generation is self._young

    def _number(self, key: str, mark: str) -> int:
        text = f"{mark}\0{key}".encode(errors="surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=self._salt).digest())


def _empty() -> list[array[int]]:
    return [array("Q") for _ in range(_SHARDS)]


def _holds(shards: list[array[int]], number: int) -> bool:
    shard = shards[number % _SHARDS]
    at = bisect_left(shard, number)
    return at < len(shard) and shard[at] == number
