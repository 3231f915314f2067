"""The browser client in headless Chromium: how soon a till that has been there before answers, and how fast.

    python -m bench.browser_client [--openings 7] [--pictures 100]

Trains on the example shop, publishes, and opens a page with the client: from the start of the page to the first
answer with everything in the cache, beside a page that downloads the bundle each time (`loadRecogniser`);
milliseconds per picture on WebAssembly, and how many of them the page's thread had the processor, which is the firm
figure on a busy machine; a key stroke in a list of 5,000 products.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from tests.e2e.browser import launch_chromium, missing
from tests.e2e.client_shop import CHANNEL, PAGE, ClientShop, build_pages
from tests.e2e.client_tab import open_client, sync, tab

from bench.common import ROOT
from shelfsight.database import migrate
from shelfsight.database.engine import open_database
from shelfsight.settings import cache_dir
from shelfsight.storage import open_storage
from shelfsight.training.train import TrainingOptions, train

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, CDPSession

TO_FIRST_ANSWER_MS = 2000
PER_PICTURE_MS = 60
PER_KEY_MS = 5
QUERY = "bio milch 3"
FIRST_ANSWER = """async ([options, photo, bundle]) => {
  if (bundle) shelf.recogniser = await shelf.loadRecogniser({ baseUrl: bundle })
  else { await shelf.open(options); await shelf.load() }
  await shelf.recognisePhoto(photo)
  return performance.now()
}"""
PICTURES = """async ([photo, count]) => {
  const image = new Image()
  image.src = photo
  await image.decode()
  const durations = []
  for (let number = 0; number < count; number += 1) {
    durations.push((await shelf.recogniser.recognise(image)).latencyMs)
    await new Promise((resolve) => setTimeout(resolve))
  }
  return durations
}"""
KEY_STROKES = """query => {
  const words = ['Bio', 'Käse', 'Milch', 'Äpfel', 'Brot', 'Crème', 'fraîche', 'Straße', 'Oat', 'Drink']
  const products = Array.from({ length: 5000 }, (_, number) => ({
    id: String(number),
    name: `${words[number % 10]} ${words[(number * 7 + 3) % 10]} ${words[(number * 3 + 1) % 10]} ${number}`,
    sku: `SKU-${number}`,
    barcodes: [String(4000000000000 + number)],
  }))
  const { find } = shelf.createSearch(products)
  return Array.from(query, (_, length) => {
    const startedMs = performance.now()
    find(query.slice(0, length + 1))
    return performance.now() - startedMs
  })
}"""


def main() -> None:
    """Measure, and print the figures beside what they should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openings", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=100)
    options = parser.parse_args()
    if reason := missing():
        sys.exit(f"This benchmark {reason}.")
    with tempfile.TemporaryDirectory(prefix="shelfsight-bench-") as work:
        shop = _shop(Path(work))
        shop.start()
        try:
            with launch_chromium() as browser, browser.new_context() as device:
                figures = _measure(device, shop, options.openings, options.pictures)
        finally:
            shop.stop()
            shop.database.close()
    _print(figures)


def _shop(work: Path) -> ClientShop:
    """Return the example shop's server, with a photo to try among its pages."""
    database = open_database(f"sqlite:///{work / 'shelfsight.db'}")
    migrate.prepare(database)
    pages = build_pages(work / "pages")
    shutil.copy(ROOT / "examples" / "try" / "pineapple.jpg", pages)
    shop = ClientShop(database, open_storage(work / "assets"), pages)
    options = TrainingOptions(channel=CHANNEL, version="1.0.0")
    train(ROOT / "examples" / "corner-shop", work / "bundle", cache_dir=cache_dir(), options=options)
    shop.publish(work / "bundle")
    return shop


def _measure(device: BrowserContext, shop: ClientShop, openings: int, pictures: int) -> dict[str, list[float]]:
    page = tab(device, shop)
    open_client(page, shop)
    sync(page)
    photo, bundle = f"{PAGE}pineapple.jpg", f"/assets/ml-models/{CHANNEL}/v1.0.0/"
    found: dict[str, list[float]] = {"cached": [], "downloaded": []}
    for _ in range(openings):
        for kind, base in (("cached", None), ("downloaded", bundle)):
            page.goto("about:blank")
            page.goto(f"{shop.address}{PAGE}index.html")
            found[kind].append(_until_there(page, [shop.options(), photo, base]))
    page.reload()
    open_client(page, shop)
    page.evaluate("shelf.load()")
    session = device.new_cdp_session(page)
    session.send("Performance.enable")
    before_s = _thread_s(session)
    found["picture"] = page.evaluate(PICTURES, [photo, pictures])
    found["processor"] = [(_thread_s(session) - before_s) * 1000 / pictures]
    found["key"] = [one for _ in range(5) for one in page.evaluate(KEY_STROKES, QUERY)]
    return found


def _thread_s(session: CDPSession) -> float:
    """Return how long the page's thread has had the processor."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["ThreadTime"])


def _until_there(page: Any, arguments: list[Any]) -> float:
    page.wait_for_load_state("load")  # after which the module has run
    duration_ms: float = page.evaluate(FIRST_ANSWER, arguments)
    return duration_ms


def _print(found: dict[str, list[float]]) -> None:
    table = Table("Headless Chromium, WebAssembly", "fastest", "median", "p95", "wanted")
    rows = [
        ("cached", "from opening the page to the first answer, cached", f"≤ {TO_FIRST_ANSWER_MS} ms"),
        ("downloaded", "the same with loadRecogniser, not cached", ""),
        ("picture", "a picture", f"≤ {PER_PICTURE_MS} ms"),
        ("processor", "a picture, processor time", ""),
        ("key", "a key stroke, 5,000 products", f"≤ {PER_KEY_MS} ms"),
    ]
    for key, title, wanted in rows:
        values = found[key]
        spread = quantiles(values, n=20, method="inclusive") if len(values) > 1 else []
        figures = (min(values), median(values), spread[-1]) if spread else (None, values[0], None)
        table.add_row(title, *("" if one is None else f"{one:.1f} ms" for one in figures), wanted)
    Console().print(table)


if __name__ == "__main__":
    main()
