"""What differs between two configurations, and what of it can change while the box runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from edge.config.load_faults import Location, path_text
from edge.config.root import Config
from edge.config.section import Section

LIVE_TABLES = {"sources", "triggers", "handlers"}
"""Tables of parts that are made anew by themselves, while everything else goes on."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs."""

    #: as the operator writes it; of a part that came, went or changed its kind, its table
    path: str
    #: True: the box takes it over while it runs. False: it needs a restart.
    live: bool


def changes(old: Config, new: Config) -> list[Change]:
    """Return what differs, in the order of the sections.

    Whatever changes in a source, trigger or handler is live, since that one alone is made anew. One
    that came, went or is of another kind is one change, ``sources.NAME``.
    """
    return list(_sections(old, new, ()))


def is_live(field: FieldInfo) -> bool:
    """Tell whether a key is marked as one that may change while the box runs."""
    marks = field.json_schema_extra
    return isinstance(marks, dict) and bool(marks.get("live"))


def _sections(old: Section, new: Section, location: Location) -> Iterator[Change]:
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        here = (*location, name)
        if isinstance(after, dict) and _are_sections(before, after):
            yield from _tables(before, after, here)
        elif isinstance(after, Section) and type(after) is type(before):
            yield from _sections(before, after, here)
        else:
            yield Change(path_text(here), is_live(field) or here[0] in LIVE_TABLES)


def _are_sections(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(isinstance(value, Section) for value in (*old.values(), *new.values()))


def _tables(
    old: dict[str, Section], new: dict[str, Section], location: Location
) -> Iterator[Change]:
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name), new.get(name)
        if type(before) is not type(after):
            yield Change(path_text((*location, name)), live=True)
        elif before is not None and after is not None:
            yield from _sections(before, after, (*location, name))
