"""Texts of a catalogue: what may be in one, and as what it is searched. Pure."""

from __future__ import annotations

import re
import unicodedata

UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line ends and halves of characters, which no text of a catalogue may hold."""


def writable(text: str) -> str:
    """Return `text` in one line, without what no text of a catalogue may hold."""
    return " ".join(UNWRITABLE.sub(" ", text).split())


def folded(text: str) -> str:
    """Return `text` as it is searched: without case, accents, widths and repeated spaces."""
    bare = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return " ".join(unicodedata.normalize("NFKC", bare.casefold()).split())
