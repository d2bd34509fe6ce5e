"""Read the operator's TOML. Every fault is reported at once, with path, value and expectation."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.config import load_checks
from edge.config.explain_types import Shape, choices, locate, shape_at, words
from edge.config.load_faults import ConfigError, Fault, Location, show_given
from edge.config.root import Config
from edge.config.secrets import Secrets, has_reference

__all__ = [
    "ConfigError",
    "Fault",
    "Loaded",
    "config_file",
    "examine",
    "examine_tables",
    "load",
    "loads",
    "parsed",
    "tables_in",
]

Also = Callable[[load_checks.Parts], Iterable[Fault]]
"""Finds faults that only a room can tell (of filters, for example); ``app/checks.py`` has it."""
_SYSTEM_FILE = Path("/etc/edge/edge.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, and what was seen on the way."""

    config: Config
    #: what is doubtful but not wrong
    doubts: tuple[Fault, ...]
    #: as the operator wrote it, with references instead of secrets
    written: Mapping[str, Any]


def load(
    path: Path, *, environ: Mapping[str, str] = os.environ, also: Also | None = None
) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, or has faults; all of them are named.

    """
    return examine(path, environ=environ, also=also).config


def loads(
    text: str,
    where: str,
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    also: Also | None = None,
) -> Config:
    """Read a configuration from text; ``where`` names it in messages.

    ``directory`` is the one that ``secrets/`` stands in.

    Raises:
        ConfigError: it has faults; all of them are named.

    """
    return _examine(text, where, Secrets(directory, environ), also).config


def examine(
    path: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    secrets: bool = True,
    also: Also | None = None,
) -> Loaded:
    """Read a configuration file and keep what a person may want to know about it.

    Args:
        path: the file.
        environ: where secrets and paths may stand.
        secrets: False: every secret is taken to be there, since systemd shows credentials to the
            service alone, and the configuration can be checked by others too.
        also: looks for more faults.

    Raises:
        ConfigError: it cannot be read, or has faults; all of them are named.

    """
    text = _text_of(path)
    looked_up = Secrets(path.resolve().parent, environ, look=secrets)
    return _examine(text, str(path), looked_up, also)


def tables_in(path: Path) -> dict[str, Any]:
    """Return what a configuration file says, as written: secrets by reference, not yet checked.

    Raises:
        ConfigError: it cannot be read, or is no TOML.

    """
    return parsed(_text_of(path), str(path))


def examine_tables(
    tables: Mapping[str, Any],
    where: str,
    *,
    directory: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    secrets: bool = True,
    also: Also | None = None,
) -> Loaded:
    """Read a configuration from tables, as ``tables_in`` returns them; see ``examine``.

    Raises:
        ConfigError: it has faults; all of them are named.

    """
    return _judged(tables, where, Secrets(directory, environ, look=secrets), also)


def config_file(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file to read: ``given``, else the environment's, else ``/etc/edge/edge.toml``."""
    if given is not None:
        return given
    if environ.get("EDGE_CONFIG"):
        return Path(environ["EDGE_CONFIG"])
    if environ.get("CONFIGURATION_DIRECTORY"):
        # systemd may name several, divided by colons
        return Path(environ["CONFIGURATION_DIRECTORY"].split(":")[0]) / "edge.toml"
    return _SYSTEM_FILE


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            str(path), [Fault(location=(), message=f"not UTF-8 at line {line}")]
        ) from None
    except OSError as error:
        raise ConfigError(
            str(path),
            [Fault(location=(), message=f"cannot be read: {error.strerror}")],
            hint="name the file with --config or $EDGE_CONFIG",
        ) from error


def _examine(text: str, where: str, secrets: Secrets, also: Also | None) -> Loaded:
    return _judged(parsed(text, where), where, secrets, also)


