"""Salvage: what a damaged SQLite file still holds goes into a fresh one; the rest is set aside.

::

    FILE, FILE-wal --page by page--> rows --> FILE.salvaged --> FILE.mended --> FILE
                          `--> damaged pages and rows, with the reason --> FILE.damaged-TIME/

1. Each table is walked from its root. A damaged page costs the rows on it and no other.
2. Pages that no walk reaches (their parent was damaged) belong to the one table whose rows look
   like theirs. What was deleted is told by the list of free pages; where that is damaged, too,
   deleted rows may come back: what is done twice is done once, what is lost is lost.
3. The fresh file takes the place of the damaged one in one step (``finish`` completes it after a
   power cut), and the damaged one stays in the directory of the findings, whole.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.ops.salvage_fresh import Fresh, Nowhere
from edge.ops.salvage_shape import Shape, shapes
from edge.ops.sqlite_pages import (
    INDEX_LEAF,
    TABLE_INTERIOR,
    TABLE_LEAF,
    Cell,
    Damaged,
    Node,
    Pages,
    Value,
    record,
)

MOST_TOLD = 1000
"""Findings of which each is told (and its bytes kept apart); the rest is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One page or row that is damaged."""

    reason: str
    page: int = 0
    #: empty: nobody knows whose it was
    table: str = ""
    row: int | None = None
    #: in the directory of the findings: its bytes as they are; empty: not kept apart
    file: str = ""

    def __str__(self) -> str:
        where = f"page {self.page}" if self.page else "the file"
        row = f", row {self.row}" if self.row is not None else ""
        return f"{where}{f' of {self.table}' if self.table else ''}{row}: {self.reason}"


@dataclass(slots=True)
class Findings:
    """What was saved, and what was not."""

    #: rows that were read, by table
    saved: Counter[str] = field(default_factory=Counter)
    #: rows that were found twice, and kept once
    twice: int = 0
    #: damaged pages, and damaged rows on pages that are sound otherwise
    pages: int = 0
    rows: int = 0
    #: the first ``MOST_TOLD`` of them
    told: list[Finding] = field(default_factory=list)
    #: what is said of the file as a whole
    notes: list[str] = field(default_factory=list)
    #: where the damaged file is kept, with the findings; None: nothing was written
    directory: Path | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing was damaged."""
        return not (self.pages or self.rows or self.notes)

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "sound": self.sound,
            "saved": dict(self.saved),
            "twice": self.twice,
            "damaged_pages": self.pages,
            "damaged_rows": self.rows,
            "notes": self.notes,
            "findings": [_plain(finding) for finding in self.told],
            "directory": str(self.directory) if self.directory else None,
        }


def salvage(damaged: Path, into: sqlite3.Connection, aside: Path | None = None) -> Findings:
    """Copy every row that can be read.

    Args:
        damaged: the file; it and its write-ahead log are only read.
        into: a fresh file with its tables made; it should not be in WAL mode.
        aside: an empty directory for damaged pages, rows and ``findings.jsonl``.

    Raises:
        OSError: ``damaged`` cannot be opened, or ``aside`` not be written.
        sqlite3.Error: ``into`` cannot be written.

    """
    with Pages(damaged) as pages:
        work = _Salvage(pages, shapes(into), Fresh(into), aside)
        findings = work.run()
    work.fresh.finish(numbers_known=work.numbers_known)
    return findings


def look(damaged: Path, like: sqlite3.Connection) -> Findings:
    """Read every row as ``salvage`` does, and keep nothing; ``like`` has the tables it should have.

    Raises:
        OSError: ``damaged`` cannot be opened.

    """
    with Pages(damaged) as pages:
        return _Salvage(pages, shapes(like), Nowhere(), None).run()


