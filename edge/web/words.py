"""Numbers as people read them: ages, sizes, counts."""

from __future__ import annotations

from datetime import datetime

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def age(seconds: float | None) -> str:
    """Write a span: ``0.4 s``, ``12 s``, ``3 min``, ``2 h 5 min``, ``4 d``; a dash for None."""
    if seconds is None:
        return "\N{EN DASH}"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    for factor, unit in _STEPS:
        if seconds >= factor:
            whole, rest = divmod(int(seconds), factor)
            small = rest // 60
            return f"{whole} {unit} {small} min" if unit == "h" and small else f"{whole} {unit}"
    return f"{seconds:.0f} s"


def size(number: float) -> str:
    """Write bytes: ``512 B``, ``3.4 MiB``."""
    for factor, unit in _BYTES:
        if number >= factor:
            value = number / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{number:.0f} B"


def count(number: float) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{int(number):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def rate(per_second: float) -> str:
    """Write pictures a second."""
    return f"{per_second:.1f}"


def moment(iso: str | None) -> str:
    """Write a time as date, time and zone: ``2026-05-04 09:30:00 UTC``; empty for None."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%S %Z}" if iso else ""


def sentence(text: str) -> str:
    """Write a reason with one full stop at its end; empty stays empty."""
    text = text.strip().rstrip(".")
    return f"{text}." if text else ""
