"""The way of an event, and of what came of it. Runs in the database's thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge.bus import journal_sql as sql
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_rows import name_of, read_attempts, read_attributes, read_passages
from edge.traffic import Passage, Trace

DEPTH = 20
"""Replies of replies that are followed."""
MOST_EVENTS = 200
"""Events that one answer shows, replies included."""
RANK = ("waiting", "dead", "dropped", "done", "unwanted")
"""What an event is, if some of it is one and some another: the first of these."""


def traces(ledger: Ledger, event_id: str) -> list[Trace]:
    """Return the way of every event of that id, as far as it is still known, the oldest first."""
    rows = ledger.connection.execute(sql.SEQS, (name_of(event_id), MOST_EVENTS)).fetchall()
    walk = _Walk(ledger)
    found = []
    for (seq,) in rows:
        if seq not in walk.seen:  # a reply may have the id of what it answers: it is shown there
            trace = walk.trace(seq, DEPTH)
            if trace is not None and trace.attributes.get("id") == event_id:
                found.append(trace)
    return found


class _Walk:
    """One walk down from events to their replies."""

    def __init__(self, ledger: Ledger) -> None:
        self._connection, self.seen = ledger.connection, set[int]()

    def trace(self, seq: int, depth: int, cause: str = "") -> Trace | None:
        self.seen.add(seq)
        waiting = self._connection.execute(sql.WAY_WAITING, (seq,)).fetchone()
        ended = self._connection.execute(sql.WAY_ENDED, (seq,)).fetchone()
        if waiting is None and ended is None:
            return None
        parent, at, text = waiting or ended[:3]
        attributes = read_attributes(text)
        passages = {one.trigger: one for one in read_passages(ended[4])} if ended else {}
        passages |= {one.trigger: one for one in self._passages(seq)} if waiting else {}
        replies = self._replies(seq, depth, str(attributes.get("id", "")))
        states = {"waiting" if one.state == "retrying" else one.state for one in passages.values()}
        states |= {reply.outcome for reply in replies if reply.outcome != "unwanted"}
        outcome = next((state for state in RANK if state in states), "unwanted")
        ends = [reply.ended_at or at for reply in replies] + ([ended[3]] if ended else [])
        return Trace(
            attributes=attributes,
            accepted_at=at,
            ended_at=None if waiting or outcome == "waiting" else max(ends),
            outcome=outcome,
            passages=list(passages.values()),
            cause=cause or self._id(parent),
            replies=replies,
        )

    def _replies(self, seq: int, depth: int, event_id: str) -> list[Trace]:
        if depth == 0:
            return []
        room = MOST_EVENTS - len(self.seen)
        rows = self._connection.execute(sql.CAUSED, (seq, max(0, room))).fetchall()
        replies = [
            self.trace(reply, depth - 1, event_id) for (reply,) in rows if reply not in self.seen
        ]
        return [reply for reply in replies if reply is not None]

    def _passages(self, seq: int) -> Sequence[Passage]:
        rows = self._connection.execute(sql.STATE_OF, (seq,)).fetchall()
        return [_passage(*row) for row in rows]

    def _id(self, seq: int) -> str:
        if not seq:
            return ""
        for look in (sql.WAY_WAITING, sql.WAY_ENDED):
            row = self._connection.execute(look, (seq,)).fetchone()
            if row:
                return str(read_attributes(row[2]).get("id", ""))
        return ""


def _passage(trigger: str, state: str, due: float, tries: int, log: str) -> Passage:
    if state:
        return read_passages(f"[{log}]")[0]
    passage = Passage(
        trigger=trigger, state="waiting", attempts=read_attempts(log), due=due or None
    )
    return replace(passage, state="retrying", tries=tries) if tries else passage
