"""Answers as they were given a moment ago: most requests ask for what another has just been given."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

    from shelfsight.delivery.answers import Answer

HOT_S = 0.25
"""How much older than `Lookups` an answer can be; all of them go at once, and with them the bytes they hold."""
_LARGEST_BODY_BYTES = 128 * 1024
_LONGEST_KEY_BYTES = 1024
_MOST = 500
_OTHERWISE = frozenset({b"range", b"if-range"})
HotKey: TypeAlias = tuple[bytes, bytes, bytes]


class HotAnswers:
    """Whole answers to GET, of files that anybody may have."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._answers: dict[HotKey, Answer] = {}

    def get(self, key: HotKey) -> Answer | None:
        """Return the answer given to the same request, None where it is too long ago."""
        if self._clock() >= self._until:
            self._answers.clear()
            return None
        return self._answers.get(key)

    def put(self, key: HotKey, answer: Answer) -> None:
        """Give the answer again to requests of this key."""
        if len(answer.body) > _LARGEST_BODY_BYTES or sum(map(len, key)) > _LONGEST_KEY_BYTES:
            return
        if not self._answers:
            self._until = self._clock() + HOT_S
        if len(self._answers) < _MOST:
            self._answers[key] = answer


def hot_key(scope: Scope) -> HotKey | None:
    """Return all that an answer to this request depends on if anybody may have it, None for a less simple one."""
    path = scope.get("raw_path")
    if scope["method"] != "GET" or not path:
        return None
    accept = tags = b""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            if accept:
                return None
            accept = value
        elif name == b"if-none-match":
            if tags:
                return None
            tags = value
        elif name in _OTHERWISE:
            return None
    return path, accept, tags
