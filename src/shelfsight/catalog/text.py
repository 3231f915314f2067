"""Texts of a catalogue: what may be in one, as what it is searched, and how its numbers are written. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line ends and halves of characters, which no text of a catalogue may hold."""


def writable(text: str) -> str:
    """Return `text` in one line, without what no text of a catalogue may hold."""
    return " ".join(UNWRITABLE.sub(" ", text).split())


def folded(text: str) -> str:
    """Return `text` as it is searched: without case, accents, widths and repeated spaces."""
    bare = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return " ".join(unicodedata.normalize("NFKC", bare.casefold()).split())


def plain(number: Decimal) -> str:
    """Return a number with as many places as it has: 2, 0.347."""
    return f"{number.normalize():f}"


def price_text(amount: Decimal) -> str:
    """Return an amount of money with two places, or as many as it has: 2.00, 0.125."""
    text = plain(amount)
    return text if len(text.partition(".")[2]) > 1 else f"{amount:.2f}"
