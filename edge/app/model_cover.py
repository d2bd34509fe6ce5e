"""Which of two models covers more people, as far as somebody has measured it: the ratchet on them.

Only the very files that ship with Edge, at their own threshold or below, have been measured
(``tests/catalog/test_accuracy.py``), on pictures with labels. Of any other nobody knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.app.parts import catalog_of
from edge.config.root import Config
from edge.errors import PartFailed

if TYPE_CHECKING:
    from edge.catalog.installed import Catalog
    from edge.catalog.manifest import Manifest


def covers_less(config: Config, than: Config) -> str:
    """Say why one configuration's model may cover fewer people than another's. Blocks.

    Args:
        config: what somebody far away wants.
        than: what counts, and permits models by ``[control] models``.

    Returns:
        Empty: it covers as many, or it is permitted, or safe mode has the say (``detect.engine``).

    """
    wanted, now = config.detect.model, than.detect.model
    if wanted == now or wanted in than.control.models or than.detect.engine == "builtin":
        return ""
    catalog = catalog_of(than)
    found = [(one.detect.model, cover(catalog, one)) for one in (config, than)]
    for model, share in found:
        if share is None:
            return f"nobody has measured how many people {model} covers"
    (_, share), (_, least) = found
    if (share or 0.0) < (least or 0.0):
        return f"{wanted} covers {share:.1%} of the people, {now} {least:.1%}"
    return ""


def cover(catalog: Catalog, config: Config) -> float | None:
    """Return the share of people that a configuration's model covers; None: not measured."""
    known = _shipped(catalog, config.detect.model)
    threshold = config.detect.threshold
    if known is None or (threshold is not None and threshold > known.threshold):
        return None
    return known.cover


def _shipped(catalog: Catalog, model: str) -> Manifest | None:
    """Return the manifest of a model that is the very file that ships; None: it is another one."""
    try:
        installed = catalog.find(model)
    except PartFailed:
        return None
    if installed is None:
        return catalog.manifests.get(model)
    own = installed.manifest
    for known in catalog.manifests.values():
        # what an older Edge installed has no figure in its record
        if own == known.model_copy(update={"id": own.id, "cover": own.cover}):
            return known
    return None
