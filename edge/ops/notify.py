"""What the service manager is told (``sd_notify(3)``): READY, RELOADING, STOPPING, WATCHDOG."""

from __future__ import annotations

import os
import socket
import time


def notify(**facts: str | int) -> bool:
    """Tell systemd; False where there is no service manager to tell.

    ``notify(READY=1, STATUS="4 cameras")``. Protocol: ``sd_notify(3)``, a datagram of
    ``NAME=value`` lines to the socket in ``$NOTIFY_SOCKET`` (``@`` means abstract).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    if facts.get("RELOADING"):
        # Type=notify-reload asks for the moment at which the reload began.
        facts["MONOTONIC_USEC"] = time.monotonic_ns() // 1000
    text = "\n".join(f"{name}={value}" for name, value in facts.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        try:
            peer.connect(address)
            peer.sendall(text.encode())
        except OSError:
            return False
    return True


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear ``WATCHDOG=1`` at the latest, in seconds."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (owner and owner != str(os.getpid())):
        return None
    return int(limit) / 1_000_000
