"""What goes wrong on the way to a broker, told apart: a code, words, and what to do about it."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

from edge.errors import EdgeError, PartFailed, Rejected, TryLater

_CERTIFICATE: Final[dict[int, tuple[str, str, str]]] = {
    # codes of X509_verify_cert_error(3)
    9: (
        "tls_clock",
        "the broker's certificate is not valid yet",
        "is the clock of the box right?",
    ),
    10: (
        "tls_expired",
        "the broker's certificate has expired",
        "renew it on the broker; or is the clock of the box wrong?",
    ),
    62: (
        "tls_wrong_host",
        "the broker's certificate is for another name",
        "use the name that stands in it, or set server_name",
    ),
    64: (
        "tls_wrong_host",
        "the broker's certificate is for another address",
        "use the name that stands in it, or set server_name",
    ),
}
_UNTRUSTED: Final = (
    "tls_untrusted",
    "nobody whom the box trusts signed the broker's certificate",
    "set ca_file to the certificate of whoever signed it",
)
_NOT_TLS: Final = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"}
_CLIENT: Final = ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN")
_CLIENT_MORE: Final = ("CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "HANDSHAKE_FAILURE")

_NETWORK: Final[tuple[tuple[type[OSError], tuple[str, str, str]], ...]] = (
    (
        socket.gaierror,
        ("dns", "its name is not known", "is the name right, and does the box have DNS?"),
    ),
    (
        ConnectionRefusedError,
        ("refused", "nobody listens there", "does the broker run, and is the port right?"),
    ),
    (
        TimeoutError,
        ("timeout", "no answer in time", "is there a network, and a firewall in the way?"),
    ),
)
_NO_WAY: Final = ("no_network", "no way leads there", "is the box's network up?")
_NUMBERS: Final[dict[int, tuple[str, str, str]]] = {
    errno.ENETUNREACH: _NO_WAY,
    errno.EHOSTUNREACH: _NO_WAY,
    errno.ENETDOWN: _NO_WAY,
    errno.EMSGSIZE: (
        "flooded",
        "it sent a packet that is larger than the box takes",
        "who publishes such things to a topic that the box listens to?",
    ),
}

_REFUSALS: Final[dict[int, tuple[str, str, str]]] = {
    # reason codes of MQTT 5 (2.4); those of 3.1.1 are translated to them
    0x81: ("protocol", "malformed packet", "this is a bug of one of the two; see both logs"),
    0x82: ("protocol", "protocol error", "this is a bug of one of the two; see both logs"),
    0x84: ("version", "it does not speak this version of MQTT", 'set version = "auto"'),
    0x85: ("bad_client_id", "it does not take this client id", "set another client_id"),
    0x86: ("bad_login", "wrong user or password", "correct user and password"),
    0x87: (
        "not_authorized",
        "not authorised",
        "are user and password right, and does the broker's access list allow it to this box?",
    ),
    0x88: ("unavailable", "the broker is not available", "it is tried again"),
    0x89: ("busy", "the broker is busy", "it is tried again"),
    0x8A: ("banned", "the broker has banned this client", "ask whoever runs the broker"),
    0x8B: ("stopping", "the broker is shutting down", "it is tried again"),
    0x8C: ("bad_login", "bad authentication method", "the broker wants more than a password"),
    0x8D: ("keep_alive", "it heard nothing from the box for too long", "set a shorter keepalive"),
    0x8E: (
        "taken_over",
        "another client came with the same client id",
        "do two boxes share one client_id? Each needs its own",
    ),
    0x90: ("bad_topic", "it does not take this topic", "look at the broker's access list"),
    0x93: ("window", "it was sent more than it takes at once", "set a smaller window"),
    0x95: ("too_large", "the packet is too large for it", "raise the broker's limit"),
    0x96: ("quota", "it was sent too much in too short a time", "raise the broker's rate limit"),
    0x97: ("quota", "a quota is used up", "raise the broker's quota, or send less"),
    0x98: ("kicked", "an administrator ended the connection", "ask whoever runs the broker"),
    0x99: ("bad_payload", "the payload is not what it was said to be", "see the log"),
    0x9A: ("no_retain", "it keeps no messages", "nothing needs to be done"),
    0x9B: ("no_qos", "it does not know this quality of service", "nothing needs to be done"),
    0x9C: ("moved", "another broker is to be used", "set the address of the other one"),
    0x9D: ("moved", "the broker has moved", "set its new address"),
    0x9F: ("quota", "too many connections in too short a time", "it is tried again, more rarely"),
}
_NEVER: Final = {0x90, 0x95, 0x99}
"""Refusals of one message that no other try would change."""
_LATER: Final = {0x83, 0x88, 0x89, 0x96, 0x97}


def of_network(error: OSError, where: str) -> PartFailed:
    """Say why there is no connection, or no longer one."""
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, where)
    for kind, said in _NETWORK:
        if isinstance(error, kind):
            return _failed(where, *said)
    said_by_number = _NUMBERS.get(error.errno or 0)
    if said_by_number:
        return _failed(where, *said_by_number)
    return cut(where, error.strerror or type(error).__name__)


def _of_tls(error: ssl.SSLError, where: str) -> PartFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _failed(where, *_CERTIFICATE.get(error.verify_code, _UNTRUSTED))
    reason = error.reason or ""
    if reason in _NOT_TLS or reason.startswith("HTTP"):
        return _failed(
            where,
            "not_tls",
            "what answers there does not speak TLS",
            "take mqtt:// or ws://, or the broker's TLS port",
        )
    if reason.endswith((*_CLIENT, *_CLIENT_MORE)):
        return _failed(
            where,
            "tls_client",
            f"the broker does not accept the box's certificate ({reason.lower()})",
            "does it want a client certificate? Set cert_file and key_file to one that it trusts",
        )
    return _failed(
        where,
        "tls",
        f"no TLS came about ({(reason or type(error).__name__).lower()})",
        "is this the broker's TLS port?",
    )


def bad_tls_file(where: str, what: str, error: Exception) -> PartFailed:
    """Say that a certificate or key cannot be used."""
    why = getattr(error, "strerror", None) or type(error).__name__
    return _failed(
        where, "bad_tls_file", f"{what} cannot be used ({why})", "expected files in PEM format"
    )


def cut(where: str, why: str = "") -> PartFailed:
    """Say that the connection ended without a word of the broker."""
    return _failed(
        where,
        "cut",
        "the connection was lost" + (f" ({why})" if why else ""),
        "it is tried again; look at the broker's log if it goes on",
    )


def thrown_out(error: PartFailed, times: int) -> PartFailed:
    """Say that the broker hangs up soon after each welcome, and says nothing (mosquitto 2.0.11)."""
    return PartFailed(
        f"{error}, soon after its welcome, for the {times}. time",
        hint="do two boxes share one client_id? Or does the broker throw the box out for what it "
        "sends (too large, or not allowed)?",
        reason="thrown_out",
    )


def cut_early(where: str, *, tls: bool) -> PartFailed:
    """Say that the connection ended before the broker's welcome."""
    hint = "does it speak MQTT there?" if tls else "does this port want TLS (mqtts:// or wss://)?"
    return _failed(where, "no_welcome", "it hung up before it said welcome", hint)


