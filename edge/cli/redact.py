"""``edge redact``: pictures, folders and videos in, redacted copies out, by the service's path."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from edge.cli.show import answer, json_option
from edge.errors import Fatal, Rejected

EXIT_REJECTED, EXIT_WITHHELD = 1, 5


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one JSON object a line for each picture or frame.",
)
@click.option(
    "--method", type=click.Choice(["cells", "fill", "blur"]), default="cells", show_default=True
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 2),
    default=0.1,
    show_default=True,
    help="How far beyond a person's box is covered, as a fraction of the box.",
)
@click.option(
    "--format",
    "picture_format",
    type=click.Choice(["jpeg", "webp", "png"]),
    default="jpeg",
    show_default=True,
    help="Format of redacted pictures.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=90, show_default=True)
@click.option(
    "--engine",
    type=click.Choice(["onnx", "builtin"]),
    default="onnx",
    show_default=True,
    help="builtin: safe mode without a model, for videos only.",
)
@click.option(
    "--model",
    default="picodet_s_416",
    show_default=True,
    help="Id of an installed model, or an ONNX file, which is imported first.",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of installed models.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.01, 0.99),
    help="Scores below are not people; lower covers more.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Threads.")
@click.option("--audio", is_flag=True, help="Keep a video's sound (voices are not redacted).")
@json_option
def redact(*, inputs: tuple[Path, ...], out: Path, report: Path | None, as_json: bool,
           **options: object) -> int:  # fmt: skip
    """Redact INPUT… (pictures, folders, videos) into DIR.

    What cannot be read is named and skipped (exit 1); what may not leave is withheld (exit 5).
    """
    from edge.cli.redact_plan import plan
    from edge.cli.redact_run import Settings, run

    settings = Settings(**options)  # type: ignore[arg-type]  # click checked each of them
    tasks = plan(inputs, out, settings.picture_format)
    if not tasks:
        raise Rejected(
            "there is no picture or video among the inputs", hint="name files or folders"
        )
    try:
        file = report.open("w", encoding="utf-8") if report is not None else None
    except OSError as error:
        raise Fatal(f"the report {report} cannot be written: {error.strerror}") from error
    try:
        sums = asyncio.run(run(tasks, settings, file, progress=sys.stderr.isatty()))
    finally:
        if file is not None:
            file.close()
    text = (
        f"{sums['pictures']} pictures, {sums['frames']} frames, {sums['people']} people covered, "
        f"{sums['withheld']} withheld, {sums['rejected']} refused, in {sums['seconds']:.1f} s"
    )
    answer(sums, text, as_json=as_json)
    if sums["withheld"]:
        return EXIT_WITHHELD
    return EXIT_REJECTED if sums["rejected"] else 0