class _Salvage:
    """One run over the pages of a damaged file."""

    def __init__(
        self, pages: Pages, known: Sequence[Shape], fresh: Fresh | Nowhere, aside: Path | None
    ) -> None:
        self.pages, self.fresh = pages, fresh
        self._shapes = known
        self._tables = {shape.name: shape for shape in known if not shape.is_index}
        #: one byte a page: whether it is accounted for
        self._seen = bytearray(pages.count + 1)
        self._aside = aside
        self.findings = Findings()
        self.numbers_known = "sqlite_sequence" not in self._tables

    def run(self) -> Findings:
        pages, findings = self.pages, self.findings
        if not pages.sound_header:
            findings.notes.append("the header of the file is damaged")
        if pages.wal_fault:
            findings.notes.append(pages.wal_fault)
        for name, kind, root in list(self._roots()):
            self._walk(root, self._tables.get(name) if kind == "table" else None, name)
        free, fault = pages.free()
        if fault:
            findings.notes.append(fault)
        for number in free:
            if number <= pages.count:
                self._seen[number] = 1  # after the tables: what they hold is not free
        self._the_unreached()
        self._note()
        return findings

    def _roots(self) -> Iterator[tuple[str, str, int]]:
        """Yield name, kind and root page of what the file says that it holds."""
        for cell in self._cells(1, "sqlite_master"):
            if cell.payload is None:
                continue  # of an inner page: with many tables their list has more than one
            try:
                values = record(cell.payload)
            except Damaged as fault:
                self._tell(
                    Finding(page=1, table="sqlite_master", row=cell.rowid, reason=f"{fault}")
                )
                continue
            if len(values) == 5 and isinstance(values[3], int) and values[3] > 1:
                yield str(values[1]), str(values[0]), values[3]

    def _walk(self, root: int, shape: Shape | None, name: str) -> None:
        """Save the rows of a table; of an index only see which pages are its own."""
        before = self.findings.pages + self.findings.rows
        for cell in self._cells(root, name, shape):
            if shape is not None and cell.payload is not None:
                self._save(shape, cell)
        if name == "sqlite_sequence":
            self.numbers_known = before == self.findings.pages + self.findings.rows

    def _cells(self, root: int, name: str, shape: Shape | None = None) -> Iterator[Cell]:
        """Yield the entries below ``root``, and tell what is damaged; no page is read twice."""
        whole = shape is not None or root == 1
        stack = [root]
        while stack:
            number = stack.pop()
            node = self._node(number, name, whole=whole)
            if node is None:
                continue
            if shape is not None and node.cells and not self._belongs(node, shape):
                reason = "holds no row of this table"
                self._tell(Finding(page=number, table=name, reason=reason))
                continue
            self._seen[number] = 1
            for fault in node.faults:
                self._tell(Finding(page=number, table=name, reason=fault), rows=1)
            stack += reversed(node.children)
            yield from node.cells

    def _node(self, number: int, name: str, *, whole: bool) -> Node | None:
        try:
            if 0 < number <= self.pages.count and self._seen[number]:
                raise Damaged("stands in two places")  # noqa: TRY301
            return self.pages.node(number, whole=whole)
        except Damaged as fault:
            if 0 < number <= self.pages.count and not self._seen[number]:
                self._seen[number] = 1
            self._tell(Finding(page=number, table=name, reason=str(fault)))
            return None

    @staticmethod
    def _belongs(node: Node, shape: Shape) -> bool:
        """Tell whether at least one entry is a row of this table (interior pages hold none)."""
        return node.kind == TABLE_INTERIOR or any(_row(shape, cell) for cell in node.cells)

    def _save(self, shape: Shape, cell: Cell) -> None:
        payload = cell.payload or b""
        try:
            row = shape.row(cell.rowid, record(payload))
        except Damaged as fault:
            finding = Finding(table=shape.name, row=cell.rowid, reason=str(fault))
            self._tell(finding, rows=1, raw=payload)
            return
        for number in cell.overflow:
            self._seen[number] = 1
        if self.fresh.put(shape, cell.rowid, row, len(payload)):
            self.findings.saved[shape.name] += 1
        else:
            self.findings.twice += 1

    def _the_unreached(self) -> None:
        """Save rows of pages whose parent was damaged."""
        for number in range(2, self.pages.count + 1):
            if self._seen[number]:
                continue
            try:
                node = self.pages.node(number)
            except Damaged:
                continue  # an overflow page of a row that is lost, or of an index; or told before
            if node.kind in (TABLE_LEAF, INDEX_LEAF) and node.cells:
                self._save_unreached(number, node)

    def _save_unreached(self, number: int, node: Node) -> None:
        fit = self._whose(node)
        if any(shape.is_index for shape in fit):
            return  # indexes are made anew
        if len(fit) != 1:
            self._tell(Finding(page=number, reason="nobody knows whose rows these are"))
            return
        self._seen[number] = 1
        for fault in node.faults:
            self._tell(Finding(page=number, table=fit[0].name, reason=fault), rows=1)
        for cell in node.cells:
            self._save(fit[0], cell)

    def _whose(self, node: Node) -> list[Shape]:
        """Return the tables and indexes whose entries look like those of most of a page."""
        entries = [found for cell in node.cells if (found := _values(cell)) is not None]
        by_key = node.kind != TABLE_LEAF
        return [
            shape
            for shape in self._shapes
            if (shape.by_key or shape.is_index) == by_key
            and 2 * sum(shape.fits(rowid, values) for rowid, values in entries) > len(node.cells)
        ]

    def _tell(self, finding: Finding, *, rows: int = 0, raw: bytes | None = None) -> None:
        """Count what is damaged, and keep its bytes."""
        findings = self.findings
        findings.rows += rows
        findings.pages += not rows
        if len(findings.told) >= MOST_TOLD:
            return
        file = ""
        if self._aside is not None:
            file, content = self._bytes_of(finding, raw)
            if content:
                (self._aside / file).write_bytes(content)
        findings.told.append(
            Finding(
                reason=finding.reason,
                page=finding.page,
                table=finding.table,
                row=finding.row,
                file=file,
            )
        )

    def _bytes_of(self, finding: Finding, raw: bytes | None) -> tuple[str, bytes]:
        if raw is not None:
            return f"row-{len(self.findings.told)}", raw
        try:
            return f"page-{finding.page}", self.pages.page(finding.page)
        except Damaged:
            return "", b""

    def _note(self) -> None:
        if self._aside is None:
            return
        with (self._aside / "findings.jsonl").open("w", encoding="utf-8") as out:
            for note in self.findings.notes:
                out.write(json.dumps({"reason": note}) + "\n")
            for finding in self.findings.told:
                out.write(json.dumps(_plain(finding), ensure_ascii=False) + "\n")


def _row(shape: Shape, cell: Cell) -> bool:
    try:
        shape.row(cell.rowid, record(cell.payload or b""))
    except Damaged:
        return False
    return True


def _values(cell: Cell) -> tuple[int | None, list[Value]] | None:
    try:
        return cell.rowid, record(cell.payload or b"")
    except Damaged:
        return None


def _plain(finding: Finding) -> dict[str, Any]:
    facts = {name: getattr(finding, name) for name in ("page", "table", "row", "reason", "file")}
    return {name: value for name, value in facts.items() if value not in (0, "", None)}
