"""The only reader of the environment."""

from __future__ import annotations

import math
import os
import re
import sys
from collections import ChainMap
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Network = IPv4Network | IPv6Network

ASSETS_URL = "/assets"
REQUESTS_PER_MINUTE = 1200
CHECKPOINT_COLLECTION = "inventory_backfill_checkpoint"

TYPESENSE_COLLECTION = "shelfsight_products"

_POSTGRES = ("DB_HOST", "DB_DATABASE", "DB_USER", "DB_PASSWORD", "DB_PORT")
_MAY_BE_EMPTY = {"DB_PASSWORD"}
"""A socket, a trusted address or a certificate lets in without a password."""

_PLACE = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypesenseSettings:
    """A search server, and the collection of products in it."""

    url: str
    api_key: str = field(repr=False)
    collection: str = TYPESENSE_COLLECTION


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
        typesense: what finds products beside the database, None = the database alone does.
    """

    database_url: str = field(repr=False)
    storage_url: str = field(repr=False)
    webhook_networks: tuple[Network, ...] = ()
    assets_url: str = ASSETS_URL
    requests_per_minute: int = REQUESTS_PER_MINUTE
    typesense: TypesenseSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VendureSettings:
    """How the command line finds a Vendure server and is let in; empty = not said.

    Attributes:
        channel_token: of the channel that the API key is of; empty = the default channel.
    """

    api: str
    username: str
    token: str = field(repr=False)
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    channel_token: str = field(repr=False)


def vendure_settings() -> VendureSettings:
    """Return what the variables `SHELFSIGHT_VENDURE_…` say."""

    def said(name: str) -> str:
        return os.environ.get(f"SHELFSIGHT_VENDURE_{name}", "").strip()

    return VendureSettings(
        api=said("API"),
        username=said("USERNAME"),
        token=said("TOKEN"),
        password=os.environ.get("SHELFSIGHT_VENDURE_PASSWORD", ""),
        api_key=said("API_KEY"),
        channel_token=said("CHANNEL_TOKEN"),
    )


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
        typesense=_typesense(),
    )


def _typesense() -> TypesenseSettings | None:
    """Return where products are searched, if not in the database."""
    url, key = (os.environ.get(f"SHELFSIGHT_TYPESENSE_{name}", "") for name in ("URL", "API_KEY"))
    if not url and not key:
        return None
    if not url or not key:
        there, missing = ("URL", "API_KEY") if url else ("API_KEY", "URL")
        raise UsageError(
            f"SHELFSIGHT_TYPESENSE_{there} is set without SHELFSIGHT_TYPESENSE_{missing}: set both, or none"
        )
    collection = os.environ.get("SHELFSIGHT_TYPESENSE_COLLECTION") or TYPESENSE_COLLECTION
    return TypesenseSettings(url=url, api_key=key, collection=collection)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSettings:
    """Where backfills keep their checkpoints.

    Attributes:
        url: `mongodb://…`, `postgresql://…` or `sqlite:///…`.
        database: of MongoDB; None = the one that `url` names.
        collection: of MongoDB.
    """

    url: str = field(repr=False)
    database: str | None = None
    collection: str = CHECKPOINT_COLLECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """The PostgreSQL database of a shop."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InventorySettings:
    """What `shelfsight backfill inventory-fields` works on, and how fast.

    Attributes:
        batch_size: rows of a page in phase 1.
        sleep_s: seconds between two pages.
        typesense_page_size: documents of a page in phase 2.
    """

    postgres: PostgresSettings
    typesense_url: str
    typesense_key: str = field(repr=False)
    batch_size: int = 1000
    sleep_s: float = 1.0
    typesense_page_size: int = 250


def checkpoint_settings() -> CheckpointSettings:
    """Return where checkpoints are: `SHELFSIGHT_CHECKPOINT_URL`, `MONGO_URI`, or a file in the data folder.

    Raises:
        UsageError: .env cannot be read.
    """
    variables = _with_env_file()
    url = variables.get("SHELFSIGHT_CHECKPOINT_URL") or variables.get("MONGO_URI")
    if not url:
        url = f"sqlite:///{_data_dir(variables) / 'backfill.db'}"
    return CheckpointSettings(
        url=url,
        database=variables.get("MONGO_DB_NAME") or None,
        collection=variables.get("MONGO_CHECKPOINT_COLLECTION") or CHECKPOINT_COLLECTION,
    )


