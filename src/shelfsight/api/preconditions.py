"""If-Match and If-None-Match: nobody overwrites what they have not seen, or fetches what they have."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

from shelfsight.errors import StaleWriteError, UsageError

IfMatch = Annotated[str | None, Header(description="`ETag` of what is to be changed; a newer one is not overwritten")]
IfNoneMatch = Annotated[str | None, Header(description="`ETag` of what is there already; the same is not sent again")]

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"\s*{_TAG}\s*(?:,\s*{_TAG}\s*)*")


def etag(revision: int) -> str:
    """Return the entity tag of a thing at `revision`."""
    return f'"{revision}"'


def check_if_match(header: str | None, revision: int) -> None:
    """Return if what is at `revision` may be changed by who sent `If-Match: header`; without one, it may.

    Raises:
        StaleWriteError: they have seen another revision.
        UsageError: the header is none.
    """
    if header is None or header.strip() == "*":
        return
    if etag(revision) not in _tags(header, "If-Match"):  # a weak tag matches nothing here
        raise StaleWriteError(f"it is at revision {revision}, not {header[:80]}: re-read and try again")


def is_known(header: str | None, tag: str) -> bool:
    """Return whether who sent `If-None-Match: header` has what has the entity tag `tag`.

    Raises:
        UsageError: the header is none.
    """
    if header is None:
        return False
    return header.strip() == "*" or tag in {one.removeprefix("W/") for one in _tags(header, "If-None-Match")}


def _tags(header: str, name: str) -> list[str]:
    if not _TAGS.fullmatch(header):
        raise UsageError(f'{name} {header[:80]!r} is no list of entity tags: send one as it came, such as "7"')
    return re.findall(_TAG, header)
