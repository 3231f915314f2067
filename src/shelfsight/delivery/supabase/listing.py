"""Which part of a bucket is listed, and in which order. Pure: values in, values out."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeAlias, TypeVar

from shelfsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

Column: TypeAlias = Literal["name", "created_at", "updated_at"]


class Listed(Protocol):
    """What a list has to know of an object."""

    @property
    def path(self) -> str:
        """Where it is in its bucket."""

    @property
    def created_at(self) -> datetime:
        """Its age."""

    @property
    def updated_at(self) -> datetime:
        """When it was last written."""


Found = TypeVar("Found", bound=Listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """An order. By a time, folders, which have none, come first, by name."""

    column: Column = "name"
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A part of a bucket: what begins with `prefix`, and behind `folder` with `search`, whatever the letters' case.

    Attributes:
        folder: empty, or the beginning of `prefix` with a slash at its end; entries are named without it.
        deep: with all that lies in sub-folders, instead of the sub-folders.
    """

    channel: str
    bucket: str
    prefix: str = ""
    folder: str = ""
    search: str = ""
    deep: bool = False

    @property
    def end(self) -> str:
        """The text right behind all that begin with `prefix`, which is not empty."""
        return self.prefix[:-1] + chr(ord(self.prefix[-1]) + 1)


@dataclass(frozen=True, slots=True)
class Entry(Generic[Found]):
    """What is listed: an object, or a folder; `name` is without the place's folder."""

    name: str
    found: Found | None = None


def folder_of(prefix: str) -> str:
    """Return the folder that a client means by a prefix, with a slash at its end; empty for the whole bucket."""
    plain = prefix.strip("/")
    return f"{plain}/" if plain else ""


def published_entries(place: Place, published: Iterable[Found]) -> list[Entry[Found]]:
    """Return what a place has of published files."""
    entries: dict[str, Entry[Found]] = {}
    for one in published:
        if not one.path.startswith(place.prefix):
            continue
        name = one.path[len(place.folder) :]
        if not name.lower().startswith(place.search.lower()):
            continue
        first, slash, _ = name.partition("/")
        if slash and not place.deep:
            entries.setdefault(first, Entry(first))
        else:
            entries[name] = Entry(name, one)
    return list(entries.values())


def page_of(entries: Iterable[Entry[Found]], sort: Sort, *, offset: int, limit: int) -> list[Entry[Found]]:
    """Return a part of some entries, in order; of two with one name the first counts."""
    by_name: dict[tuple[str, bool], Entry[Found]] = {}
    for entry in entries:
        by_name.setdefault((entry.name, entry.found is None), entry)
    return _in_order(list(by_name.values()), sort)[offset : offset + limit]


def _in_order(entries: Sequence[Entry[Found]], sort: Sort) -> list[Entry[Found]]:
    by_name = sorted(entries, key=lambda entry: entry.name)
    if sort.column == "name":
        return by_name[::-1] if sort.descending else by_name
    column = sort.column
    found = [(getattr(entry.found, column), entry) for entry in by_name if entry.found is not None]
    found.sort(key=lambda pair: pair[0], reverse=sort.descending)
    return [*(entry for entry in by_name if entry.found is None), *(entry for _, entry in found)]


def cursor_of(offset: int) -> str:
    """Return what a client asks with for the entries behind so many."""
    return base64.urlsafe_b64encode(str(offset).encode()).decode()


def offset_of(cursor: str | None, most: int) -> int:
    """Return how many entries a cursor leaves out.

    Raises:
        UsageError: it is none of ours.
    """
    if not cursor:
        return 0
    try:
        text = base64.b64decode(cursor[:64], altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    if not (text.isdigit() and int(text) <= most):
        raise UsageError("cursor is none that this server gave")
    return int(text)
