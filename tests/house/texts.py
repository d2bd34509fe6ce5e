"""What no committed text may hold, whatever its language."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

TextRule = Callable[[str], list[str]]

MACHINE = re.compile(r"(?<![\w.}~])/(?:(?:work|root|home|Users)/[\w.]|tmp/)")
# Letters in brackets, so that this file keeps its own rule.
HOSTS = re.compile(r"p[y]pi\.org|p[y]thonhosted\.|registry\.n[p]mjs")
MOST = 2_000_000


def text_of(path: Path) -> str | None:
    """Return a file's text; None for a picture, a model, or anything else that is not text."""
    if path.stat().st_size > MOST:
        return None
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def _lines(text: str, pattern: re.Pattern[str], what: str) -> list[str]:
    return [
        f"{number}: {what}: {found.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        if (found := pattern.search(line))
    ]


def no_path_of_a_machine(text: str) -> list[str]:
    """A path of the machine on which something was written works nowhere else."""
    return _lines(text, MACHINE, "a path of one machine")


def no_package_host(text: str) -> list[str]:
    """Where packages come from is the machine's own setting (pip.conf, apt sources)."""
    return _lines(text, HOSTS, "a package registry")
