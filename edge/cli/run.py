"""``edge run``: the appliance itself."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.show import config_option

AGAIN = 75
"""Exit code where a configuration on probation could not run: the next start has the one before.
A GPU that is lost to the process ends it with the same one: the next start has a new process."""
_NOT_ITS_FAULT = ("in_use", "gpu_lost")


@click.command()
@config_option
@click.option(
    "--demo",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="No configuration: a drawn camera, pictures and state under DIR, the page on a free port "
    "from 8080 on.",
)
@click.option("--model", metavar="ID|FILE", help="Another model; an ONNX file is imported first.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the page; 0 takes a free one.")
def run(
    *, config: Path | None, demo: Path | None, model: str | None, port: int | None
) -> int | None:
    """Run the appliance until it is told to stop (SIGTERM, Ctrl-C); SIGHUP reloads."""
    from edge.app.box import run_box
    from edge.app.config import begin, give_up
    from edge.app.parts import demo_config, with_model
    from edge.config.load import config_file
    from edge.errors import EdgeError
    from edge.ops import log as logs

    if demo is not None and config is not None:
        raise click.UsageError("--demo and --config exclude each other")
    path: Path | None = None
    beginning = None
    if demo is not None:
        settings = demo_config(demo)
    else:
        path = config_file(config)
        begun = begin(path)
        settings, beginning = begun.loaded.config, begun.beginning
    if port is not None:
        settings = settings.model_copy(
            update={"web": settings.web.model_copy(update={"port": port})}
        )
    if model is not None:
        settings = with_model(settings, model)
    logs.set_up(settings.log.level, settings.log.format)
    try:
        run_box(settings, path, beginning)
    except EdgeError as error:
        # what came from afar must not be what nobody starts again
        if path is None or error.reason in _NOT_ITS_FAULT or not give_up(path, str(error)):
            raise
        return AGAIN
    return None
