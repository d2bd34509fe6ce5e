"""Every key that the operator may write: what it takes, its default, its meaning.

All of it is read from the sections themselves, so that it cannot go out of date.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from edge.config.diff import LIVE_TABLES, is_live
from edge.config.explain_types import Shape, words
from edge.config.root import Config
from edge.config.section import Section
from edge.config.units import parse_duration, parse_iso_duration, parse_size
from edge.errors import Rejected

_ANY_NAME = "NAME"
_INTRODUCTION = """\
# Configuration

Made by `edge config reference`; do not edit by hand. One TOML file, `/etc/edge/edge.toml`, or the
one named by `--config` or `$EDGE_CONFIG`. The smallest useful one:

```toml
[sources.gate]
kind = "camera"
url = "rtsp://viewer:${secret:gate}@192.168.1.20/stream1"

[store]
kind = "folder"
path = "/var/lib/edge/pictures"
```

`edge config validate` names every fault at once. A secret key may refer to a secret as
`${secret:gate}`: it is looked up in systemd's credentials, in the file `secrets/gate` beside the
configuration (mode 0600), and in the environment as `EDGE_SECRET_GATE`. Inside a URL it is
percent-encoded by itself.

When a change counts: *live*, at the next reload (SIGHUP); *source*, at the next reload, and the
source is opened anew; *restart*, when Edge starts again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the configuration."""

    #: the table it stands in: ``sources.NAME``
    table: str
    name: str
    #: the ``kind`` of table that has it; empty where every kind has
    kind: str
    takes: str
    #: as it would be written; ``required`` and ``none`` stand for themselves
    default: str
    meaning: str
    #: ``live``, ``source`` (that source is opened anew) or ``restart``
    change: str
    #: whether there may be several such tables, each written as ``[[table]]``
    many: bool = False

    @property
    def title(self) -> str:
        """The table's heading in a file: ``[sources.NAME]``, ``[[triggers.NAME.subscribers]]``."""
        return f"[[{self.table}]]" if self.many else f"[{self.table}]"

    @property
    def path(self) -> str:
        """The whole key: ``sources.NAME.url``."""
        return f"{self.table}.{self.name}" if self.table else self.name


def keys() -> tuple[Key, ...]:
    """Return every key, in the order of the sections."""
    return tuple(_keys(Config, "", ""))


def explain(wanted: str) -> list[Key]:
    """Return the keys that ``wanted`` names: whole (``sources.gate.url``), or its last part.

    Raises:
        Rejected: there is none; the hint names the nearest.

    """
    every = keys()
    parts = re.sub(r"\[\d*\]", "", wanted).strip("[]").split(".")
    for fits in (_is, _is_below, _ends_with):
        found = [key for key in every if fits(key, parts)]
        if found:
            return found
    paths = {key.path for key in every}
    near = difflib.get_close_matches(wanted, sorted(paths | {key.name for key in every}), n=3)
    raise Rejected(
        f"there is no key {wanted}",
        hint=f"did you mean {', '.join(near)}?" if near else "edge config reference lists them all",
        reason="unknown_key",
    )


def reference() -> str:
    """Return every key as Markdown tables: what ``edge/config/README.md`` holds."""
    lines = [_INTRODUCTION]
    heading = ""
    for key in keys():
        title = f"## `{key.title}`" + (f' with `kind = "{key.kind}"`' if key.kind else "")
        if title != heading:
            lines += ["", title, ""] if heading else [title, ""]
            lines += [
                "| key | takes | default | change | meaning |",
                "| --- | --- | --- | --- | --- |",
            ]
            heading = title
        cells = (f"`{key.name}`", key.takes, key.default, key.change, key.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """Return the configuration as JSON Schema, with units as the operator writes them."""
    return Config.model_json_schema(schema_generator=_Schema)


def _is(key: Key, parts: list[str]) -> bool:
    path = key.path.split(".")
    return len(path) == len(parts) and _same(path, parts)


def _is_below(key: Key, parts: list[str]) -> bool:
    path = key.path.split(".")
    return len(path) > len(parts) and _same(path[: len(parts)], parts)


def _ends_with(key: Key, parts: list[str]) -> bool:
    path = key.path.split(".")
    return len(path) > len(parts) and _same(path[-len(parts) :], parts)


def _same(path: list[str], parts: list[str]) -> bool:
    return all(ours in (_ANY_NAME, theirs) for ours, theirs in zip(path, parts, strict=True))


def _keys(section: type[Section], table: str, kind: str) -> Iterator[Key]:
    below = []
    for name, field in section.model_fields.items():
        shape = Shape.of(field.annotation, field.metadata)
        inside = _inside(shape, f"{table}.{name}" if table else name, kind)
        if inside is not None:
            below.append(inside)
        # a table that may be left out, or stand there several times, has a meaning of its own
        if inside is None or shape.lists_sections or field.default is None:
            yield _key(table, name, kind, shape, field)
    for more in below:
        yield from more


def _inside(shape: Shape, path: str, kind: str) -> Iterator[Key] | None:
    """Return the keys of the tables that stand under ``path``; None where none do."""
    items = shape.items
    if shape.lists_sections and items is not None and items.section is not None:
        return (replace(key, many=True) for key in _keys(items.section, path, kind))
    if items is not None and (items.variants or items.section is not None):
        shape, path = items, f"{path}.{_ANY_NAME}"
    if shape.variants:
        return _variants(shape, path)
    return _keys(shape.section, path, kind) if shape.section is not None else None


def _variants(shape: Shape, table: str) -> Iterator[Key]:
    """Yield what every kind has once, then what is each kind's own."""
    kinds = {kind: list(_keys(section, table, "")) for kind, section in shape.variants.items()}
    shared = [
        key for key in next(iter(kinds.values())) if all(key in others for others in kinds.values())
    ]
    yield from shared
    for kind, found in kinds.items():
        yield from (replace(key, kind=kind) for key in found if key not in shared)


def _key(table: str, name: str, kind: str, shape: Shape, field: FieldInfo) -> Key:
    top = table.partition(".")[0]
    change = "live" if is_live(field) or top in LIVE_TABLES else "restart"
    if not is_live(field) and top == "sources":
        change = "source"
    return Key(
        table=table,
        name=name,
        kind=kind,
        takes=words(shape),
        default=_default(field),
        meaning=field.description or "",
        change=change,
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "set by the box"
    if field.default is None:
        return "none"
    return f"`{json.dumps(field.default, ensure_ascii=False)}`"


class _Schema(GenerateJsonSchema):
    """Writes durations and sizes as text with units, and defaults as the operator would."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        function: Any = schema["function"]["function"]
        if function is parse_duration:
            return {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|min|m|h|d)\s*$"}
        if function is parse_iso_duration:
            part = r"\d+(\.\d+)?"
            clock = rf"(T(?=\d)({part}H)?({part}M)?({part}S)?)"
            return {"type": "string", "pattern": rf"^P(?=\d|T\d)({part}W)?({part}D)?{clock}?$"}
        if function is parse_size:
            return {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}
        return super().function_before_schema(schema)

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, Section):
            # only what was said: some defaults are facts of this machine
            return dft.model_dump(mode="json", exclude_unset=True)
        return list(dft) if isinstance(dft, tuple) else dft


def table_of(found: list[Key]) -> list[Mapping[str, str]]:
    """Return keys as JSON values."""
    return [
        {
            "path": key.path,
            "kind": key.kind,
            "takes": key.takes,
            "default": re.sub("^`|`$", "", key.default),
            "change": key.change,
            "meaning": key.meaning,
        }
        for key in found
    ]
