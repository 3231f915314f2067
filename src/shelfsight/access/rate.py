"""How often something may happen: counted in memory, by this process alone."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class Rate:
    """A number of times a minute, for each key by itself; safe to use from many threads."""

    def __init__(self, per_minute: int) -> None:
        """Allow `per_minute` in any 60 seconds."""
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def allows(self, *key: str) -> bool:
        """Return whether it may happen once more, and count that."""
        return self._limiter.hit(self._item, *key)


def network_of(address: str | None) -> str:
    """Return the part of an address that one sender has to itself: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
