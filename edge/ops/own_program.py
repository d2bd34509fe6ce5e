"""How this very program is started once more, for work that may crash."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def own_command(*words: str) -> tuple[list[str], Path]:
    """Return how this program is started with these words, and in which directory."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *words], Path("/")
    # In the directory of the package: "-m" looks for it where the process stands.
    home = Path(__file__).resolve().parent.parent.parent
    return [sys.executable, "-m", "edge", *words], home


def own_environment(
    environ: Mapping[str, str] = os.environ, *, frozen: bool | None = None
) -> dict[str, str]:
    """Return a child's environment, in which the system's libraries come first.

    Args:
        environ: environment of this process.
        frozen: whether this is a frozen program; None: look.

    """
    own = dict(environ)
    if getattr(sys, "frozen", False) if frozen is None else frozen:
        # The frozen program puts its own libraries first; NVIDIA's need the system's libstdc++.
        original = own.pop("LD_LIBRARY_PATH_ORIG", "")
        own.pop("LD_LIBRARY_PATH", None)
        if original:
            own["LD_LIBRARY_PATH"] = original
        # Without it the child takes itself for a part of this process.
        own["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
    return own
