"""SQLite's file format, read page by page without SQLite: for files that SQLite refuses.

Written after the public description, https://www.sqlite.org/fileformat2.html: b-tree pages (1.6),
records (2.1), the freelist (1.5) and the write-ahead log (4). Nothing here trusts what it reads,
nothing writes, and no more than one row is in memory at a time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

USUAL_PAGE = 8192
"""Taken where the header does not say how large a page is."""
MOST_ROW_BYTES = 256 * 2**20
"""A row that says that it is larger is taken for damaged."""
TABLE_LEAF, TABLE_INTERIOR, INDEX_LEAF, INDEX_INTERIOR = 13, 5, 10, 2
_KINDS = {TABLE_LEAF, TABLE_INTERIOR, INDEX_LEAF, INDEX_INTERIOR}
_MAGIC = b"SQLite format 3\x00"
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_WHOLE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | float | str | bytes | None


class Damaged(Exception):
    """A page or row that is not what it should be; the text says why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a b-tree page."""

    #: of a table: the row's number
    rowid: int | None
    #: the record as stored, overflow pages included; None on an interior page of a table
    payload: bytes | None
    #: of an interior page: the page that stands left of it
    child: int | None
    #: pages that the record runs over
    overflow: tuple[int, ...] = ()


@dataclass(slots=True)
class Node:
    """A b-tree page: its sound cells, its children, and what is wrong with the rest."""

    kind: int
    cells: list[Cell] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Pages:
    """The pages of a file, as its write-ahead log has them where it is newer.

    Raises:
        OSError: the file cannot be read.

    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._wal = -1
        self._newer: dict[int, int] = {}
        bytes_ = os.fstat(self._file).st_size
        header = os.pread(self._file, 100, 0)
        self.sound_header = header[:16] == _MAGIC and _page_size(header[16:18]) > 0
        self.size = self._likely_size(header, bytes_)
        self.count = -(-bytes_ // self.size)
        #: why the write-ahead log is not read, or not to its end
        self.wal_fault = ""
        self._read_wal(Path(f"{path}-wal"))
        if 1 in self._newer:
            header = self.page(1)[:100]
            self.sound_header = header[:16] == _MAGIC
        # a header may keep bytes of each page for others; Edge's files never do
        self.usable = self.size
        self.user_version = int.from_bytes(header[60:64]) if self.sound_header else 0
        self.application_id = int.from_bytes(header[68:72]) if self.sound_header else 0
        self._first_free = int.from_bytes(header[32:36]) if self.sound_header else 0
        self._many_free = int.from_bytes(header[36:40])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in (self._file, self._wal):
            if handle >= 0:
                os.close(handle)

    def page(self, number: int) -> bytes:
        """Return a page whole; what the file lacks of it is zeros.

        Raises:
            Damaged: there is no such page, or its disk does not give it.

        """
        if not 1 <= number <= self.count:
            raise Damaged(f"page {number} is beyond the end of the file ({self.count} pages)")
        try:
            if number in self._newer:
                found = os.pread(self._wal, self.size, self._newer[number])
            else:
                found = os.pread(self._file, self.size, (number - 1) * self.size)
        except OSError as error:
            raise Damaged(f"page {number} cannot be read: {error.strerror}") from error
        return found.ljust(self.size, b"\0")

    def free(self) -> tuple[set[int], str]:
        """Return the pages that hold nothing, and why that is not all of them (empty: it is)."""
        found: set[int] = set()
        trunk = self._first_free
        if not self.sound_header:
            return found, "what was deleted cannot be told from what was not"
        while trunk:
            try:
                page = self.page(trunk)
            except Damaged as fault:
                return found, f"the list of free pages is broken: {fault}"
            many = int.from_bytes(page[4:8])
            if trunk in found or many > self.usable // 4 - 2:
                return found, f"the list of free pages is broken at page {trunk}"
            found.add(trunk)
            found.update(struct.unpack_from(f">{many}I", page, 8))
            trunk = int.from_bytes(page[:4])
        if len(found) != self._many_free:
            return found, f"{self._many_free} pages should be free, and {len(found)} are"
        return found, ""

    def node(self, number: int, *, whole: bool = True) -> Node:
        """Read a b-tree page; without ``whole``, cells carry no payload.

        Raises:
            Damaged: it is none.

        """
        page = self.page(number)
        start = 100 if number == 1 else 0
        kind, many = page[start], int.from_bytes(page[start + 3 : start + 5])
        interior = kind in (TABLE_INTERIOR, INDEX_INTERIOR)
        first = start + (12 if interior else 8)
        if kind not in _KINDS:
            empty = "holds nothing but zeros" if not any(page) else f"begins with {kind}"
            raise Damaged(f"is no page of a table or index: it {empty}")
        if first + 2 * many > self.usable:
            raise Damaged(f"says that it has {many} entries, which do not fit")
        node = Node(kind)
        for at in struct.unpack_from(f">{many}H", page, first):
            try:
                if not first + 2 * many <= at < self.usable:
                    raise Damaged(f"entry lies at {at}, outside of the page")  # noqa: TRY301
                node.cells.append(self._cell(page, at, kind, whole=whole))
            except Damaged as fault:
                node.faults.append(str(fault))
        if interior:
            node.children = [cell.child for cell in node.cells if cell.child]
            node.children.append(int.from_bytes(page[start + 8 : start + 12]))
        return node

    def _likely_size(self, header: bytes, length: int) -> int:
        """Return the size of a page: as the header has it, unless the usual one fits better."""
        said = _page_size(header[16:18]) if self.sound_header else 0
        if said in (0, USUAL_PAGE):
            return USUAL_PAGE

        def kinds(size: int) -> int:
            places = range(size, min(length, 64 * max(said, USUAL_PAGE)), size)
            found = [os.pread(self._file, 1, at) for at in places]
            return len(found) and sum(kind[0] in _KINDS for kind in found if kind) * 1000 // len(
                found
            )

        return USUAL_PAGE if kinds(USUAL_PAGE) > kinds(said) else said

    def _cell(self, page: bytes, at: int, kind: int, *, whole: bool) -> Cell:
        child, rowid = None, None
        if kind in (TABLE_INTERIOR, INDEX_INTERIOR):
            child = int.from_bytes(page[at : at + 4])
            at += 4
        if kind == TABLE_INTERIOR:
            return Cell(_signed(varint(page, at)[0]), None, child)
        length, at = varint(page, at)
        if kind == TABLE_LEAF:
            number, at = varint(page, at)
            rowid = _signed(number)
        if not whole:
            return Cell(rowid, None, child)
        if length > min(MOST_ROW_BYTES, self.count * self.size):
            raise Damaged(f"row {rowid} says that it has {length} bytes")
        payload, overflow = self._payload(page, at, length, kind)
        return Cell(rowid, payload, child, overflow)

    def _payload(
        self, page: bytes, at: int, length: int, kind: int
    ) -> tuple[bytes, tuple[int, ...]]:
        usable = self.usable
        most = usable - 35 if kind == TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        if length <= most:
            if at + length > usable:
                raise Damaged("a row runs over the end of its page")
            return page[at : at + length], ()
        least = (usable - 12) * 32 // 255 - 23
        here = least + (length - least) % (usable - 4)
        here = here if here <= most else least
        if at + here + 4 > usable:
            raise Damaged("a row runs over the end of its page")
        found = bytearray(page[at : at + here])
        following = int.from_bytes(page[at + here : at + here + 4])
        pages: dict[int, None] = {}
        while len(found) < length:
            if following in pages or not following:
                raise Damaged("a row breaks off: its chain of pages is broken")
            pages[following] = None
            more = self.page(following)
            found += more[4 : min(usable, 4 + length - len(found))]
            following = int.from_bytes(more[:4])
        if following:
            raise Damaged("a row goes on after its end: its chain of pages is broken")
        return bytes(found), tuple(pages)

    def _read_wal(self, path: Path) -> None:
        """Find the newest committed version of each page in the write-ahead log."""
        try:
            self._wal = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        header = os.pread(self._wal, 32, 0)
        if not header:
            return
        words = struct.unpack(">8I", header) if len(header) == 32 else (0,) * 8
        big = words[0] == _WAL_MAGIC[1]
        sums = _checksum(header[:24], (0, 0), big=big)
        if words[0] not in _WAL_MAGIC or sums != words[6:] or not _is_page_size(words[2]):
            self.wal_fault = "the head of the write-ahead log is damaged: what it held is not read"
            return
        if not self.sound_header:
            self.count = -(-self.count * self.size // words[2])
            self.size = words[2]
        for number, at, pages in self._frames(words, sums, big=big):
            self._newer[number] = at
            self.count = max(self.count, pages)

    def _frames(
        self, words: tuple[int, ...], sums: tuple[int, int], *, big: bool
    ) -> Iterator[tuple[int, int, int]]:
        """Yield the committed frames: page, where its content begins, pages in the file."""
        at, waiting = 32, []
        while len(frame := os.pread(self._wal, 24 + self.size, at)) == 24 + self.size:
            number, pages, *salts = struct.unpack(">4I", frame[:16])
            sums = _checksum(frame[:8] + frame[24:], sums, big=big)
            if tuple(salts) != words[4:6]:
                return  # of an earlier round: the log is used over and over
            if sums != struct.unpack(">2I", frame[16:24]) or not number:
                self.wal_fault = "the write-ahead log is damaged, or its last words were not said"
                return
            waiting.append((number, at + 24, pages))
            if pages:
                yield from waiting
                waiting = []
            at += 24 + self.size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of 1 to 9 bytes; return it, and where the next thing begins.

    Raises:
        Damaged: it runs over the end.

    """
    value = 0
    for offset in range(9):
        if at + offset >= len(data):
            raise Damaged("a number runs over the end")
        byte = data[at + offset]
        if offset == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + offset + 1
    raise AssertionError


def record(payload: bytes) -> list[Value]:
    """Take a record apart.

    Raises:
        Damaged: it is none.

    """
    end, at = varint(payload, 0)
    if end > len(payload):
        raise Damaged("the head of a row is longer than the row")
    kinds = []
    while at < end:
        kind, at = varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise Damaged(f"a row has {len(payload)} bytes and describes {at}")
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), at
    if kind in (10, 11):
        raise Damaged(f"a row has a value of kind {kind}, which there is not")
    length = _WHOLE.get(kind, 8 if kind == 7 else (kind - 12) // 2)
    raw = payload[at : at + length]
    if len(raw) < length:
        raise Damaged("a row ends before its last value")
    if kind < 7:
        return int.from_bytes(raw, signed=True), at + length
    if kind == 7:
        return struct.unpack(">d", raw)[0], at + length
    if kind % 2 == 0:
        return raw, at + length
    try:
        return raw.decode(), at + length
    except UnicodeDecodeError as error:
        raise Damaged("a row has text that is not UTF-8") from error


def _checksum(data: bytes, sums: tuple[int, int], *, big: bool) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _page_size(raw: bytes) -> int:
    size = int.from_bytes(raw)
    size = 65536 if size == 1 else size
    return size if _is_page_size(size) else 0


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 65536 and size.bit_count() == 1


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
