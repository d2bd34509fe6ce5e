"""``edge infer``: what the engine finds in a picture, once, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from edge.cli.show import config_option, warn
from edge.ops.redact_url import clean

EXIT_REJECTED, EXIT_WITHHELD = 1, 5


@click.command()
@click.option(
    "--file",
    "-f",
    "files",
    multiple=True,
    metavar="F",
    help="A picture; - reads standard input. May be given several times.",
)
@click.option("--bucket", "-b", metavar="B", help="Bucket of the objects named with --key.")
@click.option(
    "--key", "-k", "keys", multiple=True, metavar="K", help="An object. May be given several times."
)
@click.option(
    "--endpoint",
    metavar="URL",
    help="The bucket's server. Keys come from EDGE_ACCESS_KEY and EDGE_SECRET_KEY, or AWS_*. Left "
    "out: as the configuration's source that reads the bucket says.",
)
@click.option("--region", help="With --endpoint. Else $AWS_REGION, else us-east-1.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Write the redacted picture, too: to a file, or under its name into a directory.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "builtin"]),
    help="As detect.engine; onnx where --model is given.",
)
@click.option("--model", metavar="ID|FILE", help="Another model; an ONNX file is imported first.")
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of installed models.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.01, 0.99),
    help="Scores below are not people; lower finds more.",
)
@click.option("--json", "as_json", is_flag=True, help="Errors in JSON, too; answers always are.")
@config_option
def infer(*, out: Path | None, as_json: bool, **options: Any) -> int:
    """Say what the engine finds in pictures: one line of JSON each. No box needs to run.

    Nothing is written but what --out asks for. Exit 1: a picture is bad; 4: a store or the engine
    is out of order; 5: the engine cannot judge a picture.
    """
    from edge.cli.infer_plan import Asked, plan
    from edge.cli.infer_run import run

    asked = Asked(**options)
    inputs = plan(asked, out)
    codes = [0]

    def tell(line: dict[str, Any], code: int) -> None:
        print(json.dumps(clean(line), ensure_ascii=False))
        sys.stdout.flush()
        codes.append(code)
        if code and not as_json:
            error = line["error"]
            hint = f"\n  hint: {error['hint']}" if error["hint"] else ""
            warn(f"{line['input']}: {error['message']}{hint}")

    asyncio.run(run(inputs, asked, tell))
    return EXIT_WITHHELD if EXIT_WITHHELD in codes else max(codes)
