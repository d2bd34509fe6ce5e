"""Certificates for tests: an authority of our own, and what it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.places import need


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; ``ca`` is what others have to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._program = folder, need("openssl", "openssl")
        self.ca = folder / "ca.crt"
        self._key = folder / "ca.key"
        self._run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", self._key, "-out", self.ca, "-days", "9", "-subj", "/CN=tests",
        )  # fmt: skip

    def sign(self, name: str, alt: str = "DNS:localhost,IP:127.0.0.1", days: int = 2) -> Pair:
        """Return a certificate for ``name``; negative ``days``: it has expired."""
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, more = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        more.write_text(f"subjectAltName={alt}\n")
        self._run(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", pair.key, "-out", request, "-subj", f"/CN={name}",
        )  # fmt: skip
        self._run(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial",
            "-days", str(days), "-extfile", more, "-out", pair.cert,
        )  # fmt: skip
        # the broker may run as another user
        pair.key.chmod(0o644)
        return pair

    def _run(self, *args: str | Path) -> None:
        subprocess.run([self._program, *args], check=True, capture_output=True)
