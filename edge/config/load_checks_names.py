"""What no single key of names in the store can know: templates, prefixes, and metadata."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from edge.config.key_template import OF_THE_NAME, Template, bad_prefix, read_template
from edge.config.load_faults import Fault, Location, show_given
from edge.config.sources import BucketConfig, CameraConfig, SceneConfig
from edge.config.store import RESERVED_METADATA, FolderStoreConfig, S3StoreConfig

_METADATA = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)


def faults(
    sources: Mapping[str, Any], store: FolderStoreConfig | S3StoreConfig | None
) -> Iterator[Fault]:
    """Yield what is wrong with names in the store.

    Args:
        sources: all sources that are sound by themselves, by name.
        store: where redacted pictures go; None where it has faults of its own.

    """
    common = None
    if store is not None:
        at: Location = ("store", "key_template")
        common = yield from _template(at, store.key_template, overwrite=store.overwrite)
        yield from _prefixes(store)
    for name, source in sources.items():
        at = ("sources", name, "key_template")
        overwrite = store is None or store.overwrite
        own = common
        if source.key_template:
            own = yield from _template(at, source.key_template, overwrite=overwrite)
        if isinstance(source, CameraConfig | SceneConfig) and own and own.names & OF_THE_NAME:
            yield _nameless(at, source.key_template, own)
        if isinstance(source, BucketConfig):
            yield from _metadata(("sources", name, "metadata"), source.metadata)


def _template(
    at: Location, text: str, *, overwrite: bool
) -> Generator[Fault, None, Template | None]:
    """Yield what is wrong with one template, and return it taken apart, where it can be."""
    try:
        template = read_template(text)
    except ValueError as error:
        yield Fault(location=at, given=show_given(text), message=str(error))
        return None
    if "id" not in template.names and not overwrite:
        yield Fault(
            location=at,
            given=show_given(text),
            message="expected {id} in it, because two pictures may get one name without it (a name "
            "that is used again, two frames of one moment), and the second would be set aside; or "
            "set store.overwrite = true, so that the one taken later has the name",
        )
    return template


def _nameless(at: Location, given: str, template: Template) -> Fault:
    used = " and ".join(f"{{{name}}}" for name in sorted(template.names & OF_THE_NAME))
    which = f"{used} is" if " and " not in used else f"{used} are"
    return Fault(
        location=at,
        given=show_given(given) if given else "",
        message=("" if given else "missing; ")
        + f"a camera's frame has no name of its own, and {which} made of one"
        + ("" if given else " in store.key_template")
        + "; expected a template without",
    )


def _prefixes(store: FolderStoreConfig | S3StoreConfig) -> Iterator[Fault]:
    prefixes = {"results": store.results}
    if isinstance(store, S3StoreConfig):
        prefixes["prefix"] = store.prefix
    for name, prefix in prefixes.items():
        problem = bad_prefix(prefix)
        if problem:
            yield Fault(location=("store", name), given=show_given(prefix), message=problem)


def _metadata(at: Location, names: tuple[str, ...]) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        problem = ""
        if not _METADATA.fullmatch(name):
            problem = (
                "expected a name such as camera-id: letters, digits, dots, dashes, underscores"
            )
        elif name.lower() in RESERVED_METADATA:
            reserved = ", ".join(sorted(RESERVED_METADATA))
            problem = f"expected another name: {reserved} are what the box itself says there"
        elif name.lower().startswith("x-amz-meta-"):
            problem = "expected the name alone, without x-amz-meta-"
        elif name.lower() in seen:
            problem = "expected each name once; capitals make no difference"
        if problem:
            yield Fault(location=(*at, number), given=show_given(name), message=problem)
        seen.add(name.lower())
