"""The shapes of the sections: what a key takes in the operator's words, and where a key stands."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from edge.config.load_faults import Location
from edge.config.secret import Secret
from edge.config.section import Section
from edge.config.units import parse_duration, parse_iso_duration, parse_size

_PLAIN: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false values"),
    str: ("text", "texts"),
    Secret: ("secret text", "secret texts"),
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
}
_PARSED: dict[Any, str] = {
    parse_duration: 'duration ("250ms", "1.5s", "2min")',
    parse_iso_duration: 'ISO 8601 duration ("PT0.2S", "PT5M", "P1D")',
    parse_size: 'size ("512KiB", "2GB", bytes)',
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A type with what narrows it."""

    type: Any
    narrowed_by: tuple[Any, ...] = ()

    @classmethod
    def of(cls, annotation: Any, metadata: Sequence[Any] = ()) -> Shape:
        """Take an annotation apart: ``Annotated`` unpacked, ``| None`` left out."""
        narrowed = tuple(metadata)
        while True:
            if get_origin(annotation) is Annotated:
                annotation, *more = get_args(annotation)
                for one in more:
                    narrowed += tuple(one.metadata) if isinstance(one, FieldInfo) else (one,)
            elif len(real := _members(annotation)) == 1 and real[0] is not annotation:
                annotation = real[0]
            else:
                return cls(annotation, narrowed)

    @property
    def section(self) -> type[Section] | None:
        """The section it is, if it is one."""
        return self.type if isinstance(self.type, type) and issubclass(self.type, Section) else None

    @property
    def variants(self) -> dict[str, type[Section]]:
        """The sections it may be, by their ``kind``; empty for anything else."""
        members = [Shape.of(member).section for member in _members(self.type)]
        found = [member for member in members if member is not None]
        return {_kind(member): member for member in found} if len(found) > 1 else {}

    @property
    def items(self) -> Shape | None:
        """What a list holds or a table of names leads to."""
        arguments = get_args(self.type)
        if get_origin(self.type) is dict:
            return Shape.of(arguments[1])
        return Shape.of(arguments[0]) if get_origin(self.type) in (tuple, list) else None

    @property
    def lists_sections(self) -> bool:
        """Whether it is a list of tables whose keys are known."""
        items = self.items
        return get_origin(self.type) is list and items is not None and items.section is not None

    @property
    def secret(self) -> bool:
        """Whether its value must not be seen."""
        return self.type is Secret

    def step(self, name: str | int) -> Shape | None:
        """Return the shape of what stands under ``name``; None where nothing may stand."""
        for variant in self.variants.values():
            if name in variant.model_fields:
                return Shape(variant).step(name)
        if self.section is not None:
            field = self.section.model_fields.get(str(name))
            return Shape.of(field.annotation, field.metadata) if field else None
        return self.items


def shape_at(location: Location, top: type[Section], raw: Any = None) -> Shape | None:
    """Return the shape of what belongs at the operator's ``location``; None where nothing does.

    Where tables of several kinds have the same key, ``raw`` (what the file says) tells the kind.
    """
    shape: Shape | None = Shape(top)
    for name in location:
        if shape is not None and isinstance(raw, dict):
            kind = shape.variants.get(str(raw.get("kind")))
            shape = Shape(kind) if kind is not None else shape
        shape = shape.step(name) if shape is not None else None
        raw = raw.get(name) if isinstance(raw, dict) else None
    return shape


def locate(location: Location, top: type[Section]) -> tuple[Location, Shape | None]:
    """Turn pydantic's location into the operator's: without the tags of unions.

    Returns:
        The location, and the shape of what belongs there (None where nothing does).

    """
    shape: Shape | None = Shape(top)
    found: list[str | int] = []
    for name in location:
        if shape is not None and name in shape.variants:
            shape = Shape(shape.variants[str(name)])
            continue
        found.append(name)
        shape = shape.step(name) if shape is not None else None
    return tuple(found), shape


def words(shape: Shape) -> str:
    """Say what a key takes: ``whole number, 1 to 100``."""
    for one in shape.narrowed_by:
        if isinstance(one, BeforeValidator) and one.func in _PARSED:
            return _PARSED[one.func]
    if get_origin(shape.type) is Literal:
        return choices(get_args(shape.type))
    if shape.section is not None or shape.variants:
        kinds = f" with kind = {choices(tuple(shape.variants))}" if shape.variants else ""
        return f"table{kinds}"
    if shape.items is not None:
        return _list_words(shape, shape.items)
    name = _PLAIN[shape.type][0] if shape.type in _PLAIN else "value"
    return ", ".join(part for part in (name, _limits(shape.narrowed_by)) if part)


def _list_words(shape: Shape, items: Shape) -> str:
    if get_origin(shape.type) is dict:
        if items.type is Any:
            return "table"
        tables = items.section is not None or items.variants
        return "table of tables, one a name" if tables else f"table of {_plural(items)}"
    arguments = get_args(shape.type)
    if len(arguments) == 2 and arguments[1] is not Ellipsis:
        return f"pair of {_plural(items)}"
    return f"list of {_plural(items)}"


def _plural(shape: Shape) -> str:
    if shape.type in _PLAIN:
        limits = _limits(shape.narrowed_by)
        return _PLAIN[shape.type][1] + (f" {limits}" if limits else "")
    said = words(shape)
    first, _, rest = said.partition(" ")
    return f"{first}s {rest}".rstrip()


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    return [one for one in get_args(annotation) if one is not type(None)]


def _kind(section: type[Section]) -> str:
    return str(get_args(section.model_fields["kind"].annotation)[0])


def choices(values: Sequence[Any]) -> str:
    """Write values as a choice: ``"a", "b" or "c"``."""
    quoted = [f'"{value}"' if isinstance(value, str) else str(value) for value in values]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _limits(narrowed_by: Sequence[Any]) -> str:
    low, high, more = "", "", []
    for limit in narrowed_by:
        if isinstance(limit, annotated_types.Ge):
            low = f"{limit.ge}"
        elif isinstance(limit, annotated_types.Gt):
            low = f"more than {limit.gt}"
        elif isinstance(limit, annotated_types.Le):
            high = f"{limit.le}"
        elif isinstance(limit, annotated_types.Lt):
            high = f"less than {limit.lt}"
        else:
            more += _text_limits(limit)
    span = f"{low} to {high}" if low and high else (high and f"up to {high}")
    if low and not high:
        span = low if low.startswith("more") else f"{low} or more"
    return ", ".join([*([span] if span else []), *more])


def _text_limits(limit: Any) -> list[str]:
    if isinstance(limit, annotated_types.MinLen):
        return [f"at least {limit.min_length} long"]
    if isinstance(limit, annotated_types.MaxLen):
        return [f"at most {limit.max_length} long"]
    pattern = getattr(limit, "pattern", None)
    return [f"matching {pattern}"] if pattern else []
