"""A socket as paho sees it, with buffers: paho reads and writes a packet in three small pieces."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import ssl
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

CHUNK: Final = 16 * 1024
"""Bytes read at once: as much as a TLS record has, and as little as never holds up the loop."""
MOST_OUT: Final = 256 * 1024
NO_PING: Final = 64
"""Bytes that have to arrive before that is a sign of life: the question for one is none."""
_PUBACK: Final = 0x40
_SHORTEST: Final = 4
Acked = Callable[[int, int, str], None]
"""Is told of an acknowledgement: the message's number, the reason code, the broker's words."""


class Wire:
    """Reads once a turn of the loop and writes once; ``recv`` and ``send`` are between buffers.

    Args:
        sock: connected, and with TLS where that is wanted.
        most: a larger packet ends the connection.

    """

    def __init__(self, sock: socket.socket, most: int) -> None:
        self._sock, self._most = sock, most
        self._in, self._at, self._read = b"", 0, False
        self._out = bytearray()
        self._blocking = self._ended = False
        #: what ended it, where the network did
        self.error: OSError | None = None
        #: when, as far as ``alive`` saw, the other side took some of what was sent
        self.moved = self._heard = time.monotonic()
        self._arrived = 0
        self.bytes_in = self.bytes_out = 0

    # -- what paho calls

    def recv(self, size: int) -> bytes:
        """Return what came, at most ``size`` bytes; nothing: it ended.

        Raises:
            BlockingIOError: nothing more in this turn.
            OSError: it broke, or paho asks for more than ``most``.

        """
        if self.error:
            raise self.error
        if size > self._most:
            self.error = OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            raise self.error
        if self._at == len(self._in) and not self._ended:
            self._fill()
        end = self._at + size
        piece = self._in[self._at : end]
        self._at += len(piece)
        return piece

    def skim(self, acked: Acked) -> bool:
        """Take the acknowledgements that come next and say no more than number and code.

        Only between two packets. Tells whether there were any.
        """
        if not (self.waiting or self._read or self._ended):
            with suppress(OSError):  # paho asks again and hears of it
                self._fill()
        data, began = self._in, self._at
        while size := _plain_ack(data, self._at):
            at, self._at = self._at, self._at + size
            acked(data[at + 2] << 8 | data[at + 3], data[at + 4] if size > _SHORTEST else 0, "")
        return self._at > began

    def send(self, data: bytes | bytearray) -> int:
        """Take bytes to be written; all of them.

        Raises:
            BlockingIOError: too much waits already.

        """
        if self._blocking:
            self._sock.sendall(data)
            return len(data)
        if self.full:
            raise BlockingIOError
        self._out += data
        return len(data)

    def close(self) -> None:
        if self.error is None:
            with suppress(OSError):
                self.flush()
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 (as sockets have it)
        self._blocking = flag
        self._sock.setblocking(flag)

    def settimeout(self, seconds: float) -> None:
        self._blocking = True
        self._sock.settimeout(seconds)

    # -- what the connection calls

    def turn(self) -> None:
        """Begin a turn: ``recv`` may read from the network once."""
        self._read = False

    def alive(self) -> float:
        """Return when the other side was last heard, or took what was sent; monotonic seconds.

        A large message takes minutes over a slow line, and nothing comes back meanwhile: but the
        other kernel's acknowledgements do. To be asked again and again.
        """
        with suppress(OSError, ValueError):
            left = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, bytes(4))
            arrived = self.bytes_out - int.from_bytes(left, sys.byteorder)
            if arrived >= self._arrived + NO_PING:
                self._arrived, self.moved = arrived, time.monotonic()
        return max(self._heard, self.moved)

    @property
    def place(self) -> tuple[int, int]:
        """Where it is in what came; it changes when anything is taken."""
        return self.bytes_in, self._at

    @property
    def waiting(self) -> bool:
        """Whether something came that paho did not take yet."""
        return self._at < len(self._in)

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that nothing should be added."""
        return len(self._out) >= MOST_OUT

    def flush(self) -> bool:
        """Write what waits; tell whether all of it is out.

        Raises:
            OSError: it broke.

        """
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            except OSError:
                self._out.clear()
                raise
            self.bytes_out += sent
            del self._out[:sent]
        return True

    def _fill(self) -> None:
        if self._read and not self._blocking:
            raise BlockingIOError
        self._read = True
        try:
            self._in = self._sock.recv(CHUNK)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error
        except BlockingIOError:
            raise
        except OSError as error:
            self.error = error
            raise
        self._at = 0
        self.bytes_in += len(self._in)
        if self._in:
            self._heard = time.monotonic()
        else:
            self._ended = True


def _plain_ack(data: bytes, at: int) -> int:
    """Return the size of the whole PUBACK without properties that begins there; 0: none does."""
    left = len(data) - at
    if left < _SHORTEST or data[at] != _PUBACK:
        return 0
    size = 2 + data[at + 1]
    if size == _SHORTEST or (left >= size and (size == 5 or (size == 6 and not data[at + 5]))):
        return size
    return 0
