"""What ``edge infer`` was asked: which pictures, from where, and where their redacted copies go."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import click

from edge.config.load import ConfigError, config_file, examine, loads
from edge.config.root import Config
from edge.config.sources import BucketConfig
from edge.config.store import FolderStoreConfig
from edge.errors import Rejected
from edge.sources.buckets.rule import BucketRule

STDIN = "-"
FORMATS: Mapping[str, str] = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".png": "png"}
_LONGEST = 60
"""Characters of a name that are kept; file systems take 255 bytes."""
_ENDINGS = {"jpeg": ".jpg", "webp": ".webp", "png": ".png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command, as click has checked them."""

    files: Sequence[str] = ()
    bucket: str | None = None
    keys: Sequence[str] = ()
    endpoint: str | None = None
    region: str | None = None
    engine: str | None = None
    model: str | None = None
    models: Path | None = None
    threshold: float | None = None
    config: Path | None = None

    def settings(self) -> Config:
        """Return the box's configuration, with what was asked for in its place.

        Without ``--config`` and without a file in the usual places: the defaults.

        Raises:
            ConfigError: the file has faults. Secrets are looked up where one is needed.

        """
        path = config_file(self.config)
        if self.config is None and not os.environ.get("EDGE_CONFIG") and not path.exists():
            config = Config(store=FolderStoreConfig(kind="folder", path="unused"))
        else:
            needed = self.bucket is not None and self.endpoint is None
            config = examine(path, secrets=needed).config
        # whoever names a model wants no other
        engine = self.engine or ("onnx" if self.model is not None else None)
        wanted = {"engine": engine, "threshold": self.threshold}
        detect = {name: value for name, value in wanted.items() if value is not None}
        models = {"path": str(self.models)} if self.models else {}
        return config.model_copy(
            update={
                "detect": config.detect.model_copy(update=detect),
                "models": config.models.model_copy(update=models),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One picture to look at."""

    #: a path, ``-``, or a key
    name: str
    #: its bucket; empty: it is a file
    bucket: str = ""
    #: where its redacted copy goes
    output: Path | None = None
    #: whether the ending of ``output`` says the format; else the format says the ending
    named: bool = False

    @property
    def shown(self) -> str:
        """Its name, for people."""
        return f"s3://{self.bucket}/{self.name}" if self.bucket else self.name


def plan(asked: Asked, out: Path | None) -> list[Input]:
    """Return what to look at, each with where its copy goes.

    Raises:
        click.UsageError: the options do not fit together.
        Rejected: a copy would be written over its original.

    """
    if bool(asked.bucket) != bool(asked.keys):
        raise click.UsageError("--bucket and --key belong together")
    if not asked.files and not asked.keys:
        raise click.UsageError("name a picture: --file F, or --bucket B --key K")
    if asked.endpoint is not None and not asked.bucket:
        raise click.UsageError("--endpoint goes with --bucket and --key")
    if list(asked.files).count(STDIN) > 1:
        raise click.UsageError("standard input can be read once")
    inputs = [Input(name=name) for name in asked.files]
    inputs += [Input(name=key, bucket=asked.bucket or "") for key in asked.keys]
    return inputs if out is None else list(_with_outputs(inputs, out))


def _with_outputs(inputs: Sequence[Input], out: Path) -> Iterator[Input]:
    one_file = len(inputs) == 1 and not out.is_dir() and bool(out.suffix)
    if one_file and out.suffix.lower() not in FORMATS:
        raise click.UsageError(f"--out {out}: expected a name that ends with {', '.join(FORMATS)}")
    if not one_file and out.exists() and not out.is_dir():
        raise click.UsageError(f"--out {out} is a file; several pictures need a directory")
    originals = {Path(one.name).resolve() for one in inputs if not one.bucket}
    taken: set[Path] = set()
    for one in inputs:
        output = out if one_file else _in(out, one, taken)
        taken.add(output)
        endings = ("",) if one_file else _ENDINGS.values()
        if any(Path(f"{output}{ending}").resolve() in originals for ending in endings):
            raise Rejected(
                f"the redacted copy of {one.shown} would be written over an original",
                hint="name another file or directory with --out",
            )
        yield replace(one, output=output, named=one_file)


def _in(folder: Path, one: Input, taken: set[Path]) -> Path:
    """Return a name in a directory that no other picture has, without its ending."""
    stem = "stdin" if one.name == STDIN else PurePosixPath(one.name).stem.replace("\0", "_")
    wanted = stem[:_LONGEST] or "picture"
    names = (folder / f"{wanted}{tail}" for tail in _tails())
    return next(name for name in names if name not in taken)


def _tails() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def ending_of(picture_format: str) -> str:
    """Return how the name of a picture of a format ends."""
    return _ENDINGS[picture_format]


def bucket_of(
    asked: Asked, config: Config, key: str, environ: Mapping[str, str] = os.environ
) -> tuple[str, BucketConfig]:
    """Return which source an object is of, and how to fetch it.

    Raises:
        click.UsageError: ``--endpoint`` without keys in the environment, or no address.
        Rejected: ``unknown_bucket``: no source of the configuration reads it.

    """
    if asked.endpoint is not None:
        return "infer", _by_environment(asked, asked.endpoint, environ)
    buckets = {
        name: source for name, source in config.sources.items() if isinstance(source, BucketConfig)
    }
    of_name = [(name, one) for name, one in buckets.items() if one.bucket == asked.bucket]
    if not of_name:
        known = ", ".join(sorted({one.bucket for one in buckets.values()})) or "none"
        raise Rejected(
            f"no source of the configuration reads the bucket {asked.bucket} (it reads: {known})",
            hint="name another configuration with --config, or the server with --endpoint",
            reason="unknown_bucket",
        )
    meant = [
        (name, one)
        for name, one in of_name
        if BucketRule(prefix=one.prefix, suffixes=one.suffixes).holds(key)
    ]
    return (meant or of_name)[0]


def _by_environment(asked: Asked, endpoint: str, environ: Mapping[str, str]) -> BucketConfig:
    access = environ.get("EDGE_ACCESS_KEY") or environ.get("AWS_ACCESS_KEY_ID")
    secret = environ.get("EDGE_SECRET_KEY") or environ.get("AWS_SECRET_ACCESS_KEY")
    if not (access and secret):
        raise click.UsageError(
            "--endpoint needs EDGE_ACCESS_KEY and EDGE_SECRET_KEY (or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY) in the environment"
        )
    text = (
        '[store]\nkind = "folder"\npath = "unused"\n[sources.infer]\nkind = "bucket"\n'
        f"endpoint = {_quoted(endpoint.rstrip('/'))}\nbucket = {_quoted(asked.bucket or '')}\n"
        f"region = {_quoted(asked.region or environ.get('AWS_REGION') or 'us-east-1')}\n"
        'access_key = "${secret:access}"\nsecret_key = "${secret:secret}"\n'
    )
    secrets = {"EDGE_SECRET_ACCESS": access, "EDGE_SECRET_SECRET": secret, "HOME": "/"}
    try:
        source = loads(text, "--endpoint", environ=secrets).sources["infer"]
    except ConfigError as error:
        faults = "; ".join(f"{fault.location[-1]}: {fault.message}" for fault in error.faults)
        raise click.UsageError(faults) from error
    if not isinstance(source, BucketConfig):
        raise TypeError(f"expected a bucket: {source.kind}")
    return source


def _quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)
