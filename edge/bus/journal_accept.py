"""Into the journal: room, dedupe, rows. Runs in the database's thread, within a transaction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge.bus import journal_sql as sql
from edge.bus.journal_end import add_letter
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import Entry, Grave, write_passage
from edge.contracts import Accepted
from edge.errors import TryLater
from edge.traffic import Passage

KEEP_FREE_BYTES = 32 * 2**20
"""Left free on the disk: what was accepted ends in the outbox, which asks for half of this."""
FULL_RETRY_S = 2.0
"""Seconds until a full journal is worth another try."""
DISK_RETRY_S = 5.0
"""Seconds until a full disk is."""


def accept(
    ledger: Ledger, calls: Sequence[Sequence[Entry]], directory: Path
) -> list[list[Accepted] | TryLater] | TryLater:
    """Take what several callers brought: of each one everything, or nothing.

    Args:
        ledger: the piece of work.
        calls: what each caller brought.
        directory: where the file is: its disk must not fill up.

    """
    entries = [entry for call in calls for entry in call]
    size = sum(entry.size for entry in entries)
    if no_disk := _disk_is_full(ledger, directory, size):
        return no_disk
    if _fits(ledger, entries):
        taken = iter(take(ledger, entries))
        return [[next(taken) for _ in call] for call in calls]
    return [_accept_one(ledger, call) for call in calls]


def _accept_one(ledger: Ledger, call: Sequence[Entry]) -> list[Accepted] | TryLater:
    if _fits(ledger, call) or _fits(ledger, [entry for entry in call if _is_new(ledger, entry)]):
        return take(ledger, call)
    config = ledger.config
    return TryLater(
        f"the journal is full: {ledger.events} events of at most {config.max_events} "
        f"(bus.max_events), {ledger.bytes} bytes of at most {config.max_bytes} (bus.max_bytes)",
        hint="it empties when what the triggers lead to takes events again",
        reason="journal_full",
        after=FULL_RETRY_S,
    )


def _fits(ledger: Ledger, entries: Sequence[Entry]) -> bool:
    wanted = [entry for entry in entries if entry.targets]
    return (
        ledger.events + len(wanted) <= ledger.config.max_events
        and ledger.bytes + sum(entry.size for entry in wanted) <= ledger.config.max_bytes
    ) or not wanted


def _is_new(ledger: Ledger, entry: Entry) -> bool:
    heard = ledger.connection.execute(sql.HEARD, (entry.name, entry.digest))
    return heard.fetchone() is None


def _disk_is_full(ledger: Ledger, directory: Path, size: int) -> TryLater | None:
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if free - size >= KEEP_FREE_BYTES:
        return None
    # the file keeps the space of what ended: that is as good as free disk
    ((pages,), (page,)) = (
        ledger.connection.execute(f"PRAGMA {fact}").fetchone()
        for fact in ("freelist_count", "page_size")
    )
    if pages * page >= 2 * size + 16 * page:
        return None
    return TryLater(
        f"{free} bytes are left on the disk of the journal ({directory})",
        hint="free space on that disk; nothing that was accepted is lost",
        reason="disk_full",
        after=DISK_RETRY_S,
    )


def take(ledger: Ledger, entries: Sequence[Entry]) -> list[Accepted]:
    """Write entries; those that were accepted before are left alone."""
    if not entries:
        return []
    first, connection = ledger.seq + 1, ledger.connection
    changes = connection.total_changes
    connection.executemany(
        sql.HEAR, [(seq, entry.name, entry.digest) for seq, entry in enumerate(entries, first)]
    )
    ledger.seq += len(entries)
    if connection.total_changes - changes == len(entries):
        new = list(enumerate(entries, first))
        accepted = [Accepted(seq if entry.targets else 0, new=True) for seq, entry in new]
    else:
        new, accepted = _told_apart(ledger, entries, first)
    ledger.accepted += len(new)
    ledger.duplicates += len(entries) - len(new)
    _write(ledger, new)
    return accepted


def _told_apart(
    ledger: Ledger, entries: Sequence[Entry], first: int
) -> tuple[list[tuple[int, Entry]], list[Accepted]]:
    """Tell new events from those that were heard before, which kept the seq that they had."""
    new, accepted = [], []
    for seq, entry in enumerate(entries, first):
        heard = ledger.connection.execute(sql.HEARD, (entry.name, entry.digest)).fetchone()[0]
        if heard == seq:
            new.append((seq, entry))
            accepted.append(Accepted(seq if entry.targets else 0, new=True))
        else:
            accepted.append(Accepted(heard, new=False))
    return new, accepted


def _write(ledger: Ledger, new: Sequence[tuple[int, Entry]]) -> None:
    events, deliveries, keyed = [], [], []
    for seq, entry in new:
        if not entry.targets or entry.hops <= 0:
            _end_at_once(ledger, seq, entry)
            continue
        ledger.events += 1
        ledger.bytes += entry.size
        _, name, digest, cause, hops, at, expires, size, attributes, data, _ = entry
        events.append((seq, name, digest, cause, hops, at, at, expires, size, attributes, data))
        for target in entry.targets:
            ledger.waits(target.trigger, 1)
            if target.key:
                keyed.append((seq, target.trigger, target.key))
            else:
                deliveries.append((seq, target.trigger))
    ledger.connection.executemany(sql.ADD_EVENT, events)
    ledger.connection.executemany(sql.ADD_DELIVERY, deliveries)
    if keyed:
        ledger.connection.executemany(sql.ADD_KEYED, keyed)


def _end_at_once(ledger: Ledger, seq: int, entry: Entry) -> None:
    """End an event that no trigger wants, or that went round too often."""
    passages = []
    for target in entry.targets:
        grave = Grave("", "hop_limit", "it went through more replies than bus.hops allows")
        add_letter(ledger, (seq, target.trigger, target.key), entry, grave, (0, ""))
        passage = Passage(trigger=target.trigger, state="dead", ended_at=ledger.now)
        passages.append(write_passage(passage, ""))
    facts = (entry.name, entry.digest, seq, 0, entry.cause, entry.at)
    ledger.ends(facts, entry.attributes, f"[{','.join(passages)}]")
