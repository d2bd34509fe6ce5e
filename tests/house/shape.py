"""How big code may be, and what it may not do (DESIGN 2, 6, 9)."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from tests.house.source import Source, called
from tests.places import ROOT

FILE_LINES = 400
FUNCTION_LINES = 40
ATTICS = {"util", "utils", "common", "helper", "helpers", "misc"}
CATCH_ALL = {
    "edge/bus/delivery.py",
    "edge/bus/worker.py",
    "edge/ops/supervise.py",
    # around code of others, which may raise anything
    "edge/bus/plugins.py",
}
EVERYTHING = {"Exception", "BaseException"}
LEFT = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
STARTERS = {
    "create_task": ("name", 1),
    "Thread": ("name", 2),
    "ThreadPoolExecutor": ("thread_name_prefix", 1),
}
"""What starts a task or thread: the argument that names it, and its place."""
ASSERTING = re.compile(r"^(assert|check|expect|until|wait_for)|^(raises|fail|warns|skip|timeout)$")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


def _functions(source: Source) -> list[Function]:
    return [node for node in ast.walk(source.tree) if isinstance(node, Function)]


def files_are_short(source: Source) -> list[str]:
    """A file has at most 400 lines."""
    lines = len(source.text.splitlines())
    return [f"1: {lines} lines"] if lines > FILE_LINES else []


def functions_are_short(source: Source) -> list[str]:
    """A function has at most 40 lines, its docstring not counted: to explain is free."""
    faults = []
    for function in _functions(source):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if ast.get_docstring(function, clean=False) is not None:
            doc = function.body[0]
            lines -= (doc.end_lineno or 0) - doc.lineno + 1
        if lines > FUNCTION_LINES:
            faults.append(f"{function.lineno}: {function.name} has {lines} lines")
    return faults


def modules_are_named_for_what_they_do(source: Source) -> list[str]:
    """No attic: a module or folder called util, common or helpers collects what has no place."""
    names = {part.removesuffix(".py") for part in source.path.parts}
    return [f"1: {name} says nothing" for name in sorted(names & ATTICS)]


def init_files_hold_a_docstring(source: Source) -> list[str]:
    """``__init__.py`` is a docstring; only ``edge/__init__.py`` also holds the version.

    In ``tests/`` it may be empty.
    """
    if source.path.name != "__init__.py" or (not source.text and source.path.parts[0] == "tests"):
        return []
    rest = source.tree.body[1 if ast.get_docstring(source.tree) is not None else 0 :]
    if source.path.as_posix() == "edge/__init__.py":
        rest = [node for node in rest if not _sets_version(node)]
    if not rest and source.tree.body:
        return []
    return ["1: __init__.py holds a docstring and nothing else"]


def _sets_version(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"


def only_two_places_catch_everything(source: Source) -> list[str]:
    """Only the delivery worker and the supervisor catch what they do not know.

    A handler that ends in a bare ``raise`` tidies up and catches nothing.
    """
    path = source.path.as_posix()
    if path in CATCH_ALL or not path.startswith("edge/"):
        return []
    faults = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and not _passes_on(node):
            names = _catches(node.type) & EVERYTHING
            faults += [f"{node.lineno}: except {name}" for name in sorted(names)]
        elif isinstance(node, ast.Call) and called(node) == "suppress":
            names = {ast.unparse(argument) for argument in node.args} & EVERYTHING
            faults += [f"{node.lineno}: suppress({name})" for name in sorted(names)]
    return faults


def _passes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _catches(node: ast.expr | None) -> set[str]:
    if node is None:
        return {"BaseException"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {ast.unparse(part) for part in parts}


def only_the_command_line_prints(source: Source) -> list[str]:
    """Everything but the command line logs."""
    path = source.path.as_posix()
    if not path.startswith("edge/") or path.startswith("edge/cli/"):
        return []
    return [
        f"{node.lineno}: print"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def nothing_is_left_to_do(source: Source) -> list[str]:
    """What is not done stands in an issue, not in the code."""
    faults = [
        f"{token.start[0]}: left to do in a comment"
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline)
        if token.type == tokenize.COMMENT and LEFT.search(token.string)
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            faults.append(f"{node.lineno}: NotImplementedError")
        elif isinstance(node, Documented) and LEFT.search(ast.get_docstring(node) or ""):
            faults.append(f"{getattr(node, 'lineno', 1)}: left to do in a docstring")
    return faults


def every_task_and_thread_has_a_name(source: Source) -> list[str]:
    """A stack dump of a stuck box names who is stuck. Tests may leave their own tasks nameless."""
    if source.path.parts[0] != "edge":
        return []
    faults = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        what = called(node)
        if what == "ensure_future":
            faults.append(f"{node.lineno}: ensure_future takes no name: use create_task")
        elif what in STARTERS and not _named(node, *STARTERS[what]):
            faults.append(f"{node.lineno}: {what} without {STARTERS[what][0]}=")
    return faults


def _named(node: ast.Call, keyword: str, place: int) -> bool:
    return len(node.args) > place or keyword in {word.arg for word in node.keywords}


def being_cancelled_is_never_swallowed(source: Source) -> list[str]:
    """``asyncio.wait_for`` of Python 3.11 loses a cancellation that comes as the wait ends.

    The task that it was meant for then runs for ever. ``asyncio.timeout`` does not.
    """
    if source.path.parts[0] != "edge":
        return []
    return [
        f"{node.lineno}: asyncio.wait_for: use asyncio.timeout"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.wait_for"
    ]


def every_test_asserts(source: Source) -> list[str]:
    """A test that asserts nothing cannot fail for the right reason.

    Counted as an assertion: ``assert``, ``pytest.raises`` and its kin, waiting for something with a
    time limit (``until…``, ``timeout``), and a call of a function that asserts, of this file, of
    the ``conftest.py`` beside it, or of ``tests/parts.py``.
    """
    if not source.path.name.startswith("test_"):
        return []
    functions = _functions(source)
    asserting = _asserting(functions + [one for kin in _kin(source) for one in _functions(kin)])
    return [
        f"{function.lineno}: {function.name} asserts nothing"
        for function in functions
        if function.name.startswith("test_") and function.name not in asserting
    ]


def _kin(source: Source) -> list[Source]:
    beside = ROOT / source.path.parent / "conftest.py"
    return [Source.read(path, ROOT) for path in (beside, ROOT / "tests/parts.py") if path.is_file()]


def _asserting(functions: list[Function]) -> set[str]:
    asserting: set[str] = set()
    while found := {
        function.name
        for function in functions
        if function.name not in asserting and _asserts(function, asserting)
    }:
        asserting |= found
    return asserting


def _asserts(function: Function, asserting: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = called(node)
            if name in asserting or ASSERTING.search(name):
                return True
    return False
