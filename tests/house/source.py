"""A parsed file, as the rules see it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: where it is (from the top of the house), its text, its tree."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> Source:
        return cls(PurePosixPath(path), text, ast.parse(text))

    @classmethod
    def read(cls, path: Path, root: Path) -> Source:
        return cls.parse(path.relative_to(root).as_posix(), path.read_text())

    @property
    def module(self) -> str:
        """Return the dotted name: ``edge.sinks.s3``; a package has the name of its folder."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports(self) -> list[tuple[int, str]]:
        """List every import anywhere in the file, absolute, as line and dotted name.

        ``from edge import web`` gives ``edge.web``: what is imported from a package may be a
        module, and from a module it does no harm to say more.
        """
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        return found

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.path.parent.parts
        base = package[: len(package) - node.level + 1]
        return ".".join([*base, node.module] if node.module else base)


Rule = Callable[[Source], list[str]]
"""Gives the faults of a file as ``line: what``; none for a file that it does not concern."""

STANDARD = frozenset(sys.stdlib_module_names)


def called(node: ast.Call) -> str:
    """Return the last part of what is called: ``asyncio.create_task(…)`` gives create_task."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""
