"""The shared models as a catalogue sees them, each imported once a session."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.catalog.installed import Catalog, Installed
from edge.catalog.manifest import shipped_manifests
from tests.catalog.people import People, load_people
from tests.places import shared
from tests.servers.files import file_server

__all__ = ["file_server"]

Models = Callable[[str], Installed]
Published = Callable[[str], Path]


@pytest.fixture(scope="session")
def published() -> Published:
    """Return the file of a shipped manifest, found in the shared data by its digest."""
    folder = shared("data/models")
    by_digest = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.rglob("*.onnx")
    }
    manifests = shipped_manifests()
    return lambda model: by_digest[manifests[model].sha256]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, published: Published) -> Models:
    """Return an installed model by its id; it is imported at the first call."""
    catalog = Catalog(tmp_path_factory.mktemp("models"))
    done: dict[str, Installed] = {}

    def get(model: str) -> Installed:
        if model not in done:
            done[model] = catalog.import_file(published(model))
        return done[model]

    return get


@pytest.fixture(scope="session")
def people() -> People:
    """Return the labelled pictures, decoded once."""
    return load_people(shared("data/people-dev"))
