"""References to secrets, ``${secret:name}``: where they are looked up, and how they are put in.

Looked at in this order: systemd's credentials (``$CREDENTIALS_DIRECTORY/name``), a file beside
the configuration (``secrets/name``, readable by its owner only), the environment
(``EDGE_SECRET_NAME``). The first that is there is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_REFERENCE = re.compile(r"\$\{secret:([^}]*)\}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The places where secrets are looked up."""

    #: directory of the configuration file; None where it did not come from a file
    directory: Path | None
    environ: Mapping[str, str]
    #: False: every secret is taken to be there, and nothing is looked up
    look: bool = True

    def resolve(self, text: str) -> str:
        """Return ``text`` with every reference replaced.

        Inside a URL the secret is percent-encoded, so that a password may contain ``@`` and
        ``/``. A secret that is the whole text is taken as it is.

        Raises:
            ValueError: a secret is missing, empty, badly named, or open to other users. The
                message names the places, never a value.

        """
        inside_url = bool(_URL.match(text))

        def value(match: re.Match[str]) -> str:
            secret = self._find(match[1])
            # a colon stays: a secret may hold user:password
            return quote(secret, safe=":") if inside_url else secret

        return _REFERENCE.sub(value, text)

    def _find(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                "expected ${secret:name}, the name of letters, digits, dots, dashes, underscores"
            )
        if not self.look:
            return "secret"
        variable = "EDGE_SECRET_" + re.sub(r"[-.]", "_", name).upper()
        looked = []
        credentials = self.environ.get("CREDENTIALS_DIRECTORY", "")
        if credentials:
            looked.append(str(Path(credentials) / name))
            found = _read(Path(credentials) / name, private=False)
            if found is not None:
                return found
        else:
            looked.append(f"systemd's credentials, LoadCredential={name} ($CREDENTIALS_DIRECTORY)")
        if self.directory is not None:
            looked.append(str(self.directory / "secrets" / name))
            found = _read(self.directory / "secrets" / name, private=True)
            if found is not None:
                return found
        else:
            looked.append(f"secrets/{name} beside the configuration file")
        found = self.environ.get(variable)
        if found:
            return found
        looked.append(f"${variable} in the environment")
        raise ValueError(f'no secret "{name}"; looked at: {"; ".join(looked)}')


def has_reference(text: str) -> bool:
    """Tell whether ``text`` refers to a secret."""
    return bool(_REFERENCE.search(text))


def names_in(text: str) -> list[str]:
    """Return the names of the secrets that ``text`` refers to."""
    return _REFERENCE.findall(text)


def without_references(text: str) -> str:
    """Return ``text`` with a letter in the place of each secret."""
    return _REFERENCE.sub("x", text)


def _read(path: Path, *, private: bool) -> str | None:
    """Return the file's text without its last line end, None if there is no such file."""
    try:
        if private and path.stat().st_mode & 0o077:
            raise ValueError(f"{path} is open to other users; expected mode 0600: chmod 600 {path}")
        text = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        # "from None": the decoder's error carries the bytes
        raise ValueError(f"{path} is not text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not text:
        raise ValueError(f"{path} is empty")
    return text
