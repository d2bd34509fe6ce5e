from __future__ import annotations

from edge.web.sessions import (
    FREE_TRIES,
    IDLE,
    LONGEST_WAIT,
    MOST_PEERS,
    MOST_SESSIONS,
    Sessions,
    Slowdown,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_holds_until_it_is_closed() -> None:
    sessions = Sessions()
    session = sessions.open()
    assert sessions.holds(session)
    sessions.close(session)
    assert not sessions.holds(session)


def test_a_session_that_nobody_was_given_does_not_hold() -> None:
    assert not Sessions().holds("")
    assert not Sessions().holds("\udcff")


def test_a_session_ends_when_it_is_not_used_and_each_use_prolongs_it() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    session = sessions.open()
    clock.now += IDLE - 1
    assert sessions.holds(session)
    clock.now += IDLE - 1
    assert sessions.holds(session)
    clock.now += IDLE + 1
    assert not sessions.holds(session)


def test_the_session_unused_for_longest_gives_way() -> None:
    sessions = Sessions()
    first, second = sessions.open(), sessions.open()
    sessions.holds(first)
    for _ in range(MOST_SESSIONS - 1):
        sessions.open()
    assert sessions.holds(first)
    assert not sessions.holds(second)


def test_failures_make_a_peer_wait_longer_and_longer_up_to_a_minute() -> None:
    clock = Clock()
    slow = Slowdown(clock)
    for _ in range(FREE_TRIES - 1):
        slow.failed("10.0.0.1")
    assert slow.wait("10.0.0.1") == 0
    waits = []
    for _ in range(10):
        slow.failed("10.0.0.1")
        waits.append(slow.wait("10.0.0.1"))
    assert waits == sorted(waits)
    assert waits[0] == 1
    assert waits[-1] == LONGEST_WAIT
    clock.now += LONGEST_WAIT
    assert slow.wait("10.0.0.1") == 0


def test_one_who_guesses_does_not_hold_up_another() -> None:
    slow = Slowdown(Clock())
    for _ in range(20):
        slow.failed("10.0.0.1")
    assert slow.wait("10.0.0.2") == 0


def test_a_host_cannot_dodge_by_another_address_of_its_network() -> None:
    slow = Slowdown(Clock())
    for number in range(20):
        slow.failed(f"2001:db8:0:1::{number:x}")
    assert slow.wait("2001:db8:0:1::ffff") > 0
    assert slow.wait("2001:db8:0:2::1") == 0


def test_the_right_token_forgives() -> None:
    slow = Slowdown(Clock())
    for _ in range(20):
        slow.failed("10.0.0.1")
    slow.passed("10.0.0.1")
    assert slow.wait("10.0.0.1") == 0


def test_what_is_remembered_of_guessers_is_bounded() -> None:
    slow = Slowdown(Clock())
    for number in range(MOST_PEERS + 10):
        slow.failed(f"peer-{number}")
    assert len(slow._failures) == MOST_PEERS
