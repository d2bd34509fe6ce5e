from __future__ import annotations

import pytest

from edge.ops.power_cap import SETTLE, PowerCap


class Machine:
    """A machine that takes some watts at rest and some more for each picture a second."""

    def __init__(
        self, cap: PowerCap, cameras: dict[str, float], *, rest: float, each: float
    ) -> None:
        self.cap, self.cameras, self.rest, self.each = cap, cameras, rest, each
        self.now = 0.0
        self.watts = rest
        self.due = dict.fromkeys(cameras, 0.0)

    def run(self, seconds: int, *, known: bool = True) -> dict[str, float]:
        """Go on for a while; return the pictures a second that were taken of each camera."""
        total = dict.fromkeys(self.cameras, 0)
        for _ in range(seconds):
            taken = 0
            for name, fps in self.cameras.items():
                while self.due[name] < self.now + 1:
                    wanted = self.cap.wants(name, self.due[name])
                    total[name] += wanted
                    taken += wanted
                    self.due[name] += 1 / fps
            self.now += 1
            self.watts = self.rest + taken * self.each
            self.cap.measured(self.watts if known else None, self.now)
        return {name: number / seconds for name, number in total.items()}


def test_without_need_every_frame_is_taken() -> None:
    machine = Machine(PowerCap(50, 1), {"gate": 32, "hall": 4}, rest=10, each=1)
    assert machine.run(60) == {"gate": 32, "hall": 4}
    assert machine.cap.share == 1
    assert machine.cap.kept


def test_above_the_cap_every_camera_gives_the_same_share_of_its_frames() -> None:
    machine = Machine(PowerCap(25, 1), {"gate": 25, "hall": 10}, rest=10, each=1)
    machine.run(120)
    rates = machine.run(60)
    assert machine.cap.kept
    assert machine.cap.share < 1
    assert rates["gate"] / 25 == pytest.approx(rates["hall"] / 10, rel=0.1)
    assert 10 + sum(rates.values()) <= 25


def test_the_share_does_not_swing_where_the_load_is_steady() -> None:
    machine = Machine(PowerCap(25, 0.1), {"gate": 25, "hall": 10}, rest=5, each=1)
    machine.run(300)
    settled = machine.cap.share
    seen = set()
    for _ in range(30):
        machine.run(10)
        seen.add(machine.cap.share)
    assert seen == {settled}


def test_it_rises_again_when_the_machine_has_power_to_spare() -> None:
    machine = Machine(PowerCap(25, 1), {"gate": 25}, rest=15, each=1)
    machine.run(120)
    assert machine.cap.share < 0.5
    machine.rest = -20.0
    machine.run(300)
    assert machine.cap.share == 1
    assert machine.run(20)["gate"] == pytest.approx(25, abs=0.1)


def test_no_camera_falls_below_its_least_and_the_cap_is_said_to_be_missed() -> None:
    machine = Machine(PowerCap(5, 2), {"gate": 25, "hall": 10, "slow": 1}, rest=10, each=1)
    machine.run(200)
    rates = machine.run(100)
    assert 2 <= rates["gate"] < 2.6
    assert 2 <= rates["hall"] < 2.6
    assert rates["slow"] == pytest.approx(1, abs=0.02), (
        "it brings less than the least: all of it is taken"
    )
    assert machine.cap.taken == pytest.approx(sum(rates.values()) / 36, rel=0.1)
    assert machine.cap.spent
    assert machine.cap.kept is False


def test_a_share_that_could_not_help_is_not_lowered_on_and_on() -> None:
    machine = Machine(PowerCap(5, 2), {"gate": 25}, rest=10, each=1)
    machine.run(1000)
    assert machine.cap.share > 0.02
    machine.cap.cap = 100
    machine.run(200)
    assert machine.cap.share == 1, "and so it is soon back"


def test_it_rests_where_power_is_not_known() -> None:
    machine = Machine(PowerCap(25, 1), {"gate": 25}, rest=15, each=1)
    machine.run(60)
    share = machine.cap.share
    machine.run(60, known=False)
    assert machine.cap.share == share
    assert machine.cap.kept is None


def test_one_high_reading_changes_nothing() -> None:
    cap = PowerCap(25, 1)
    for frame in range(50):
        cap.wants("gate", frame / 10)
    for second, watts in enumerate((10, 10, 80, 10, 10, 10)):
        cap.measured(watts, second)
    assert cap.share == 1


def test_it_waits_until_a_change_took_effect() -> None:
    cap = PowerCap(25, 1)
    for second in range(round(SETTLE) + 3):
        for frame in range(10):
            cap.wants("gate", second + frame / 10)
        cap.measured(100, second)
    assert cap.share == 0.8
