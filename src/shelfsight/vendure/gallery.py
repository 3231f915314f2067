"""The pictures of a channel in Vendure: each is fetched once, whichever products show it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shelfsight.catalog.images import store_picture
from shelfsight.database import clock
from shelfsight.errors import PictureError, UnavailableError
from shelfsight.vendure import product_store
from shelfsight.vendure.pictures import AT_ONCE
from shelfsight.vendure.product_store import TakenAsset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future
    from datetime import datetime

    from shelfsight.catalog.images import Stores
    from shelfsight.catalog.rules import Image
    from shelfsight.vendure.pictures import Pictures

_THREADS = 2 * AT_ONCE
"""So many pictures in memory: while some are asked for, others are checked and stored."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures, by the asset's id in Vendure.

    Attributes:
        images: that can be used; of no product yet.
        refused: that cannot, and why.
        silent: that cannot be had now, and why.
        fetched: what is to be remembered of those that were not here before.
    """

    images: dict[str, Image] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, TakenAsset] = field(default_factory=dict)


class Gallery:
    """The pictures of one channel."""

    def __init__(self, stores: Stores, channel: str, pictures: Pictures) -> None:
        """Fetch those that are not here from `pictures`."""
        self._stores = stores
        self._channel = channel
        self._pictures = pictures
        self._fetched_now: dict[str, Image] = {}  # whose products may not be written yet

    def show(self, urls: Mapping[str, str]) -> Shown:
        """Return pictures, by asset; those that are not here are fetched, a few at a time, and stored.

        Raises:
            UnavailableError: database or storage do not answer.
        """
        with self._stores.database.read() as tx:
            known = product_store.assets_of(tx, self._channel, urls)
            here = product_store.pictures(tx, self._channel, [one.sha256 for one in known.values() if one.sha256])
            now = clock.now(tx)
        shown, missing = Shown(), []
        for asset in urls:
            one = known.get(asset, TakenAsset())
            if asset in self._fetched_now:
                shown.images[asset] = self._fetched_now[asset]
            elif one.reason is not None:
                shown.refused[asset] = one.reason
            elif one.sha256 in here:
                shown.images[asset] = here[one.sha256]
            else:
                missing.append(asset)
        for asset, found in self._fetched({asset: urls[asset] for asset in missing}, now):
            _note(shown, asset, found)
        self._fetched_now |= {asset: shown.images[asset] for asset in shown.fetched if asset in shown.images}
        return shown

    def _fetched(self, urls: Mapping[str, str], now: datetime) -> Iterator[tuple[str, Image | Exception]]:
        """Yield what became of each picture."""
        pool = ThreadPoolExecutor(_THREADS, "shelfsight-vendure")
        try:
            assets: dict[Future[Image | Exception], str] = {
                pool.submit(self._fetch, url, now): asset for asset, url in urls.items()
            }
            for future in as_completed(assets):
                yield assets[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch(self, url: str, now: datetime) -> Image | Exception:
        try:
            data = self._pictures.fetch(url)
        except (PictureError, UnavailableError) as exc:
            return exc
        try:
            return store_picture(self._stores.storage, self._channel, data, now)
        except PictureError as exc:
            return exc


def _note(shown: Shown, asset: str, found: Image | Exception) -> None:
    match found:
        case PictureError():
            shown.refused[asset] = str(found)
            shown.fetched[asset] = TakenAsset(reason=str(found))
        case Exception():
            shown.silent[asset] = str(found)
        case _:
            shown.images[asset] = found
            shown.fetched[asset] = TakenAsset(sha256=found.sha256)
