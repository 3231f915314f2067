"""The link that makes a browser a till of a channel, and its QR code."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import segno

from shelfsight.access.keys import config_keys
from shelfsight.catalog.store import channels
from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shelfsight.database.engine import Database


def pairing_link(database: Database, channel: str, server_url: str) -> str:
    """Return the link of a channel's till on the server that is reached at `server_url`.

    It carries the channel's public key, and which keys the till is to trust, behind a `#`: browsers keep that part to
    themselves.

    Raises:
        NotFoundError: there is no such channel.
        UsageError: `server_url` is no address of a server.
    """
    with database.read() as tx:
        token = channels.get(tx, channel).token
    return link(server_url, channel, token, (key.id for key in config_keys(database)))


def link(server_url: str, channel: str, token: str, keys: Iterable[str]) -> str:
    """Return the link, made of its parts.

    Args:
        keys: ids of the keys that sign configs.

    Raises:
        UsageError: `server_url` is no address of a server.
    """
    if not _is_server(server_url):
        raise UsageError(f"{server_url[:200]!r} is no address of a server: write it as https://till.example.com")
    secret = urlencode({"token": token, "keys": ",".join(keys)}, safe=",")
    return f"{server_url.rstrip('/')}/till/{quote(channel, safe='')}#{secret}"


def code_of(link: str) -> segno.QRCode:
    """Return the QR code of a pairing link, for a phone to scan.

    Raises:
        UsageError: the link is longer than any code can hold.
    """
    try:
        return segno.make_qr(link, error="m")
    except segno.DataOverflowError as exc:
        raise UsageError("the server's address is too long for a QR code: use a shorter one") from exc


def _is_server(url: str) -> bool:
    """Return whether a URL is that of a server: no query, and no password, which the link would tell everybody."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_plain = url.isprintable() and not set(url) & set(" @?#")
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and is_plain
