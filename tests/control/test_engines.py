from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.config.detect import DetectConfig, ModelsConfig
from edge.contracts import Engine
from edge.control import engines
from edge.control.engines import EngineChoice
from edge.errors import Fatal, PartFailed
from tests.stages.parts import FixedEngine


@dataclass
class Model:
    path: Path
    id: str = "m"
    digest: str = "0" * 64


class Shelf:
    """A catalogue in memory."""

    def __init__(self, *, here: bool = False, link: bool = False) -> None:
        self.here, self.link, self.pulls = here, link, 0

    def find(self, model: str) -> Model | None:
        return Model(Path(model)) if self.here else None

    async def pull(self, model: str, *, timeout: float) -> Model:  # noqa: ASYNC109
        self.pulls += 1
        if not self.link:
            raise PartFailed(f"no way to the address within {timeout:g} s", hint="check the link")
        self.here = True
        return Model(Path(model))


class Opened:
    """Remembers which engine was opened."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def onnx(self, path: Path, threshold: float | None) -> Engine:
        self.kinds.append(f"onnx {path} {threshold}")
        return FixedEngine()

    def builtin(self, still_for: float) -> Engine:
        self.kinds.append(f"builtin {still_for:g}")
        return FixedEngine()


def choice(shelf: Shelf, opened: Opened, **detect: object) -> EngineChoice:
    return EngineChoice(
        DetectConfig.model_validate({"model": "m", **detect}),
        ModelsConfig.model_validate({"pull_timeout": "1s"}),
        models=shelf,
        onnx=opened.onnx,
        builtin=opened.builtin,
    )


async def test_an_installed_model_is_opened_with_the_operators_threshold() -> None:
    opened, shelf = Opened(), Shelf(here=True)
    one = choice(shelf, opened, threshold=0.2)
    await one.open()
    assert opened.kinds == ["onnx m 0.2"]
    assert one.missing == ""
    assert shelf.pulls == 0


async def test_a_missing_model_is_fetched_once_and_then_opened() -> None:
    opened, shelf = Opened(), Shelf(link=True)
    await choice(shelf, opened).open()
    assert opened.kinds == ["onnx m None"]
    assert shelf.pulls == 1


async def test_without_a_model_and_a_link_the_box_goes_into_safe_mode_and_says_why() -> None:
    opened = Opened()
    one = choice(Shelf(), opened, still_for="40s")
    await one.open()
    assert opened.kinds == ["builtin 40"]
    assert "no way" in one.missing


async def test_who_demands_the_model_gets_the_model_or_nothing() -> None:
    with pytest.raises(Fatal, match="cannot be had") as caught:
        await choice(Shelf(), Opened(), engine="onnx").open()
    assert caught.value.hint == "check the link"


async def test_safe_mode_on_purpose_fetches_nothing_and_misses_nothing() -> None:
    opened, shelf = Opened(), Shelf()
    one = choice(shelf, opened, engine="builtin")
    await one.open()
    assert opened.kinds == ["builtin 30"]
    assert one.missing == ""
    assert shelf.pulls == 0


async def test_a_model_that_is_imported_by_hand_ends_safe_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "LOOK_EVERY", 0.01)
    shelf, better = Shelf(), asyncio.Event()
    one = choice(shelf, Opened())
    await one.open()
    looking = asyncio.create_task(one.keep_looking(better.set), name="looking")
    await asyncio.sleep(0.05)
    assert not better.is_set()
    shelf.here = True
    await asyncio.wait_for(better.wait(), 5)
    assert one.missing == ""
    looking.cancel()


@pytest.mark.parametrize("swapped", [False, True])
async def test_an_engine_that_meets_a_bug_is_not_opened_again_and_the_reference_looks(
    *, swapped: bool
) -> None:
    opened = Opened()
    refused: dict[str, str] = {}
    one = choice(Shelf(here=True), opened)

    def broken(_: object, __: float | None) -> Engine:
        raise ImportError("a library that was half installed")

    one.ways["other"] = broken
    one.best = lambda _: "onnx" if refused else "other"
    one.failed = lambda name, error: refused.update({name: error.reason})
    with pytest.raises(ImportError), one.attempt("other" if swapped else ""):
        await one.open()
    assert (refused, opened.kinds) == ({"other": "bug"}, [])
    await one.open()
    assert opened.kinds == ["onnx m None"]
