"""Sets `deleted_at` where it is missing, a window of rows at a time, ahead of what is sent.

A window is as many pages as there are strides. Each stride is one transaction of a page of rows, spread over the
window: it frees space in every page of the table for the rows of the next, which then need not move.

The checkpoint knows the window that was begun and how many of its rows were to be set. Whatever a killed runner, or a
lost connection, has done of it can so be counted afterwards: what was to be set, less what still is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.backfill.inventory_fields.store.connection import RowError
from shelfsight.backfill.rules import Refused
from shelfsight.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.backfill.inventory_fields.store.products import Products
    from shelfsight.backfill.rules import Value
    from shelfsight.backfill.work import Note


@dataclass(slots=True, kw_only=True)
class _Open:
    """A window that was begun.

    Attributes:
        unset: so many rows were to be set when it was.
        left: strides that are to be done, the next one last.
        done: so many rows were set.
        is_doubtful: more may have been set than that.
    """

    until: Value
    unset: int
    strides: int
    left: list[int]
    done: int = 0
    is_doubtful: bool = False


class Windows:
    """The windows of a table, one after the other.

    Attributes:
        set_until: up to this key, `deleted_at` is set; None = nowhere yet.
        refused: rows that may not be set, until somebody takes them away.
    """

    def __init__(self, products: Products, values: Mapping[str, Value], *, strides: int, phase: int) -> None:
        """Go on from a checkpoint."""
        self._products = products
        self._strides = strides
        self._phase = phase
        self._updated = int(values.get("updated_supabase") or 0)
        self.set_until: Value = values.get("set_until")
        self.refused: list[Refused] = []
        self._end: Value = None  # rows that the shop adds behind it later are found by the verification
        self._open: _Open | None = None
        until = values.get("window_until")
        if until is not None:
            self._open = _Open(
                until=until, unset=int(values.get("window_unset") or 0), strides=0, left=[], is_doubtful=True
            )

    def step(self, size: int, note: Note) -> bool:
        """Set the rows of one stride, at most about `size`; return whether anything was left to set.

        Raises:
            DatabaseError: it did not work now; what was done of it is known later.
        """
        if self._open is None:
            self._begin(size, note)
        elif self._open.strides == 0:  # begun by another runner
            unset = self._products.unset(self.set_until, self._open.until)
            self._open.strides = max(self._strides, 1 << max(math.ceil(unset / size) - 1, 0).bit_length())
            self._open.left = list(range(self._open.strides))
        if self._open is None:
            return False
        if self._open.left and self._open.unset:
            self._set(self._open, self._open.left[-1])
            self._open.left.pop()
        return True

    def close(self, size: int, note: Note) -> bool:
        """Set what is left of the window ahead, and let it be behind; return whether there was one.

        Raises:
            DatabaseError: it did not work now.
        """
        while self.step(size, note):
            if self._open is not None and not (self._open.left and self._open.unset):
                self._updated += self._set_in(self._open)
                self.set_until, self._open = self._open.until, None
                return True
        return False

    def values(self) -> dict[str, Value]:
        """Return what the checkpoint says of it between two windows."""
        return {
            "set_until": self.set_until,
            "window_until": None,
            "window_unset": None,
            "updated_supabase": self._updated,
        }

    def _begin(self, size: int, note: Note) -> None:
        if self._end is None:
            self._end = self._products.last_key()
        if self._end is None or self._end == self.set_until:
            return
        window = self._products.window(self.set_until, self._end, size * self._strides)
        if window is None:
            return
        note({**self.values(), "window_until": window.until, "window_unset": window.unset})
        self._open = _Open(
            until=window.until, unset=window.unset, strides=self._strides, left=list(range(self._strides))
        )

    def _set(self, window: _Open, stride: int) -> None:
        try:
            window.done += self._products.set_stride(
                self.set_until, window.until, stride=stride, strides=window.strides
            )
        except DatabaseError:
            window.is_doubtful = True  # the answer may have been lost, and not the change
            raise
        except RowError:
            window.is_doubtful = True
            keys = self._products.unset_in_stride(self.set_until, window.until, stride=stride, strides=window.strides)
            self.refused += set_rows(self._products, keys, phase=self._phase)[1]

    def _set_in(self, window: _Open) -> int:
        """Return how many rows of a window were set, by whomever of us."""
        if not window.is_doubtful:
            return window.done
        return max(window.unset - self._products.unset(self.set_until, window.until), 0)


def set_rows(products: Products, keys: Sequence[str], *, phase: int) -> tuple[int, list[Refused]]:
    """Set rows, all but those that a trigger or constraint refuses; return how many, and those.

    Halves of halves find them.

    Raises:
        DatabaseError: it did not work now.
    """
    if not keys:
        return 0, []
    try:
        return products.set_keys(keys), []
    except RowError as exc:
        if len(keys) == 1:
            return 0, [Refused(key=keys[0], phase=phase, reason=f"PostgreSQL says: {exc}")]
    middle = len(keys) // 2
    first, refused = set_rows(products, keys[:middle], phase=phase)
    second, more = set_rows(products, keys[middle:], phase=phase)
    return first + second, refused + more
