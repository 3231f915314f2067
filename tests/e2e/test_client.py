"""The browser client in Chromium, against a real server behind a bad network: its versions."""

from __future__ import annotations

import itertools
import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import missing
from tests.e2e.client_shop import (
    CHANNEL,
    NO_MODEL,
    PAGE,
    Fault,
    only,
    real,
    restamped,
    tiny,
    weights_of,
    wide,
    with_labels,
)
from tests.e2e.client_tab import open_client, ready_with, recognise, sync, tab, until, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page
    from starlette.types import Scope

    from tests.e2e.client_shop import ClientShop

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def test_the_first_look_downloads_a_version_that_answers_and_goes_on_after_a_reload(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    page = tab(device, client_shop)
    open_client(page, client_shop)
    state = sync(page)
    assert (state["name"], state["version"]) == ("ready", "1.0.0")
    assert page.evaluate("shelf.load()") == {"version": "1.0.0", "backend": "wasm"}
    answer = recognise(page)
    assert (len(answer["predictions"]), answer["version"]) == (3, "1.0.0")
    page.reload()
    open_client(page, client_shop)
    assert page.evaluate("shelf.client.state.name") == "ready"
    page.evaluate("shelf.load()")
    assert recognise(page)["predictions"] == answer["predictions"]


def test_without_a_model_it_says_what_to_add_and_the_products_are_there(
    device: BrowserContext, client_shop: ClientShop
) -> None:
    page = tab(device, client_shop)
    open_client(page, client_shop)
    state = sync(page)
    assert (state["name"], state["words"]) == ("no-model", NO_MODEL)
    assert page.evaluate("shelf.client.productList().then(({ search }) => search.find('bir'))") == [
        {"id": "birne", "name": "Birne"}
    ]


def test_without_the_server_what_is_cached_goes_on_after_a_reload(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path, client_pages: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    page = tab(device, client_shop)
    open_client(page, client_shop)
    sync(page)
    page.evaluate("shelf.client.productList()")
    device.route(f"**{PAGE}**", lambda route: route.fulfill(path=client_pages / route.request.url.rpartition("/")[2]))
    client_shop.stop()
    page.reload()
    open_client(page, client_shop)
    state = sync(page)
    assert (state["name"], state["words"]) == ("offline", "No connection. Version 1.0.0 goes on.")
    page.evaluate("shelf.load()")
    assert recognise(page)["version"] == "1.0.0"
    assert page.evaluate("shelf.client.productList().then(({ products }) => products.length)") == 3
    client_shop.start()
    assert sync(page)["name"] == "ready"


def test_a_connection_that_breaks_in_a_shard_is_taken_up_where_it_broke(
    device: BrowserContext, client_shop: ClientShop, big_bundle: Path
) -> None:
    version = client_shop.publish(big_bundle)
    cuts = itertools.count()
    client_shop.network.trouble = only("/blobs/", lambda: Fault(cut_after=900_000) if next(cuts) < 3 else None)
    page = tab(device, client_shop)
    open_client(page, client_shop)
    state = sync(page)
    assert (state["name"], state["version"]) == ("ready", version)
    backbone = [one for one in client_shop.network.seen("/blobs/") if one.sent_bytes > 200_000 or one.range]
    assert [one.status for one in backbone] == [200, 206, 206, 206]
    starts = [int((one.range or "bytes=0-")[6:-1]) for one in backbone]
    assert starts == sorted(starts)
    assert starts[1] > 0
    whole = sum(blob["size"] for blob in json.loads((big_bundle / "manifest.json").read_bytes())["blobs"])
    assert page.evaluate("shelf.states.at(-2).receivedBytes") == whole


def test_what_arrived_before_the_page_was_closed_is_not_asked_for_again(
    device: BrowserContext, client_shop: ClientShop, big_bundle: Path
) -> None:
    client_shop.publish(big_bundle)
    client_shop.network.trouble = only("/blobs/", lambda: Fault(cut_after=900_000))
    page = tab(device, client_shop)
    open_client(page, client_shop)
    until(page, "shelf.states.some(({ receivedBytes }) => receivedBytes > 1_500_000)")
    page.close()
    wait_for(lambda: client_shop.network.running == 0)
    client_shop.network.trouble = lambda _scope: None
    client_shop.network.log.clear()
    page = tab(device, client_shop)
    open_client(page, client_shop)
    assert sync(page)["name"] == "ready"
    first = next(one for one in client_shop.network.seen("/blobs/"))
    assert int((first.range or "bytes=0-")[6:-1]) > 1_000_000


def test_a_byte_that_changes_on_the_way_is_refused_and_the_last_good_version_answers(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    for part in ("/blobs/", "manifest.json", "metadata.json", "model.shards.json"):
        client_shop.network.trouble = only(part, lambda: Fault(flip=10))
        state = sync(page)
        assert (state["name"], state["version"]) == ("error", "1.0.0"), part
        assert "damaged on its way" in state["words"]
        assert recognise(page)["version"] == "1.0.0"
    client_shop.network.trouble = lambda _scope: None
    assert sync(page)["version"] == "1.0.1"
    assert recognise(page)["version"] == "1.0.1"


def test_a_config_that_is_older_than_one_that_was_seen_is_refused(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    old = page.request.get(
        f"{client_shop.address}/v1/channels/{CHANNEL}/model-config", headers={"x-app-platform": "web"}
    )
    body = old.text()
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    assert sync(page)["version"] == "1.0.1"
    device.route("**/model-config", lambda route: route.fulfill(body=body))
    state = sync(page)
    assert (state["name"], state["version"]) == ("error", "1.0.1")
    assert "older than before" in state["words"]


def test_a_config_that_nobody_trusted_has_signed_is_refused(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    page = tab(device, client_shop)
    open_client(page, client_shop, trustedKeys=["0" * 64])
    state = sync(page)
    assert (state["name"], state["version"], state["retryable"]) == ("error", None, False)
    assert "log in again with a new pairing link" in state["words"]
    assert client_shop.network.seen("/assets/") == []


def test_a_publish_during_a_download_never_mixes_two_versions(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    arrived, go_on = threading.Event(), threading.Event()

    def hold(scope: Scope) -> Fault | None:
        if "/blobs/" not in scope["path"]:
            return None
        arrived.set()
        return Fault(hold=go_on)

    client_shop.network.trouble = hold
    page = tab(device, client_shop)
    open_client(page, client_shop)
    assert arrived.wait(30)
    client_shop.publish(with_labels(tiny(tmp_path, "1.0.1", seed=1), ["ця груша", "birne", "apple"]))
    go_on.set()
    client_shop.network.trouble = lambda _scope: None
    assert sync(page)["version"] == "1.0.0"  # which the page began with
    page.evaluate("shelf.load()")
    first = recognise(page)
    assert sync(page)["version"] == "1.0.1"
    second = recognise(page)
    assert (first["version"], second["version"]) == ("1.0.0", "1.0.1")
    assert page.evaluate("shelf.recogniser.metadata.labels") == ["ця груша", "birne", "apple"]


def test_a_version_whose_labels_are_not_its_outputs_is_refused_once_and_for_all(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.publish(with_labels(tiny(tmp_path, "1.0.1", seed=1), ["apple", "birne", "ця груша", "plum"]))
    state = sync(page)
    assert (state["name"], state["version"], state["retryable"]) == ("error", "1.0.0", False)
    assert recognise(page)["version"] == "1.0.0"
    client_shop.network.log.clear()
    sync(page)
    assert client_shop.network.seen("/assets/") == []
    client_shop.publish(tiny(tmp_path, "1.0.2", seed=2))
    assert sync(page)["version"] == "1.0.2"


def test_a_version_that_tensorflow_cannot_build_is_refused_and_the_last_good_one_answers(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    bundle = tiny(tmp_path, "1.0.1", seed=1)
    model = (bundle / "model.shards.json").read_text().replace('"DepthwiseConv2D"', '"NobodyKnowsThis"')
    (bundle / "model.shards.json").write_text(model)
    client_shop.publish(restamped(bundle))
    state = sync(page)
    assert (state["name"], state["version"]) == ("error", "1.0.0")
    assert "trained again" in state["words"]
    assert recognise(page)["version"] == "1.0.0"


def test_a_device_without_room_says_so_and_goes_on_with_what_it_has(
    device: BrowserContext, client_shop: ClientShop, big_bundle: Path, tmp_path: Path
) -> None:
    page = tab(device, client_shop)
    give_room(device, page, client_shop, 1_000_000)
    client_shop.publish(tiny(tmp_path, "0.9.0"))
    open_client(page, client_shop)
    assert sync(page)["version"] == "0.9.0"
    page.evaluate("shelf.load()")
    version = client_shop.publish(big_bundle)
    state = sync(page)
    assert (state["name"], state["version"], state["retryable"]) == ("error", "0.9.0", True)
    assert state["words"] == "There is no room left on this device: free some, then try again. Version 0.9.0 goes on."
    assert recognise(page)["version"] == "0.9.0"
    give_room(device, page, client_shop, 100_000_000)
    assert sync(page)["version"] == version


def test_the_previous_version_makes_room_for_the_next(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = tab(device, client_shop)
    give_room(device, page, client_shop, 1_300_000)
    for number in (1, 2, 3):  # of 360 KB each, and of 300 KB more while a shard is put together
        client_shop.publish(wide(tmp_path, f"1.0.{number}", number, products=11_000))
        if number == 1:
            open_client(page, client_shop)
        # The browser gives back what was removed some moments later: until then, there is still no room.
        until(page, f"shelf.client.sync().then(() => shelf.client.state.version === '1.0.{number}')")
    page.evaluate("shelf.load()")
    assert recognise(page)["version"] == "1.0.3"


def give_room(device: BrowserContext, page: Page, shop: ClientShop, size_bytes: int) -> None:
    """Let the browser keep that much of the shop's pages, before it has looked how much there is."""
    wanted = {"origin": shop.address, "quotaSize": size_bytes}
    device.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", wanted)


def test_two_tabs_download_once_and_both_use_what_came(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    first, second = tab(device, client_shop), tab(device, client_shop)
    for page in (first, second):
        open_client(page, client_shop)
    for page in (first, second):
        assert sync(page)["version"] == "1.0.0"
    for name in ("manifest.json", "metadata.json", "model.shards.json"):
        assert len(client_shop.network.seen(name)) == 1, name
    blobs = [one.path for one in client_shop.network.seen("/blobs/")]
    assert len(blobs) == len(set(blobs)) > 0
    for page in (first, second):
        page.evaluate("shelf.load()")
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    assert sync(first)["version"] == "1.0.1"
    until(second, "shelf.recogniser.version === '1.0.1'")
    assert recognise(second)["version"] == "1.0.1"
    assert len(client_shop.network.seen("manifest.json")) == 1


def test_after_a_retrain_of_81_products_the_same_backbone_is_not_downloaded_again(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, real(tmp_path, "1.0.0", seed=1))
    client_shop.publish(real(tmp_path, "1.0.1", seed=2))
    assert sync(page)["version"] == "1.0.1"
    assert sum(one.sent_bytes for one in client_shop.network.log) <= 120_000
    assert len(client_shop.network.seen("/blobs/")) == 1


def test_a_roll_back_downloads_nothing(device: BrowserContext, client_shop: ClientShop, tmp_path: Path) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    assert sync(page)["version"] == "1.0.1"
    client_shop.release("1.0.0")
    assert sync(page)["version"] == "1.0.0"
    assert recognise(page)["version"] == "1.0.0"
    assert client_shop.network.seen("/assets/") == []


def test_versions_change_while_pictures_are_recognised(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    page.evaluate(
        """() => {
          shelf.seen = []
          const again = async () => {
            while (!shelf.isDone) {
              const [one, other] = await Promise.all([shelf.recognise('red'), shelf.recognise('blue')])
              shelf.seen.push(one.version, other.version)
              await new Promise((resolve) => setTimeout(resolve))
            }
          }
          shelf.running = again()
        }"""
    )
    for number in (1, 2, 3):
        client_shop.publish(tiny(tmp_path, f"1.0.{number}", seed=number))
        sync(page)
    until(page, "shelf.seen.includes('1.0.3')")
    page.evaluate("shelf.isDone = true; shelf.running")
    seen = page.evaluate("shelf.seen")
    assert seen == sorted(seen)
    assert set(seen) <= {"1.0.0", "1.0.1", "1.0.2", "1.0.3"}
    assert page.evaluate("shelf.memory().numTensors") == weights_of(tmp_path / "bundle-1.0.3")


def test_a_thousand_recognitions_leave_no_memory_behind(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.1.0", seed=1), release=False)
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    client_shop.roll_out("1.1.0", shadow_mode=True, shadow_percentage=100)
    page = tab(device, client_shop)
    open_client(page, client_shop)
    sync(page)
    page.evaluate("shelf.load()")
    before, after = page.evaluate(
        """async () => {
          await shelf.recognise('red')
          const { numTensors, numBytes } = shelf.memory()
          for (let number = 0; number < 1000; number += 1) await shelf.recognise(['red', 'blue'][number % 2])
          await new Promise((resolve) => requestIdleCallback(resolve))
          const now = shelf.memory()
          return [[numTensors, numBytes], [now.numTensors, now.numBytes]]
        }"""
    )
    assert before == after
    assert before[0] == 2 * weights_of(tmp_path / "bundle-1.0.0")
