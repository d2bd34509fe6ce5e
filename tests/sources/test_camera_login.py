"""Basic and Digest answers, against the examples of the standards."""

from __future__ import annotations

from edge.config.secret import Secret
from edge.sources.camera_login import answer

NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
CHALLENGE = f'Digest realm="testrealm@host.com", nonce="{NONCE}", opaque="5ccc069c403e"'


def said(challenges: list[str], password: str) -> str:
    line = answer(challenges, "GET", "/dir/index.html", Secret("Mufasa"), Secret(password))
    return line.reveal() if line else ""


def test_a_digest_without_quality_is_that_of_rfc_2069_with_its_erratum() -> None:
    line = said([CHALLENGE], "CircleOfLife")
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in line
    assert 'opaque="5ccc069c403e"' in line
    assert "CircleOfLife" not in line


def test_a_digest_with_quality_carries_a_nonce_of_its_own_and_no_password() -> None:
    lines = {said([CHALLENGE + ', qop="auth,auth-int"'], "Circle Of Life") for _ in range(2)}
    assert len(lines) == 2
    assert all("qop=auth, nc=00000001, cnonce=" in line for line in lines)


def test_digest_is_preferred_to_basic() -> None:
    assert said(["Basic realm=x", CHALLENGE], "x").startswith("Digest ")


def test_basic_is_that_of_rfc_7617() -> None:
    line = answer(["Basic realm=x"], "GET", "/", Secret("Aladdin"), Secret("open sesame"))
    assert line == Secret("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")


def test_an_unknown_challenge_is_not_answered() -> None:
    assert not said(["Bearer realm=x"], "x")
    assert not said([CHALLENGE + ", algorithm=SHA-512-256"], "x")
