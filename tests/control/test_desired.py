"""A desired configuration on probation: what makes it stay, and what makes the box go back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.control.commands.arguments import Apply
from edge.control.commands.envelope import Failed
from edge.control.desired import Desired
from edge.control.desired_box import Beginning, Examined
from edge.control.desired_state import Fine, Standing, StandingFile, digest_of
from edge.errors import Fatal
from tests.parts import until

FILE: dict[str, Any] = {"store": {"kind": "folder"}, "log": {"level": "info"}}


@dataclass
class OneBox:
    """A box of which a test says what is well."""

    well: bool = True
    broker: bool = False
    faults: Sequence[Mapping[str, str]] = ()
    restart_for: Sequence[str] = ()
    bad: str = ""
    taken: list[Any] = field(default_factory=list)
    restarts: int = 0

    def parsed(self, toml: str) -> dict[str, Any]:
        return {"log": {"level": toml}}

    def examine(self, tables: Mapping[str, Any], *, ours: bool = False) -> Examined:
        faults = () if ours else self.faults
        config = None if faults else dict(tables)
        return Examined(config=config, faults=faults, restart=self.restart_for)

    def fine(self) -> Fine:
        return Fine(broker=self.broker)

    def lacks(self, fine: Fine) -> Sequence[str]:  # noqa: ARG002 (the contract's)
        return [] if self.well else ["the gate is dark"]

    async def take(self, config: Any) -> None:
        if config["log"]["level"] == self.bad:
            raise Fatal("a trigger is none")
        self.taken.append(config["log"]["level"])

    def restart(self) -> None:
        self.restarts += 1


@contextlib.asynccontextmanager
async def desired(home: Path, box: OneBox, *, probation: float = 1.2) -> AsyncIterator[Desired]:
    file = StandingFile(home)
    standing = file.read().for_file(digest_of(FILE), 1).started(1)
    one = Desired(
        box,
        Beginning(file=file, standing=standing, tables=FILE),
        probation=probation,
        clock=lambda: 1.0,
    )
    task = asyncio.create_task(one.run(), name="config")
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.wait([task])


def level(name: str) -> Apply:
    return Apply(patch={"log": {"level": name}}, id=name)


async def ends(one: Desired) -> str:
    await until(lambda: one.standing.trial is None, 30)
    return one.report.state


async def test_it_stays_when_all_was_well_for_a_while(tmp_path: Path) -> None:
    box = OneBox()
    async with desired(tmp_path, box) as one:
        told = await one.apply(level("debug"))
        assert (told.state, told.id, StandingFile(tmp_path).read().trial) == (
            "probation",
            "debug",
            one.standing.trial,
        )
        assert await ends(one) == "applied"
        assert (box.taken, box.restarts) == (["debug"], 0)
        assert StandingFile(tmp_path).read() == one.standing
        assert (await one.apply(level("debug"))).state == "applied", "it is in force already"


async def test_it_goes_back_when_something_was_never_well(tmp_path: Path) -> None:
    box = OneBox(well=False)
    async with desired(tmp_path, box) as one:
        await one.apply(level("debug"))
        assert await ends(one) == "rolled_back"
        await until(lambda: box.taken == ["debug", "info"], 30)
        assert (one.report.reason, one.told().file) == ("the gate is dark", True)


async def test_a_moment_in_which_all_is_well_is_not_enough(tmp_path: Path) -> None:
    box = OneBox(well=False)
    async with desired(tmp_path, box, probation=2.0) as one:
        await one.apply(level("debug"))
        for _ in range(8):
            await asyncio.sleep(0.25)
            box.well = not box.well
        box.well = False
        assert await ends(one) == "rolled_back"


async def test_who_had_a_broker_must_have_one_that_acknowledges(tmp_path: Path) -> None:
    box = OneBox(broker=True)
    async with desired(tmp_path, box) as one:
        await one.apply(level("debug"))
        assert await ends(one) == "rolled_back"
        assert "acknowledged nothing" in one.report.reason
        await one.apply(level("error"))
        await asyncio.sleep(0.1)
        one.proven(one.report)
        assert await ends(one) == "applied"


async def test_what_needs_a_fresh_start_gets_one_and_is_judged_there(tmp_path: Path) -> None:
    box = OneBox(restart_for=["web.port"])
    async with desired(tmp_path, box) as one:
        assert (await one.apply(level("debug"))).restart == ["web.port"]
        await until(lambda: box.restarts == 1, 30)
        assert (box.taken, one.report.state) == ([], "probation")
    box = OneBox(well=False, restart_for=["web.port"])
    async with desired(tmp_path, box) as one:
        assert one.standing.trial is not None
        assert await ends(one) == "rolled_back"
        await until(lambda: box.restarts == 1, 30)
    async with desired(tmp_path, OneBox()) as one:
        assert one.told().file


async def test_what_cannot_be_taken_over_goes_at_once(tmp_path: Path) -> None:
    box = OneBox(bad="debug")
    async with desired(tmp_path, box, probation=60) as one:
        await one.apply(level("debug"))
        assert await ends(one) == "rolled_back"
        assert "a trigger is none" in one.report.reason


async def test_a_file_that_is_changed_meanwhile_ends_it(tmp_path: Path) -> None:
    box = OneBox(well=False)
    async with desired(tmp_path, box, probation=60) as one:
        await one.apply(level("debug"))
        await asyncio.sleep(0.3)
        assert await one.reread({"store": {"kind": "s3"}})
        assert not await one.reread({"store": {"kind": "s3"}})
        assert (one.standing.trial, one.report.state) == (None, "superseded")
        await asyncio.sleep(0.5)
        assert (one.report.state, box.taken) == ("superseded", ["debug"])


async def test_what_is_refused_is_reported_with_all_faults(tmp_path: Path) -> None:
    faults = [{"path": f"a{at}", "given": "", "message": "no"} for at in range(3)]
    box = OneBox(faults=faults)
    async with desired(tmp_path, box) as one:
        with pytest.raises(Failed, match="3 faults") as caught:
            await one.apply(level("debug"))
        assert caught.value.code == "bad_request"
        assert (one.report.state, len(one.report.faults)) == ("rejected", 3)
        assert StandingFile(tmp_path).read().report == one.report


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Apply(), "bad_request"),
        (Apply(toml="a", patch={"b": {}}), "bad_request"),
        (Apply(patch={"log": {}}, base="0" * 64), "conflict"),
    ],
)
async def test_what_is_no_wish_is_refused(tmp_path: Path, wanted: Apply, code: str) -> None:
    async with desired(tmp_path, OneBox()) as one:
        with pytest.raises(Failed) as caught:
            await one.apply(wanted)
        assert (caught.value.code, one.report.state) == (code, "rejected")
        with pytest.raises(Failed, match="no configuration before"):
            await one.rollback()


async def test_one_at_a_time(tmp_path: Path) -> None:
    async with desired(tmp_path, OneBox(), probation=60) as one:
        await one.apply(level("debug"))
        for again in (one.apply(level("error")), one.rollback()):
            with pytest.raises(Failed, match="on probation") as caught:
                await again
            assert caught.value.code == "conflict"
        assert (one.report.id, one.report.state) == ("debug", "probation")


async def test_a_rollback_goes_to_the_one_before_and_back_again(tmp_path: Path) -> None:
    box = OneBox()
    async with desired(tmp_path, box) as one:
        for name in ("debug", "error"):
            await one.apply(level(name))
            assert await ends(one) == "applied"
        for name in ("debug", "error"):
            await one.rollback()
            assert await ends(one) == "applied"
            assert one.tables["log"]["level"] == name
        assert box.taken == ["debug", "error", "debug", "error"]


async def test_what_cannot_be_remembered_is_not_begun(tmp_path: Path) -> None:
    box = OneBox()
    async with desired(tmp_path / "state", box) as one:
        (tmp_path / "state").write_text("a file, where a folder should be")
        with pytest.raises(Failed) as caught:
            await one.apply(level("debug"))
        assert (caught.value.code, one.standing.trial, box.taken) == ("dependency_down", None, [])


async def test_a_box_without_a_file_has_nothing_to_change() -> None:
    one = Desired(OneBox(), None, probation=1)
    with pytest.raises(Failed) as caught:
        await one.apply(level("debug"))
    assert (caught.value.code, one.standing) == ("unsupported", Standing())
