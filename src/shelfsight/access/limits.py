"""How often devices may ask: requests a minute by address and by token, counted in memory by this process alone."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from shelfsight.access.rate import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN_TOKENS_PER_MINUTE = 60
"""So many tokens that are not known may be looked up for one address."""

_MOST_COUNTED = 50_000
_ADDRESS, _TOKEN, _UNKNOWN = "address", "token", "unknown"
_network_of = lru_cache(maxsize=8192)(network_of)


class RequestLimits:
    """Counts requests. One for each process; safe to use from many threads.

    Whoever is counted, an address (of IPv6 a /64) or a token, has windows of 60 seconds: one begins with the first
    request after the one before has ended. In each window `per_minute` requests pass and no more; so in any 60
    seconds no more than twice as many do. To go on asking does not prolong the wait. The windows of 50,000 are held;
    when there are more at once, those that began first are forgotten, and begin anew too early.

    A channel's public key is not counted by itself: it lies open in every browser of the shop, and whoever has it
    could use up what is there for all of them.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let `per_minute` requests pass; 0 lets every one pass, and still bounds how many tokens are looked up."""
        self._windows = _Windows(clock)
        self._limiter = FixedWindowRateLimiter(self._windows)
        self._requests = _PerMinute(per_minute) if per_minute else None
        self._unknown = _PerMinute(UNKNOWN_TOKENS_PER_MINUTE)

    def wait_s(self, address: str | None) -> int | None:
        """Count a request from an address; return None if it may pass, else in how many seconds the next one may."""
        if self._requests is None:
            return None
        return self._hit(self._requests, _ADDRESS, _network_of(address))

    def token_wait_s(self, actor: str) -> int | None:
        """The same for a token, by the actor that it stands for, such as `token:ab2cdefg`."""
        return None if self._requests is None else self._hit(self._requests, _TOKEN, actor)

    def unknown_wait_s(self, address: str | None) -> int | None:
        """Count a look-up of a token that is not known, before it; return None if it may be looked up.

        A thousand guesses cost the database no more than 60 questions a minute and address.
        """
        return self._hit(self._unknown, _UNKNOWN, _network_of(address))

    def token_was_right(self, address: str | None) -> None:
        """Take a look-up back: the token is one, and a shop full of devices may come with one each."""
        self._windows.decr(self._unknown.key_for(_UNKNOWN, _network_of(address)))

    def _hit(self, item: _PerMinute, kind: str, who: str) -> int | None:
        if self._limiter.hit(item, kind, who):
            return None
        ends_in_s = self._windows.ends_in_s(item.key_for(kind, who))
        return max(1, math.ceil(ends_in_s))


class VolumeLimit:
    """Counts what requests bring. One of a kind for each process; safe to use from many threads.

    Each key has windows of 60 seconds, as in `RequestLimits`; what does not pass is not counted.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let `per_minute` pass in each window."""
        self._item = _PerMinute(per_minute)
        self._limiter = FixedWindowRateLimiter(_Windows(clock))
        self._lock = Lock()

    def allows(self, amount: int, *key: str) -> bool:
        """Return whether so much may pass, all of it or nothing; if it may, count it."""
        with self._lock:
            return self._limiter.test(self._item, *key, cost=amount) and self._limiter.hit(
                self._item, *key, cost=amount
            )


class _PerMinute(RateLimitItemPerMinute):
    """A number of times a minute, whose keys are not put together anew for every request."""

    __slots__ = ("_key_for",)

    def __init__(self, amount: int) -> None:
        super().__init__(amount)
        self._key_for = lru_cache(maxsize=_MOST_COUNTED)(super().key_for)

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return self._key_for(*identifiers)


class _Windows(Storage):
    """Counts of windows, as `limits` keeps them in memory, in bounded memory and without a thread.

    Its own storage goes through all its keys from a thread, up to a hundred times a second; with 100,000 of them half
    a core was spent on that.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        self._held: OrderedDict[str, _Window] = OrderedDict()  # the window that began first comes first

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now_s = self._clock()
        with self._lock:
            window = self._held.get(key)
            if window is not None and now_s < window.ends_at_s:
                window.count += amount
                return window.count
            self._held.pop(key, None)
            self._held[key] = _Window(amount, now_s + expiry)
            if len(self._held) > _MOST_COUNTED:
                self._held.popitem(last=False)
            return amount

    def decr(self, key: str) -> None:
        with self._lock:
            window = self._held.get(key)
            if window is not None:
                window.count = max(0, window.count - 1)

    def ends_in_s(self, key: str) -> float:
        window = self._held.get(key)
        return 0.0 if window is None else window.ends_at_s - self._clock()

    def get(self, key: str) -> int:
        window = self._held.get(key)
        return 0 if window is None or window.ends_at_s <= self._clock() else window.count

    def get_expiry(self, key: str) -> float:
        return time.time() + self.ends_in_s(key)

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._held)
        self._held.clear()
        return count

    def clear(self, key: str) -> None:
        self._held.pop(key, None)


class _Window:
    __slots__ = ("count", "ends_at_s")

    def __init__(self, count: int, ends_at_s: float) -> None:
        self.count = count
        self.ends_at_s = ends_at_s
