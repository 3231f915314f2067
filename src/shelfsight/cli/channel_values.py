"""Settings of a channel as somebody types them: `visibility=private`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from pydantic.alias_generators import to_snake

from shelfsight.catalog.rules import ReleasePolicy, RetrainTrigger, Visibility
from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_E = TypeVar("_E", bound=StrEnum)


def parse_value(key: str, text: str | None) -> tuple[str, object]:
    """Return the name of a setting in the rules, and its value; None is a key without `=`.

    Raises:
        UsageError: there is no such setting, or it cannot have that value.
    """
    if key not in _PARSERS:
        raise UsageError(f"{key!r} cannot be set: what can be is {', '.join(_PARSERS)}")
    if text is None:
        raise UsageError(f"{key} lacks a value: write {key}=VALUE")
    return to_snake(key), _PARSERS[key](key, text)


def _plain(_key: str, text: str) -> str:
    return text


def _plain_or_none(_key: str, text: str) -> str | None:
    return text or None


def _flag(key: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise UsageError(f"{key} is {text!r}: it must be true or false")
    return text == "true"


def _seconds(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{key} is {text!r}: it must be a number of seconds") from None


def _share_or_none(key: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise UsageError(f"{key} is {text!r}: it must be 0 to 1, or empty") from None


def _triggers(key: str, text: str) -> frozenset[RetrainTrigger]:
    return frozenset(_member(RetrainTrigger, key, one.strip()) for one in text.split(",") if one.strip())


def _visibility(key: str, text: str) -> Visibility:
    return _member(Visibility, key, text)


def _release_policy(key: str, text: str) -> ReleasePolicy:
    return _member(ReleasePolicy, key, text)


def _member(kind: type[_E], key: str, text: str) -> _E:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{key} is {text!r}: it must be one of {', '.join(kind)}") from None


_PARSERS: dict[str, Callable[[str, str], object]] = {
    "name": _plain,
    "visibility": _visibility,
    "releasePolicy": _release_policy,
    "timeZone": _plain,
    "modelBaseUrl": _plain_or_none,
    "modelAutoRetrainEnabled": _flag,
    "modelRetrainTriggers": _triggers,
    "modelRetrainDebounceSeconds": _seconds,
    "accuracyThreshold": _share_or_none,
    "learnFromCorrections": _flag,
}
