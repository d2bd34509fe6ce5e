"""The models that this box has: ``<models>/<id>/`` with three files.

1. ``source.onnx`` is the file as published; ``model.onnx`` its canonical graph; ``model.json``
   the manifest and the digest of both.
2. A model's directory is made whole beside its place and renamed into it: it is there or not.
3. No canonical graph is handed out unless its digest is the one that was written down.
4. A graph of an older form is built again from its source, so an upgrade needs no network.

A start finds its model and no more, so what only an import or a download needs (onnx, aiohttp) is
imported there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.catalog.manifest import (
    CANONICAL_VERSION,
    ID,
    Manifest,
    make_manifest,
    shipped_manifests,
)
from edge.catalog.wishes import Wishes
from edge.errors import PartFailed

_LEFTOVER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A model that was imported and is whole."""

    id: str
    #: the canonical graph, for ``OnnxEngine.open``
    path: Path
    #: SHA-256 of the canonical graph (hex)
    digest: str
    manifest: Manifest
    installed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A model's directory that must not be used."""

    id: str
    reason: str


class Catalog:
    """The models of one directory.

    Args:
        path: the directory; made when the first model comes.
        max_bytes: a model file larger than this is refused.
        manifests: the models that are known; None for those that ship with Edge.

    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 500 * 2**20,
        manifests: Mapping[str, Manifest] | None = None,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._manifests = manifests

    @property
    def manifests(self) -> Mapping[str, Manifest]:
        """The models that are known, installed or not."""
        if self._manifests is None:
            self._manifests = shipped_manifests()
        return self._manifests

    def find(self, model: str) -> Installed | None:
        """Return an installed model, or None if there is none of that id.

        Raises:
            PartFailed: it is there and damaged; it must not be used.

        """
        home = self.path / model
        if not ID.fullmatch(model) or not (home / "model.json").is_file():
            return None
        try:
            facts = json.loads((home / "model.json").read_text(encoding="utf-8"))
            manifest = make_manifest(facts["manifest"], "model.json")
            if facts["form"] != CANONICAL_VERSION:
                return self.install((home / "source.onnx").read_bytes(), manifest)
            body = (home / "model.onnx").read_bytes()
            when = datetime.fromisoformat(facts["installed_at"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(model, f"{type(error).__name__}: {error}") from error
        except PartFailed as error:
            raise _damaged(model, str(error)) from error
        if hashlib.sha256(body).hexdigest() != facts["digest"]:
            raise _damaged(model, "model.onnx is not what was installed")
        return Installed(
            id=model,
            path=home / "model.onnx",
            digest=facts["digest"],
            manifest=manifest,
            installed_at=when,
        )

    def ls(self) -> list[Installed | Damaged]:
        """Return every model, whole or damaged, by id."""
        if not self.path.is_dir():
            return []
        found: list[Installed | Damaged] = []
        for home in sorted(self.path.iterdir()):
            if not home.is_dir() or home.name.startswith("."):
                continue
            try:
                one = self.find(home.name)
                found.append(one or Damaged(id=home.name, reason="model.json is missing"))
            except PartFailed as error:
                found.append(Damaged(id=home.name, reason=str(error)))
        return found

    def import_file(self, path: Path, wishes: Wishes | None = None) -> Installed:
        """Install a model from a file. Blocks for a second or so.

        A file that a manifest knows by its digest needs no wishes. For any other, the family is
        told by the outputs where only one fits, and ``wishes`` say the rest.

        Raises:
            PartFailed: it cannot be read or used; the message says what was found and expected.

        """
        body = self._read(path)
        wishes = wishes or Wishes()
        return self.install(body, self._recognise(body, path, wishes))

    async def pull(
        self,
        model: str,
        *,
        timeout: float = 600.0,  # noqa: ASYNC109 - aiohttp keeps it, a part stays for the next try
        progress: Callable[[int, int], None] | None = None,
        url: str = "",
    ) -> Installed:
        """Fetch a known model from its public address and install it; see ``fetch``.

        Args:
            model: id of a manifest.
            timeout: seconds for the download; what came stays for the next try.
            progress: told bytes here and bytes expected, from the loop.
            url: another address of the same file.

        Raises:
            PartFailed: nothing was installed; ``reason`` is one of ``unknown_model``,
                ``no_address`` and those of ``fetch``.

        """
        from edge.catalog.pull import fetch  # noqa: PLC0415 - see the module's docstring

        manifest = self._known(model)
        address = url or manifest.url
        if not address:
            raise PartFailed(
                f"{model} has no public address",
                hint="edge model import FILE, with the file in hand",
                reason="no_address",
            )
        if manifest.bytes > self.max_bytes:
            raise _too_large(model, manifest.bytes, self.max_bytes)
        part = self.path / ".pull" / f"{manifest.sha256}.part"
        await fetch(address, manifest, part, timeout=timeout, progress=progress)
        installed = await asyncio.to_thread(self.install, part.read_bytes(), manifest)
        part.unlink(missing_ok=True)
        return installed

    def remove(self, model: str) -> bool:
        """Forget an installed model; False if there was none."""
        home = self.path / model
        if not home.is_dir():
            return False
        away = self.path / f".old-{model}-{secrets.token_hex(4)}"
        home.rename(away)
        shutil.rmtree(away)
        return True

    def _read(self, path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > self.max_bytes:
                raise _too_large(path.name, size, self.max_bytes)
            return path.read_bytes()
        except OSError as error:
            raise PartFailed(
                f"{path} cannot be read: {error.strerror}", reason="unreadable"
            ) from error

    def _recognise(self, body: bytes, path: Path, wishes: Wishes) -> Manifest:
        from edge.catalog import recognise  # noqa: PLC0415 - see the module's docstring

        digest = hashlib.sha256(body).hexdigest()
        said = wishes != Wishes(id=wishes.id)
        known = next((m for m in self.manifests.values() if m.sha256 == digest), None)
        name = wishes.id or (known.id if known and not said else recognise.id_of(path.stem))
        if known and not said:
            return known.model_copy(update={"id": name})
        facts = {"id": name, "sha256": digest, "bytes": len(body)}
        if not wishes.like:
            return recognise.guess(recognise.load(body, path.name), wishes, facts)
        return recognise.resemble(self._known(wishes.like), wishes, facts)

    def _known(self, model: str) -> Manifest:
        if model not in self.manifests:
            raise PartFailed(
                f"no model {model!r}: known are {', '.join(self.manifests)}",
                hint="edge model import FILE installs any other",
                reason="unknown_model",
            )
        return self.manifests[model]

    def install(self, body: bytes, manifest: Manifest) -> Installed:
        """Install a network whose manifest is known. Blocks for a second or so.

        Raises:
            PartFailed: it does not fit the manifest, or cannot be written.

        """
        from edge.catalog.canonical import canonical  # noqa: PLC0415 - see the module's docstring
        from edge.catalog.recognise import load  # noqa: PLC0415

        graph = canonical(load(body, manifest.id), manifest).SerializeToString(deterministic=True)
        digest = hashlib.sha256(graph).hexdigest()
        when = datetime.now(UTC)
        facts = {
            "form": CANONICAL_VERSION,
            "digest": digest,
            "installed_at": when.isoformat(),
            "manifest": manifest.model_dump(mode="json"),
        }
        text = json.dumps(facts, indent=1).encode()
        try:
            _put(
                self.path,
                manifest.id,
                {"source.onnx": body, "model.onnx": graph, "model.json": text},
            )
        except OSError as error:
            raise PartFailed(
                f"{manifest.id} cannot be written to {self.path}: {error.strerror}",
                hint="is there room, and may Edge write there?",
                reason="not_writable",
            ) from error
        return Installed(
            id=manifest.id,
            path=self.path / manifest.id / "model.onnx",
            digest=digest,
            manifest=manifest,
            installed_at=when,
        )


def _too_large(name: str, size: int, most: int) -> PartFailed:
    return PartFailed(
        f"{name} has {size} bytes, expected at most {most}",
        hint="models.max_bytes in the configuration says how much is allowed",
        reason="too_large",
    )


def _damaged(model: str, what: str) -> PartFailed:
    return PartFailed(
        f"the installed model {model} is damaged and is not used: {what}",
        hint=f"install it again: edge model pull {model}, or edge model import FILE",
        reason="model_damaged",
    )


def _put(models: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write a model's directory beside its place, flush it, and rename it into its place."""
    models.mkdir(parents=True, exist_ok=True)
    _sweep(models)
    fresh = models / f".new-{name}-{secrets.token_hex(4)}"
    fresh.mkdir()
    try:
        for file, body in files.items():
            with (fresh / file).open("wb") as out:
                out.write(body)
                out.flush()
                os.fsync(out.fileno())
        _flush(fresh)
        home = models / name
        old = models / f".old-{name}-{secrets.token_hex(4)}"
        if home.exists():
            home.rename(old)
        fresh.rename(home)
        _flush(models)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _flush(directory: Path) -> None:
    """A rename is durable only after its directory is flushed."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(models: Path) -> None:
    """Clear away what an import left that was killed an hour ago or longer."""
    for left in (*models.glob(".new-*"), *models.glob(".old-*")):
        if time.time() - left.stat().st_mtime > _LEFTOVER_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
