"""The only reader of the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for what can be made again: `SHELFSIGHT_CACHE_DIR`, or the platform's own place."""
    chosen = os.environ.get("SHELFSIGHT_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "shelfsight"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "shelfsight"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shelfsight"


def examples_dir() -> Path:
    """Return the folder of the example shop: inside the installed package, or beside `src` in a checkout."""
    package = Path(__file__).parent
    installed = package / "examples"
    return installed if installed.is_dir() else package.parents[1] / "examples"