def postgres_settings(*, instead: str = "") -> PostgresSettings:
    """Return the database that `DB_HOST, DB_PORT, DB_DATABASE, DB_USER, DB_PASSWORD` name; the last may be empty.

    Args:
        instead: what else the operator may do than set them.

    Raises:
        UsageError: one of them is missing, or cannot be.
    """
    variables = _with_env_file()
    _require(variables, *_POSTGRES, instead=instead)
    return PostgresSettings(
        host=variables["DB_HOST"],
        port=int(_number(variables, "DB_PORT", 5432, least=1, most=65535, is_whole=True)),
        database=variables["DB_DATABASE"],
        user=variables["DB_USER"],
        password=variables["DB_PASSWORD"],
    )


def inventory_settings() -> InventorySettings:
    """Return what the variables of docs/reference/backfill.md say.

    Raises:
        UsageError: one is missing, or cannot be.
    """
    variables = _with_env_file()
    _require(variables, *_POSTGRES, "TYPESENSE_HOST", "TYPESENSE_PORT", "TYPESENSE_API_KEY")
    return InventorySettings(
        postgres=postgres_settings(),
        typesense_url=_typesense_url(variables),
        typesense_key=variables["TYPESENSE_API_KEY"],
        batch_size=int(_number(variables, "BATCH_SIZE", 1000, least=1, most=100_000, is_whole=True)),
        sleep_s=_number(variables, "SLEEP_BETWEEN_BATCHES", 1.0, least=0, most=3600),
        typesense_page_size=int(_number(variables, "TYPESENSE_PAGE_SIZE", 250, least=1, most=100_000, is_whole=True)),
    )


def _typesense_url(variables: Mapping[str, str]) -> str:
    """Return the address of the server: https at port 443, or where the host says so, otherwise http."""
    host, port = variables["TYPESENSE_HOST"], variables["TYPESENSE_PORT"]
    scheme, has_scheme, name = host.rpartition("://")
    if not has_scheme:
        scheme = variables.get("TYPESENSE_PROTOCOL") or ("https" if port == "443" else "http")
    return f"{scheme}://{name.rstrip('/')}:{port}"


def _with_env_file() -> Mapping[str, str]:
    """Return the environment, and behind it the file .env of the current folder.

    Raises:
        UsageError: that cannot be read.
    """
    from dotenv import dotenv_values  # noqa: PLC0415 (only backfills read such a file)

    file = Path.cwd() / ".env"
    try:
        in_file = {name: value or "" for name, value in dotenv_values(file).items()}
    except OSError as exc:
        raise UsageError(f"{file} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{file} is not written in UTF-8: save it so") from exc
    return ChainMap(dict(os.environ), in_file)


def _require(variables: Mapping[str, str], *names: str, instead: str = "") -> None:
    missing = [name for name in names if not (name in variables if name in _MAY_BE_EMPTY else variables.get(name))]
    if missing:
        be, it = ("is", "it") if len(missing) == 1 else ("are", "them")
        otherwise = f"; {instead}" if instead else ""
        raise UsageError(f"{', '.join(missing)} {be} not set: set {it} in the environment, or in .env{otherwise}")


def _number(
    variables: Mapping[str, str], name: str, default: float, *, least: float, most: float, is_whole: bool = False
) -> float:
    text = variables.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most or (is_whole and number != int(number)):
        kind = "a whole number" if is_whole else "a number"
        raise UsageError(f"{name} is {text[:80]!r}: use {kind} from {least:,} to {most:,}")
    return number


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
    return _data_dir(os.environ)


def _data_dir(variables: Mapping[str, str]) -> Path:
    return Path(variables.get("SHELFSIGHT_DATA_DIR") or "shelfsight-data").expanduser().absolute()


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
