"""The only reader of the environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where a Shelfsight service keeps what it knows.

    Attributes:
        database_url: `sqlite:///…` or `postgresql://…`.
        storage_url: a folder, or `s3://bucket/prefix` and its like.
    """

    database_url: str
    storage_url: str


def service_settings() -> ServiceSettings:
    """Return what `SHELFSIGHT_DATABASE_URL` and `SHELFSIGHT_STORAGE_URL` say.

    What they do not say lies in `SHELFSIGHT_DATA_DIR`, by default `./shelfsight-data`.
    """
    folder = Path(os.environ.get("SHELFSIGHT_DATA_DIR") or "shelfsight-data").expanduser().absolute()
    return ServiceSettings(
        database_url=os.environ.get("SHELFSIGHT_DATABASE_URL") or f"sqlite:///{folder / 'shelfsight.db'}",
        storage_url=os.environ.get("SHELFSIGHT_STORAGE_URL") or str(folder / "assets"),
    )


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
