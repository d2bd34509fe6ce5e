"""JSON Schema (draft 2020-12) of a typed dictionary: one description for mypy and for the world."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: dict[object, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


@dataclass(frozen=True, slots=True)
class About:
    """What a type cannot say of a member."""

    text: str
    #: what text must match (ECMA 262)
    pattern: str = ""
    #: text is never empty
    filled: bool = False
    #: nothing else is ever said there
    among: tuple[str, ...] = ()
    #: so many items a list has, no more and no fewer
    items: int | None = None
    #: smallest number; of a list: of its items
    least: float | None = None
    most: float | None = None

    def narrow(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema with what is said here."""
        if self.items is not None:
            bounds = {"minItems": self.items, "maxItems": self.items}
            return schema | bounds | {"items": schema["items"] | self._range()} | self._text()
        if self.among:
            return _one_of(self.among) | self._text()
        filled = {"minLength": 1} if self.filled else {}
        pattern = {"pattern": self.pattern} if self.pattern else {}
        return schema | filled | pattern | self._range() | self._text()

    def _range(self) -> dict[str, Any]:
        bounds = {"minimum": self.least, "maximum": self.most}
        return {name: value for name, value in bounds.items() if value is not None}

    def _text(self) -> dict[str, str]:
        return {"description": self.text} if self.text else {}


def schema_uri(event_type: str) -> str:
    """Return the name of the schema of a type of event: the ``$id`` of the published document."""
    return f"urn:edge:schema:{schema_file(event_type)}"


def schema_file(event_type: str) -> str:
    """Return the name of the schema's file, without its ending: ``picture.redacted.v1``."""
    return event_type.removeprefix("io.edge.")


def dataschema(event_type: str) -> str:
    """Return what an event says of its data: CloudEvents means that part of a message alone."""
    return f"{schema_uri(event_type)}#/properties/data"


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the schema of what JSON values a type stands for.

    A typed dictionary may have more members than are named: they come with later versions.

    Raises:
        TypeError: JSON has nothing of that type.

    """
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_typeddict(kind):
        return _object(kind)
    return _generic(kind, get_origin(kind), get_args(kind))


def _generic(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    if origin is NotRequired:
        return schema_of(arguments[0])
    if origin is Annotated:
        about: About = arguments[1]
        return about.narrow(schema_of(arguments[0]))
    if origin is Literal:
        return _one_of(arguments)
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    raise TypeError(f"{kind} has no form in JSON")


def _one_of(values: tuple[Any, ...]) -> dict[str, Any]:
    return {"const": values[0]} if len(values) == 1 else {"enum": list(values)}


def _object(kind: Any) -> dict[str, Any]:
    members: Mapping[str, Any] = get_type_hints(kind, include_extras=True)
    required = [name for name, hint in members.items() if get_origin(hint) is not NotRequired]
    return {
        "description": " ".join(inspect.cleandoc(kind.__doc__ or "").split()),
        "type": "object",
        "properties": {name: schema_of(hint) for name, hint in members.items()},
        "required": required,
    }