def parsed(text: str, where: str) -> dict[str, Any]:
    """Return what a configuration's text says; see ``tables_in``."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib's message ends with "(at line 3, column 7)"
        raise ConfigError(
            where,
            [Fault(location=(), message=f"not TOML: {error}")],
            hint="text stands in quotes, a table's name in [brackets]",
        ) from None


def _judged(raw: Mapping[str, Any], where: str, secrets: Secrets, also: Also | None) -> Loaded:
    resolving = _Resolving(secrets, raw)
    resolved = resolving.walk(raw, ())
    faults, config = list(resolving.faults), None
    try:
        config = Config.model_validate(resolved)
    except ValidationError as error:
        faults += _translated(error, raw)
    known = {fault.location for fault in faults}
    parts = load_checks.parts(resolved)
    between = [*load_checks.faults(parts, secrets.environ), *(also(parts) if also else ())]
    faults += [fault for fault in between if fault.location not in known]
    if faults or config is None:
        raise ConfigError(where, _in_file_order(faults, raw)) from None
    doubts = tuple(load_checks.doubts(config, raw))
    return Loaded(config=config, doubts=doubts, written=raw)


@dataclass(slots=True)
class _Resolving:
    """Puts secrets in where a key may hold one."""

    secrets: Secrets
    raw: Mapping[str, Any]
    faults: list[Fault] = field(default_factory=list)

    def walk(self, value: Any, location: Location) -> Any:
        if isinstance(value, dict):
            return {name: self.walk(inner, (*location, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.walk(inner, (*location, at)) for at, inner in enumerate(value)]
        if isinstance(value, str) and has_reference(value):
            return self._resolved(value, location)
        return value

    def _resolved(self, text: str, location: Location) -> str:
        shape = shape_at(location, Config, self.raw)
        if shape is None:
            return text  # no such key: reported where the whole is read
        problem = "expected no secret here: pages and logs show this key's value"
        if shape.secret:
            try:
                return self.secrets.resolve(text)
            except ValueError as error:
                problem = str(error)
        self.faults.append(Fault(location=location, message=problem, given=show_given(text)))
        return text


def _translated(error: ValidationError, raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Say what pydantic found in the operator's words; a value in doubt is not shown."""
    seen = set()
    for found in error.errors(include_url=False):
        location, shape = locate(found["loc"], Config)
        fault = _fault(found["type"], location, shape, found.get("ctx", {}), raw)
        if fault not in seen:
            seen.add(fault)
            yield fault


def _fault(
    kind: str,
    location: Location,
    shape: Shape | None,
    context: Mapping[str, Any],
    raw: Mapping[str, Any],
) -> Fault:
    if kind == "extra_forbidden":
        # a secret may stand under a misspelt key: its value is not shown
        return Fault(location=location, message=_unknown(location, raw))
    expected = f"expected {words(shape)}" if shape is not None else "not expected here"
    if kind == "missing":
        return Fault(location=location, message=f"missing; {expected}")
    given = _at(location, raw)
    if kind.startswith("union_tag") and shape is not None:
        location = (*location, "kind")
        known = choices(tuple(shape.variants))
        if kind == "union_tag_not_found":
            return Fault(location=location, message=f"missing; expected {known}")
        shown = show_given(_at(location, raw))
        return Fault(location=location, message=f"expected {known}", given=shown)
    if kind == "value_error":
        expected = str(context.get("error", expected))
    hidden = shape is None or (shape.secret and isinstance(given, str))
    return Fault(
        location=location, message=expected, given="********" if hidden else show_given(given)
    )


def _unknown(location: Location, raw: Mapping[str, Any]) -> str:
    parent = shape_at(location[:-1], Config)
    known: dict[str, object] = {}
    if parent is not None:
        kind = _at((*location[:-1], "kind"), raw)
        section = parent.variants.get(str(kind)) or parent.section
        known = dict(section.model_fields) if section is not None else {}
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
    if near:
        return f"no such key; did you mean {near[0]}?"
    return f"no such key; expected one of {', '.join(known)}" if known else "no such key"


def _at(location: Location, raw: Any) -> Any:
    """Return what the file says at ``location``; None where it says nothing."""
    for name in location:
        if isinstance(raw, dict):
            raw = raw.get(str(name))
        elif isinstance(raw, list) and isinstance(name, int) and name < len(raw):
            raw = raw[name]
        else:
            return None
    return raw


def _in_file_order(faults: list[Fault], raw: Mapping[str, Any]) -> list[Fault]:
    order = {location: at for at, location in enumerate(_locations(raw, ()))}

    def place(fault: Fault) -> tuple[int, str]:
        location = fault.location
        while location not in order and location:
            location = location[:-1]
        # what the whole file lacks comes last
        return (order[location] if location else len(order)), fault.path

    return sorted(faults, key=place)


def _locations(value: Any, location: Location) -> Iterator[Location]:
    yield location
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, below in inner:
        yield from _locations(below, (*location, name))
