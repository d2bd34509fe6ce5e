"""What ``edge redact`` will do: each input with its output, no two outputs alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import Rejected

VIDEOS = frozenset(
    {".mp4", ".mov", ".m4v", ".mkv", ".avi", ".ts", ".m2ts", ".mts", ".webm", ".mpg", ".mpeg",
     ".flv", ".wmv", ".3gp", ".h264", ".264", ".h265", ".265", ".mjpeg", ".mjpg"}
)  # fmt: skip
_ENDINGS = {"jpeg": ".jpg", "webp": ".webp", "png": ".png"}
_NOT_PICTURES = frozenset({".json", ".jsonl", ".txt", ".md", ".csv", ".xml", ".yaml", ".toml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One file to redact."""

    input: Path
    output: Path
    video: bool


def plan(inputs: Sequence[Path], out: Path, picture_format: str) -> list[Planned]:
    """Pair every input file with an output under ``out``; folders keep their structure.

    In folders, files with a text ending and hidden ones are passed over; every other file is tried,
    for the content decides what is a picture.

    Raises:
        Rejected: an input does not exist, or ``out`` is a file.

    """
    if out.exists() and not out.is_dir():
        raise Rejected(f"{out} is a file", hint="name a directory with -o")
    taken: set[Path] = set()
    planned = []
    for given in inputs:
        for path, relative in _files(given, out):
            video = path.suffix.lower() in VIDEOS
            ending = ".mp4" if video else _ENDINGS[picture_format]
            output = out / relative.with_suffix(ending)
            if output in taken:  # a.png beside a.jpg
                output = out / relative.with_name(relative.name + ending)
            for number in range(2, len(taken) + 3):
                if output not in taken:
                    break
                output = out / relative.with_name(f"{relative.stem}-{number}{ending}")
            if output.resolve() == path.resolve():
                raise Rejected(
                    f"{path} would be overwritten by its own redacted copy",
                    hint="name another directory with -o",
                )
            taken.add(output)
            planned.append(Planned(input=path, output=output, video=video))
    return planned


def _files(given: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    if not given.exists():
        raise Rejected(f"there is no {given}", hint="check the path")
    if not given.is_dir():
        yield given, Path(given.name)
        return
    output = out.resolve()
    for path in sorted(given.rglob("*")):
        relative = path.relative_to(given)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or not path.is_file() or path.suffix.lower() in _NOT_PICTURES:
            continue
        if output in path.resolve().parents:
            continue  # an earlier run's output inside the input folder
        yield path, relative
