"""Durations and sizes with units, as the operator writes them: ``"1.5s"``, ``"2GiB"``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "b": 1, "": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_NUMBER_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_duration(value: object) -> float:
    """Read ``"250ms"``, ``"1.5s"``, ``"2min"``, ``"3h"``, ``"7d"`` as seconds.

    Raises:
        ValueError: anything else; a bare number too, since its unit would be a guess.

    """
    match = _NUMBER_UNIT.fullmatch(value) if isinstance(value, str) else None
    if not match or match[2].lower() not in _SECONDS:
        raise ValueError('expected a duration with its unit, for example "250ms", "1.5s", "2min"')
    return float(match[1]) * _SECONDS[match[2].lower()]


_ISO = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?=\d)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)


def parse_iso_duration(value: object) -> float:
    """Read ``"PT0.2S"``, ``"PT5M"``, ``"P1DT2H"`` (ISO 8601 without years and months) as seconds.

    Raises:
        ValueError: anything else.

    """
    match = _ISO.fullmatch(value) if isinstance(value, str) else None
    if not match or not any(match.groups()):
        raise ValueError('expected an ISO 8601 duration, for example "PT0.2S", "PT5M", "P1D"')
    weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds


def show_iso_duration(seconds: float) -> str:
    """Write seconds the way ``parse_iso_duration`` reads them."""
    for mark, factor in (("H", 3600), ("M", 60)):
        if seconds and seconds % factor == 0:
            return f"PT{seconds / factor:.0f}{mark}"
    text = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return f"PT{text}S"


def parse_size(value: object) -> int:
    """Read ``"512KiB"``, ``"2GB"``, ``1024`` as bytes.

    Raises:
        ValueError: anything else.

    """
    match = _NUMBER_UNIT.fullmatch(str(value)) if isinstance(value, str | int) else None
    if isinstance(value, bool) or not match or match[2].lower() not in _BYTES:
        raise ValueError('expected a size, for example "512KiB", "2GB" or a number of bytes')
    return int(float(match[1]) * _BYTES[match[2].lower()])


def show_duration(seconds: float) -> str:
    """Write seconds the way ``parse_duration`` reads them."""
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % factor == 0:
            return f"{seconds / factor:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:g}ms"


def show_size(size: int) -> str:
    """Write bytes the way ``parse_size`` reads them."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(show_duration, return_type=str),
]
"""Seconds as a float; text with a unit in a file."""

Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(show_size, return_type=str)]
"""Bytes as an int; text with a unit in a file."""

IsoDuration = Annotated[
    float,
    BeforeValidator(parse_iso_duration),
    PlainSerializer(show_iso_duration, return_type=str),
]
"""Seconds as a float; ISO 8601 text in a file, as Knative writes it."""
