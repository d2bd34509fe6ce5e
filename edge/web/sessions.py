"""Who is signed in, and who guesses: sessions and the slowing of failures. No HTTP in here."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

IDLE = 24 * 3600.0
"""Seconds after which an unused session ends."""
MOST_SESSIONS = 25
FREE_TRIES = 3
LONGEST_WAIT = 60.0
FORGIVEN_AFTER = 900.0
"""Seconds after which a source's failures are forgotten."""
MOST_PEERS = 2048


class Sessions:
    """Random session ids that live in memory; a restart signs everybody out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: digest of the id -> when it was last used; oldest use first
        self._used: OrderedDict[bytes, float] = OrderedDict()

    def open(self) -> str:
        """Begin a session and return its id; the one unused for longest gives way."""
        session = secrets.token_urlsafe(32)
        self._used[_digest(session)] = self._clock()
        while len(self._used) > MOST_SESSIONS:
            self._used.popitem(last=False)
        return session

    def holds(self, session: str) -> bool:
        """Tell whether a session goes on, and count this as its use."""
        key = _digest(session)
        used = self._used.get(key)
        if used is None:
            return False
        now = self._clock()
        if now - used > IDLE:
            del self._used[key]
            return False
        self._used[key] = now
        self._used.move_to_end(key)
        return True

    def close(self, session: str) -> None:
        """End a session."""
        self._used.pop(_digest(session), None)


class Slowdown:
    """Each failure of a source makes its next try wait longer; others are not held up.

    A wait and not a ban: an owner who mistyped is let in after a minute at the most.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: network of the peer -> failures, time of the last one
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, peer: str) -> float:
        """Return the seconds that ``peer`` has still to wait before it may try; 0 for none."""
        count, last = self._failures.get(_network(peer), (0, 0.0))
        if count < FREE_TRIES:
            return 0.0
        pause = min(LONGEST_WAIT, 2.0 ** min(count - FREE_TRIES, 10))
        return max(0.0, last + pause - self._clock())

    def failed(self, peer: str) -> None:
        """Count a failure."""
        network, now = _network(peer), self._clock()
        count, last = self._failures.pop(network, (0, now))
        self._failures[network] = (1 if now - last > FORGIVEN_AFTER else count + 1, now)
        while len(self._failures) > MOST_PEERS:
            self._failures.popitem(last=False)

    def passed(self, peer: str) -> None:
        """Forget the failures of a peer that showed the right token."""
        self._failures.pop(_network(peer), None)


def _digest(session: str) -> bytes:
    return hashlib.sha256(session.encode("utf-8", "replace")).digest()


def _network(peer: str) -> str:
    """One IPv4 address, or the /64 that an IPv6 host can choose its addresses from."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