def no_websocket(where: str) -> PartFailed:
    """Say that what answers there opens no WebSocket."""
    return _failed(
        where,
        "no_websocket",
        "what answers there opens no WebSocket for MQTT",
        "are port and path right? Many brokers take /mqtt",
    )


def no_welcome(where: str) -> PartFailed:
    """Say that the broker let the box wait for its welcome."""
    return _failed(
        where, "timeout", "it does not answer", "does the broker hang, or is it no MQTT broker?"
    )


def silent(where: str, seconds: float) -> PartFailed:
    """Say that nothing came although something had to."""
    return _failed(
        where,
        "silent",
        f"nothing came from it for {seconds:.0f} s",
        "is the link dead, or does the broker hang?",
    )


def owes(where: str, seconds: float) -> PartFailed:
    """Say that the broker speaks, but left a message without acknowledgement for too long."""
    return _failed(
        where,
        "unacknowledged",
        f"it did not acknowledge a message for {seconds:.0f} s, though it is there",
        "is the broker overloaded, or does it throw messages away? It is sent them again",
    )


def overrun(where: str) -> PartFailed:
    """Say that more came than the box can hold."""
    return _failed(
        where,
        "flooded",
        "more messages came than the box takes at once",
        "limit the messages in flight on the broker; MQTT 5 does it by itself",
    )


def not_up(where: str, last: EdgeError | None) -> PartFailed:
    """Say that there is no connection now."""
    if last is None:
        return _failed(where, "not_connected", "there is no connection yet", "")
    return PartFailed(str(last), hint=last.hint, reason=last.reason)


def refusal(where: str, code: int, words: str = "") -> PartFailed:
    """Say why the broker refused the connection, or ended it.

    Args:
        where: the broker.
        code: the reason code of MQTT 5.
        words: what it said itself (its reason string or other server).

    """
    reason, what, hint = _REFUSALS.get(
        code, ("refused", f"it refuses with code 0x{code:02X}", "look at the broker's log")
    )
    error = _failed(where, reason, what + (f": {words[:200]!r}" if words else ""), hint)
    error.status = code
    return error


def of_publish(where: str, topic: str, code: int, words: str = "") -> EdgeError:
    """Say why the broker did not take a message: never, not now, or nothing of its kind."""
    about = refusal(where, code, words)
    message = f"{about} (topic {topic!r})"
    if code in _NEVER:
        error: EdgeError = Rejected(message, hint=about.hint, reason=about.reason)
    elif code in _LATER:
        error = TryLater(message, hint=about.hint, reason=about.reason)
    else:
        error = PartFailed(message, hint=about.hint, reason=about.reason)
    error.status = code
    return error


def too_large(where: str, topic: str, size: int, limit: int) -> Rejected:
    """Say that a message is larger than the broker takes."""
    return Rejected(
        f"{where}: {topic!r}: a packet of {size} bytes; the broker takes {limit}",
        hint="raise the broker's limit, or send less at once",
        reason="too_large",
    )


def check_topic(topic: str) -> None:
    """See to it that a topic can be published to.

    Raises:
        Rejected: ``bad_topic``.

    """
    sound = 0 < len(topic) <= 65_535 and not any(mark in topic for mark in "+#\0")
    try:
        sound = sound and len(topic.encode()) <= 65_535
    except UnicodeEncodeError:
        sound = False
    if not sound:
        raise bad_topic(topic)


def bad_topic(topic: str) -> Rejected:
    """Say that nothing can be published to a topic."""
    return Rejected(
        f"the topic {topic[:100]!r}: expected 1 to 65535 bytes of text without + # and NUL",
        hint="this comes of the names of site, box or source",
        reason="bad_topic",
    )


def _failed(where: str, reason: str, what: str, hint: str) -> PartFailed:
    return PartFailed(f"{where}: {what}", hint=hint, reason=reason)
