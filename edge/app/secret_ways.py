"""Where secrets go: a configuration from afar sends none of the file's to anybody else.

Who may change a configuration from afar need not know the secrets on the box. With an address of
their own beside ``${secret:gate}`` they would be told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from edge.config.secrets import names_in, without_references

NAMED = ("sources", "handlers", "triggers")
"""Sections whose tables have names; each has its own other side."""


def astray(wanted: Mapping[str, Any], file: Mapping[str, Any]) -> list[str]:
    """Return the tables in which a secret of the file would go where the file does not send it.

    Args:
        wanted: the configuration from afar, its secrets not put in.
        file: the operator's, likewise.

    """
    known: defaultdict[str, set[str]] = defaultdict(set)
    for _, secrets, hosts in _tables(file):
        for secret in secrets:
            known[secret] |= hosts
    return [
        path
        for path, secrets, hosts in _tables(wanted)
        if any(secret in known and not hosts <= known[secret] for secret in secrets)
    ]


def _tables(tables: Mapping[str, Any]) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield each table's path, the secrets in it, and the hosts that it names."""
    for section, content in tables.items():
        inner = content.items() if section in NAMED and isinstance(content, Mapping) else ()
        for path, table in [(f"{section}.{name}", one) for name, one in inner] or [
            (section, content)
        ]:
            texts = list(_texts(table))
            secrets = {name for text in texts for name in names_in(text)}
            yield path, secrets, {host for text in texts if (host := _host(text))}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _host(text: str) -> str:
    """Return the host and port of an address; of one that nobody can read, all of it."""
    if "://" not in text:
        # an address may be a secret as a whole: the file's own, which goes nowhere else
        return ""
    plain = without_references(text)
    try:
        parts = urlsplit(plain)
        return f"{parts.hostname or plain}:{parts.port or ''}".lower()
    except ValueError:
        return plain
