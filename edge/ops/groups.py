"""What a TaskGroup raises, without the group around it."""

from __future__ import annotations

from edge.errors import EdgeError


def cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error of the house that ended the group, else whatever came first."""
    leaves = _leaves(group)
    return next((error for error in leaves if isinstance(error, EdgeError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
