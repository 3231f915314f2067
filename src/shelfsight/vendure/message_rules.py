"""Whether a message really comes from a Vendure server, and what it means for our channels. Pure."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shelfsight.vendure.rules import NAMED_MOST
from shelfsight.webhooks.rules import headers_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

TOLERANCE = timedelta(minutes=5)
"""How far the sender's clock and ours may be apart, as Standard Webhooks 1.0.0 proposes."""

REMEMBERED = timedelta(days=7)
"""For how long a message is known again: longer than Vendure's queue tries."""

REQUESTER_MOST = 100
_ID = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)
_CHANNEL = "channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The headers of a signed message; empty ones are missing."""

    message_id: str
    timestamp: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened in Vendure.

    Attributes:
        channels: ids of the channels there that it concerns, None = any that has the products.
        user: id of who did it, None = nobody knows.
    """

    kind: str
    products: tuple[str, ...]
    channels: tuple[str, ...] | None
    user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be looked at of a channel of Vendure: some products, or everything."""

    products: frozenset[str] = frozenset()
    everything: bool = False


def is_genuine(signed: Signed, body: bytes, secret: str, now: datetime) -> bool:
    """Return whether a message was signed with the secret, and not long ago."""
    if not _ID.fullmatch(signed.message_id) or not _SECONDS.fullmatch(signed.timestamp):
        return False
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(signed.timestamp))
    wanted = dict(headers_of(secret, signed.message_id, body, at))[b"webhook-signature"]
    matches = [hmac.compare_digest(one.encode(), wanted) for one in signed.signature.split(" ")]
    return any(matches) and abs(now - at) <= TOLERANCE


def wanted_by(happenings: Iterable[Happening], channels: Iterable[str], *, own_user: str) -> Mapping[str, Wanted]:
    """Return what is to be looked at, by channel of Vendure; our own changes are nothing new.

    Args:
        channels: ids of those that are connected.
    """
    seen = [one for one in happenings if one.user != own_user]
    anywhere = [one for one in seen if one.channels is None]
    named: dict[str, list[Happening]] = {}
    for one in seen:
        for channel in frozenset(one.channels or ()):
            named.setdefault(channel, []).append(one)
    everywhere = _wanted(anywhere)  # made once: there may be thousands of channels
    found = {one: _wanted([*anywhere, *named[one]]) if one in named else everywhere for one in channels}
    return {channel: wanted for channel, wanted in found.items() if wanted != Wanted()}


def _wanted(happenings: Collection[Happening]) -> Wanted:
    products = frozenset(product for one in happenings for product in one.products)
    if len(products) > NAMED_MOST or any(one.kind == _CHANNEL for one in happenings):
        return Wanted(everything=True)
    return Wanted(products=products)


def requester(name: str) -> str:
    """Return the actor of a training that somebody asked for in Vendure."""
    shown = "".join(one for one in name if one.isprintable()).strip()[:REQUESTER_MOST]
    return f"vendure:{shown}" if shown else "vendure"
