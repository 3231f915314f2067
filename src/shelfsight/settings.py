"""The only reader of the environment."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from shelfsight.errors import UsageError

Network = IPv4Network | IPv6Network

ASSETS_URL = "/assets"
REQUESTS_PER_MINUTE = 1200

_PLACE = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where a Shelfsight service keeps what it knows, and how it meets its devices.

    Attributes:
        database_url: `sqlite:///…` or `postgresql://…`.
        storage_url: a folder, or `s3://bucket/prefix` and its like.
        webhook_networks: where webhooks may be sent beside the public internet.
        assets_url: where devices find the files of versions: a path of this server or the address of a CDN, without a
            slash at the end.
        requests_per_minute: so many requests of devices from one address, or with one token, are answered; 0 = all.
    """

    database_url: str
    storage_url: str
    webhook_networks: tuple[Network, ...] = ()
    assets_url: str = ASSETS_URL
    requests_per_minute: int = REQUESTS_PER_MINUTE


def service_settings() -> ServiceSettings:
    """Return what the variables `SHELFSIGHT_…` of docs/reference/cli.md say.

    What database and storage do not say lies in `SHELFSIGHT_DATA_DIR`, by default `./shelfsight-data`.

    Raises:
        UsageError: one of them cannot be.
    """
    folder = data_dir()
    return ServiceSettings(
        database_url=os.environ.get("SHELFSIGHT_DATABASE_URL") or f"sqlite:///{folder / 'shelfsight.db'}",
        storage_url=os.environ.get("SHELFSIGHT_STORAGE_URL") or str(folder / "assets"),
        webhook_networks=_networks("SHELFSIGHT_WEBHOOK_NETWORKS"),
        assets_url=_place("SHELFSIGHT_ASSETS_URL", ASSETS_URL),
        requests_per_minute=_count("SHELFSIGHT_REQUESTS_PER_MINUTE", REQUESTS_PER_MINUTE),
    )


def _place(name: str, default: str) -> str:
    """Return the path or address in a variable, without a slash at the end."""
    place = (os.environ.get(name) or default).rstrip("/")
    if not _PLACE.fullmatch(place):
        raise UsageError(f"{name} is {place[:80]!r}: use a path such as /assets, or https://cdn.example.com/assets")
    return place


def _count(name: str, default: int) -> int:
    """Return the number in a variable."""
    text = os.environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise UsageError(f"{name} is {text[:80]!r}: use a whole number; 0 is no limit")
    return int(text)


def _networks(name: str) -> tuple[Network, ...]:
    """Return the networks of a variable, with commas between them."""
    words = filter(None, (word.strip() for word in os.environ.get(name, "").split(",")))
    try:
        return tuple(map(ip_network, words))
    except ValueError as exc:
        raise UsageError(f"{name}: {exc}: name networks such as 10.0.0.0/24, with commas between them") from exc


def data_dir() -> Path:
    """Return the folder for what a service keeps on its own machine: `SHELFSIGHT_DATA_DIR`, or ./shelfsight-data."""
    return Path(os.environ.get("SHELFSIGHT_DATA_DIR") or "shelfsight-data").expanduser().absolute()


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
