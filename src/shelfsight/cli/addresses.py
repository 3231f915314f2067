"""Addresses of databases and storages, as they may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

_HARMLESS = frozenset({"host", "port", "dbname", "sslmode"})


def without_secrets(url: str) -> str:
    """Return an address without its password, and with nothing in its query but what tells where it is."""
    scheme, apart, rest = url.partition("://")
    if not apart:
        return url
    user, at, place = rest.rpartition("@")  # a password may hold anything
    where, _, query = place.partition("?")
    kept = urlencode([(name, value) for name, value in parse_qsl(query) if name in _HARMLESS], safe="/")
    return f"{scheme}://{user.partition(':')[0]}{at}{where}{'?' if kept else ''}{kept}"
