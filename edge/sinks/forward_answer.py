"""What a CloudEvents sink's answer means: done, a reply, later, never, or gone for good.

Source: Knative Eventing's data plane contract; an answer that is no CloudEvent where there may be
one counts as a failure, because the sink meant to say something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from edge.cloudevents.faults import Malformed
from edge.cloudevents.http import carries_event, decode_one
from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.event import WireEvent

MOST_ANSWER: Final = 2**20
"""Bytes of an answer that may be a reply."""

KEPT: Final = 768
"""Bytes of an answer that an error keeps: 1024 characters of base64."""

LONGEST_WAIT: Final = 366 * 86400.0
"""Seconds. A sink that says more has its clock wrong, or means never."""

_LATER = frozenset({404, 408, 409, 429})
_SAYS_WHEN = frozenset({429, 503})
_PLAIN = ("", "identity")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came, the body as far as it was read."""

    status: int
    #: a mapping that does not mind upper and lower case, and may have a name several times
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    #: False: there was more
    whole: bool = True
    #: its beginning as an error may show it
    kept: bytes = b""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def may_be_reply(status: int) -> bool:
    """Tell whether an answer of that status is read as an event: 200 alone."""
    return status == 200


def reply_in(answer: Answer, where: str) -> WireEvent | None:
    """Return the event in an answer of status 200; None: it is empty.

    Raises:
        TryLater: ``bad_reply``: what is in it is no event.

    """
    problem = ""
    if not answer.whole:
        large = len(answer.body) >= MOST_ANSWER
        problem = f"has more than {MOST_ANSWER} bytes" if large else "broke off"
    elif answer.headers.get("Content-Encoding", "").strip().lower() not in _PLAIN:
        problem = "is compressed, which nobody asked for"
    elif carries_event(answer.headers):
        try:
            return decode_one(answer.headers, answer.body)
        except Malformed as error:
            problem = str(error)
    elif answer.body:
        problem = "is no CloudEvent; who has nothing to say answers 202 or 204"
    if problem:
        raise _with(
            TryLater(f"{where}: the reply: {problem}", hint=_LOOK, reason="bad_reply"), answer
        )
    return None


_LOOK = "look at the log of the sink"


def refusal(answer: Answer, where: str, clock: Callable[[], float] = time.time) -> EdgeError:
    """Return what to raise for an answer that is no success.

    ``TryLater`` for 404, 408, 409, 429 and 5xx, with ``after`` where 429 or 503 say so;
    ``PartFailed`` with reason ``gone`` for 410; ``Rejected`` for everything else.

    Args:
        answer: its ``body`` is not looked at.
        where: the sink's address, without credentials.
        clock: seconds since the epoch, for a Retry-After that is a date.

    """
    status = answer.status
    said = f"{where} answered {status}{_phrase(status)}"
    if status == 410:
        gone = PartFailed(
            said, hint="the sink wants no more events: change or remove the trigger", reason="gone"
        )
        return _with(gone, answer)
    if status in _LATER or 500 <= status < 600:
        wait = answer.headers.get("Retry-After", "") if status in _SAYS_WHEN else ""
        after = seconds_of(wait, clock())
        return _with(TryLater(said, hint=_LOOK, reason=f"status_{status}", after=after), answer)
    hint = "what it says is kept with the dead letter"
    if 300 <= status < 400:
        hint = "redirects are not followed: give the address where it leads"
    elif status in {401, 403}:
        hint = "look at the user, password or headers of the handler"
    elif status == 415:
        hint = "the sink does not take this mode, or this type of data"
    return _with(Rejected(said, hint=hint, reason=f"status_{status}"), answer)


def _with(error: EdgeError, answer: Answer) -> EdgeError:
    error.status = answer.status
    error.answer = answer.kept
    return error


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def seconds_of(retry_after: str, now: float) -> float:
    """Return how long ``Retry-After`` asks to wait: seconds, or until a date (RFC 9110, 10.2.3).

    What is neither is 0, as is a date that is over. Never more than a year.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, until - now), LONGEST_WAIT)
