"""Handlers: what triggers hand events to. ``[handlers.NAME]`` each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edge.config.secret import Secret
from edge.config.section import Section, key
from edge.config.units import Size


class RouteRule(Section):
    """One rule: what must match, and what is then set. The first that matches ends the search."""

    subject: str = key("", "Regular expression (RE2) found in the subject, for example a key.")
    type: str = key("", "The same for the type.")
    source: str = key("", "The same for the source.")
    set_type: str = key("", "The new type; {name} is a named group of the expressions.")
    set: dict[str, str] = key({}, "Extensions to set, with the same {name}.")
    stop: bool = key(True, "False: the following rules are tried too.")


class RouteConfig(Section):
    """Rewrites type and extensions by rules, and hands the event back to the bus."""

    kind: Literal["route"] = key(..., "Rules that set type and extensions.")
    rules: list[RouteRule] = key(..., "Tried in order.", min_length=1)


class ForwardConfig(Section):
    """Sends events to a CloudEvents sink, for example a Knative broker."""

    kind: Literal["forward"] = key(..., "CloudEvents over HTTP.")
    uri: Secret = key(..., "http or https; user and password best as ${secret:name}.")
    mode: Literal["binary", "structured"] = key("binary", "How they are sent.")
    headers: dict[str, Secret] = key({}, "More headers, for example authorization.")
    extensions: dict[str, str] = key({}, "Extensions that are set on what is sent.")
    ca_file: str = key("", "CA bundle for https; empty: the system's.")


class LogConfig(Section):
    """Writes events to the log."""

    kind: Literal["log"] = key(..., "The log.")
    level: Literal["debug", "info", "warning"] = key("info", "How loud.")
    data: bool = key(False, "Whether the data is written, too.")


class ClassifyConfig(Section):
    """Says what a picture shows, by a classification model on this box."""

    kind: Literal["classify"] = key(..., "A classification model.")
    model: str = key(
        ...,
        "Path of NAME.onnx, with NAME.labels.txt and, where it takes floats, NAME.toml beside it.",
    )
    top: int = key(5, "How many labels at most.", ge=1, le=1000)
    least: float = key(0.0, "Scores below are left out.", ge=0, le=1)
    sees: Literal["original", "redacted"] = key(
        "original",
        "original: pictures as they come in, in memory only. redacted: events of redacted "
        "pictures, so that a trigger may be split between this handler and one of kind annotate.",
    )


class AnnotateConfig(Section):
    """Asks an external vision service about a redacted picture."""

    kind: Literal["annotate"] = key(..., "An images:annotate service.")
    uri: str = key(..., "Address of its images:annotate call.")
    api_key: Secret = key("", "Its API key, best as ${secret:name}.")
    features: list[str] = key(["LABEL_DETECTION"], "What to ask for.", min_length=1)
    max_results: int = key(10, "How many answers a feature.", ge=1, le=100)
    max_picture: Size = key("8MiB", "Larger pictures are not sent.")
    ca_file: str = key("", "CA bundle for https; empty: the system's.")


class PluginConfig(Section):
    """A handler from another Python package, by its entry point in the group ``edge.handlers``."""

    kind: Literal["plugin"] = key(..., "An installed entry point.")
    entry_point: str = key(..., "Its name.")
    options: dict[str, Any] = key({}, "Handed to it as they are.")


HandlerConfig = Annotated[
    RouteConfig | ForwardConfig | LogConfig | ClassifyConfig | AnnotateConfig | PluginConfig,
    Field(discriminator="kind"),
]
