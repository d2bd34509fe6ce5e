"""What verbs take. Every fault of a command's arguments is named at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.config.privacy import Margin, Method, Point

Name = Annotated[str, Field(min_length=1, max_length=128, description="Name of a source.")]


class Args(BaseModel):
    """Arguments of a verb: unknown ones are refused, and a value is never repeated in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Nothing(Args):
    """No argument at all."""


class Source(Args):
    """One source."""

    name: Name


class AddSource(Source):
    """A source as in the file: ``kind`` and the keys of ``[sources.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    kind: str = Field(description="camera, scene, folder or bucket; its other keys beside it.")


class TestSource(Source):
    """How long to wait."""

    seconds: float = Field(15.0, gt=0, le=60, description="How long a picture may take to come.")


class Raise(Args):
    """What is to be stricter. What is left out stays."""

    method: Method | None = Field(None, description="blur < cells < fill: only upwards.")
    margin: Margin | None = Field(None, description="How far beyond a person; only more.")
    threshold: float | None = Field(
        None, ge=0.01, le=0.99, description="Scores below are not people; only lower."
    )
    source: str = Field("", description="For this source alone; empty: for all. Not: threshold.")
    blackout: tuple[tuple[Point, ...], ...] = Field(
        (), max_length=64, description="More polygons of [x, y], as fractions; needs source."
    )


class Pause(Args):
    """For how long."""

    seconds: float | None = Field(
        None, gt=0, le=31 * 86400, description="Left out: until sync.resume or a restart."
    )


class LetterFilter(Args):
    """Which dead letters; several filters must all match."""

    ids: tuple[str, ...] = Field((), max_length=1000, description="By id.")
    trigger: str = Field("", description="Which trigger could not deliver; store: a picture.")
    reason: str = Field("", description="Why it died.")
    type: str = Field("", description="The event's type.")
    source: str = Field("", description="The event's source.")
    subject: str = Field("", description="A part of the event's subject.")
    since: datetime | None = Field(None, description="Died at or after.")
    until: datetime | None = Field(None, description="Died before.")


class ListLetters(LetterFilter):
    """A page of them."""

    limit: int = Field(50, ge=1, le=200, description="So many at most.")
    after: str = Field("", description="Those after this one: the next page.")


class Letters(LetterFilter):
    """Those, or all of them."""

    limit: int | None = Field(None, ge=1, description="The oldest so many at most.")
    all: bool = Field(default=False, description="Every letter: must be said where no filter is.")


class Get(Args):
    """Which part."""

    section: str = Field("", description="One section, like web; empty: all.")


class Toml(Args):
    """A whole configuration."""

    toml: str = Field(max_length=60_000, description="The file's text.")


class Apply(Args):
    """A configuration: its whole text, or what is to differ from the one in force."""

    toml: str = Field("", max_length=60_000, description="The whole file's text; or:")
    patch: dict[str, Any] = Field(
        {}, description="JSON merge patch (RFC 7396) of the configuration in force."
    )
    base: str = Field(
        "",
        max_length=64,
        description="Digest of the configuration that this one was made from: refused where "
        "another one is in force. Empty: whichever is.",
    )
    id: str = Field(
        "", max_length=128, description="Its name in config/reported; empty: its digest."
    )


class Model(Args):
    """One model."""

    model: str = Field(min_length=1, max_length=128, description="Its id (model.ls).")


class UseModel(Model):
    """The model that is to look."""


class BuildEngine(Args):
    """What to build."""

    model: str = Field("", max_length=128, description="Its id; empty: the one that is wanted.")
    force: bool = Field(default=False, description="Build even if there is a built one.")


class UseEngine(Args):
    """Which engine."""

    engine: str = Field(
        min_length=1,
        max_length=128,
        description="auto, tensorrt, openvino, onnx, or the key of a built one; builtin (safe "
        "mode) on the box itself only.",
    )


class Level(Args):
    """How much is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(description="From this level on.")


class Recent(Args):
    """How many."""

    limit: int = Field(50, ge=1, le=500, description="So many at most.")


def example(kind: type[Args]) -> dict[str, Any]:
    """Return what must be given, as an example: for documentation."""
    values = {"name": "gate", "kind": "scene", "model": "picodet_s_416", "level": "debug"}
    values |= {"toml": "…", "engine": "auto"}
    return {name: values[name] for name, one in kind.model_fields.items() if one.is_required()}
