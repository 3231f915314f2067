"""What the browser client reports, rollouts, and on what it computes: in Chromium, against a real server."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.browser import missing
from tests.e2e.client_shop import CHANNEL, PAGE, Fault, only, tiny
from tests.e2e.client_tab import open_client, ready_with, recognise, sync, tab, until, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.client_shop import ClientShop

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

MACHINE = "TensorFlow.js 4.22.0, A graphics card"
CARD = """
const getContext = HTMLCanvasElement.prototype.getContext
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  return getContext.call(this, kind, { ...options, failIfMajorPerformanceCaveat: false })
}
const getParameter = WebGL2RenderingContext.prototype.getParameter
WebGL2RenderingContext.prototype.getParameter = function (name) {
  const unmaskedRenderer = 0x9246
  return name === unmaskedRenderer ? 'A graphics card' : getParameter.call(this, name)
}
const card = { draws: 0, isLost: false, slowedMs: 0 }
const drawElements = WebGL2RenderingContext.prototype.drawElements
WebGL2RenderingContext.prototype.drawElements = function (...parameters) {
  card.draws += 1
  if (card.isLost) throw new Error('the card is gone')
  for (const untilMs = performance.now() + card.slowedMs; performance.now() < untilMs; );
  return drawElements.apply(this, parameters)
}
globalThis.card = card
"""
"""What makes the page take WebGL on the processor for a card, which can be slowed down and taken out."""


def test_answers_corrections_and_failures_reach_the_server_once_each(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    answer = recognise(page)
    best = answer["predictions"][0]
    page.evaluate(
        "([from, confidence]) => shelf.client.correct({ from, to: 'birne', confidence })", list(best.values())
    )
    client_shop.network.trouble = only("/blobs/", lambda: Fault(flip=3))
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    sync(page)
    page.evaluate("shelf.client.sendEvents()")
    page.evaluate("shelf.client.sendEvents()")
    events = {row["kind"]: row for row in reported(client_shop)}
    assert sorted(row["kind"] for row in reported(client_shop)) == [
        "cache_hit",
        "checksum_failure",
        "correction",
        "prediction",
    ]
    assert events["prediction"]["product_id"] == best["product"]
    assert events["prediction"]["confidence"] == pytest.approx(best["confidence"])
    assert (events["correction"]["product_id"], events["correction"]["correct_product_id"]) == (
        best["product"],
        "birne",
    )
    assert events["prediction"]["version"] == "1.0.0"
    assert events["checksum_failure"]["version"] == "1.0.1"


def test_the_id_of_the_device_is_never_sent_only_its_hmac_of_the_release(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    sent: list[str] = []
    device.on("request", lambda request: sent.append(f"{request.url} {request.headers} {request.post_data}"))
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    client_shop.publish(tiny(tmp_path, "1.1.0", seed=1), release=False)
    client_shop.roll_out("1.1.0", rollout_percentage=50)
    page = tab(device, client_shop)
    open_client(page, client_shop)
    sync(page)
    page.evaluate("shelf.load()")
    recognise(page)
    page.evaluate("shelf.client.sendEvents()")
    device_id = stored_state(page, "device")
    assert len(device_id) == 36
    assert not any(device_id in text for text in sent)
    [rollout] = client_shop.rows("SELECT salt FROM rollouts WHERE ended_at IS NULL")
    expected = hmac.new(rollout["salt"].encode(), device_id.encode(), hashlib.sha256).hexdigest()
    assert {row["device"] for row in reported(client_shop)} == {expected}


def test_a_camera_at_four_pictures_a_second_reports_a_product_once(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    page.evaluate(
        """async () => {
          for (let number = 0; number < 40; number += 1) await shelf.recognise('red', { isLive: true })
        }"""
    )
    page.evaluate("shelf.client.sendEvents()")
    assert [row["kind"] for row in reported(client_shop)].count("prediction") == 1


def test_a_page_that_is_closed_has_sent_what_it_saw_last(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    recognise(page)
    until(page, "shelf.client.diagnostics().then(({ events }) => events.waiting >= 2)")
    page.goto("about:blank")
    wait_for(lambda: len(reported(client_shop)) == 2)
    assert {row["kind"] for row in reported(client_shop)} == {"cache_hit", "prediction"}


def test_a_candidate_answers_on_devices_of_its_share_and_goes_when_it_is_stopped(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.publish(tiny(tmp_path, "1.1.0", seed=1), release=False)
    client_shop.roll_out("1.1.0", rollout_percentage=100)
    assert sync(page)["version"] == "1.1.0"
    assert recognise(page)["version"] == "1.1.0"
    client_shop.roll_out("1.1.0", rollout_percentage=0)
    client_shop.network.log.clear()
    assert sync(page)["version"] == "1.0.0"
    assert recognise(page)["version"] == "1.0.0"
    assert client_shop.network.seen("/assets/") == []


def test_a_shadow_answers_beside_the_active_version_and_nobody_sees_it(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.publish(tiny(tmp_path, "1.1.0", seed=1), release=False)
    client_shop.roll_out("1.1.0", shadow_mode=True, shadow_percentage=100)
    assert sync(page)["version"] == "1.0.0"
    assert page.evaluate("shelf.client.diagnostics().then(({ shadowVersion }) => shadowVersion)") == "1.1.0"
    shown = recognise(page)
    assert shown["version"] == "1.0.0"
    until(page, "shelf.client.diagnostics().then(({ events }) => events.waiting >= 3)")
    page.evaluate("shelf.client.sendEvents()")
    [shadow] = [row for row in reported(client_shop) if row["kind"] == "shadow"]
    assert shadow["version"] == "1.1.0"
    assert shadow["agrees"] is not None
    assert len({row["device"] for row in reported(client_shop)}) == 2  # the shadow has lots of its own


def test_an_answer_that_names_a_higher_sequence_is_followed(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    recognise(page)
    page.evaluate("shelf.client.sendEvents()")
    until(page, "shelf.recogniser.version === '1.0.1'")


def test_half_an_hour_later_it_looks_by_itself(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    page = device.new_page()
    page.clock.install()
    page.goto(f"{client_shop.address}{PAGE}index.html")
    open_client(page, client_shop)
    sync(page)
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    page.clock.fast_forward("26:00")
    assert page.evaluate("shelf.client.state.version") == "1.0.0"
    page.clock.fast_forward("08:00")
    until(page, "shelf.client.state.version === '1.0.1'")


def test_when_the_network_is_back_it_looks_at_once(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    page = tab(device, client_shop)
    open_client(page, client_shop)
    sync(page)
    device.set_offline(True)
    for _ in range(8):  # after which it would wait for minutes
        assert sync(page)["name"] == "offline"
    client_shop.publish(tiny(tmp_path, "1.0.1", seed=1))
    device.set_offline(False)
    until(page, "shelf.client.state.version === '1.0.1'")


def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    client_shop.network.trouble = only("model-config", lambda: Fault(status=429, headers=((b"retry-after", b"600"),)))
    page = device.new_page()
    page.clock.install()
    page.goto(f"{client_shop.address}{PAGE}index.html")
    open_client(page, client_shop)
    until(page, "shelf.client.state.name === 'error'")
    client_shop.network.trouble = lambda _scope: None
    asked = len(client_shop.network.seen("model-config"))
    page.clock.fast_forward("09:50")
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    assert len(client_shop.network.seen("model-config")) == asked
    page.clock.fast_forward("02:00")
    until(page, "shelf.client.state.version === '1.0.0'")


def test_a_private_channel_gives_its_versions_to_its_token_alone(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    with client_shop.database.write() as tx:
        tx.exec_driver_sql(f"UPDATE channels SET visibility = 'private' WHERE id = '{CHANNEL}'")
    page = tab(device, client_shop)
    asked = f"fetch('/v1/channels/{CHANNEL}/model-config', {{ cache: 'no-store' }})"
    until(page, f"{asked}.then(({{ status }}) => status === 401)")
    open_client(page, client_shop, token=None)
    state = sync(page)
    assert (state["name"], state["retryable"]) == ("error", False)
    assert "log in again" in state["words"]
    page.evaluate("shelf.client.close()")
    open_client(page, client_shop)
    assert sync(page)["version"] == "1.0.0"


def test_a_page_of_another_origin_gets_all_that_the_server_has(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    cuts = iter([Fault(cut_after=500)])
    client_shop.network.trouble = only("/blobs/", lambda: next(cuts, None))
    client_shop.network.policy = f"default-src 'self' 'wasm-unsafe-eval'; connect-src 'self' {client_shop.address}"
    page = device.new_page()
    page.goto(f"{client_shop.address.replace('127.0.0.1', 'localhost')}{PAGE}index.html")
    open_client(page, client_shop, serverUrl=client_shop.address)
    assert sync(page) == {"name": "ready", "words": "Ready.", "version": "1.0.0"}
    assert [one.status for one in client_shop.network.seen("/blobs/")].count(206) == 1
    page.evaluate("shelf.load()")
    recognise(page)
    page.evaluate("shelf.client.sendEvents()")
    assert {row["kind"] for row in reported(client_shop)} >= {"prediction"}
    assert page.evaluate("shelf.client.productList().then(({ products }) => products.length)") == 3
    page.evaluate("shelf.client.salesQueue.put({ lines: [{ productId: 'apple', quantity: 1 }] })")
    assert page.evaluate("shelf.client.salesQueue.send()")["words"] == "All sales are sent."


def test_a_graphics_card_that_is_slower_than_the_processor_is_not_used_and_not_measured_again(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    device.add_init_script(f"{CARD}card.slowedMs = 20")
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    assert page.evaluate("shelf.recogniser.backend") == "wasm"
    assert page.evaluate("card.draws") > 0
    assert stored_state(page, "backend") == {"backend": "wasm", "machine": MACHINE}
    page.reload()
    open_client(page, client_shop)
    page.evaluate("shelf.load()")
    assert recognise(page)["version"] == "1.0.0"
    assert page.evaluate("card.draws") == 0


def test_a_graphics_card_that_gives_up_is_replaced_by_the_processor(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    device.add_init_script(CARD)
    client_shop.publish(tiny(tmp_path, "1.0.0"))
    page = tab(device, client_shop)
    open_client(page, client_shop)
    put_state(page, "backend", {"backend": "webgl", "machine": MACHINE})
    sync(page)
    page.evaluate("shelf.load()")
    assert page.evaluate("shelf.recogniser.backend") == "webgl"
    on_card = recognise(page)["predictions"]
    page.evaluate("card.isLost = true")
    on_processor = recognise(page)["predictions"]
    assert page.evaluate("shelf.recogniser.backend") == "wasm"
    assert [one["product"] for one in on_card] == [one["product"] for one in on_processor]


def test_what_the_browser_has_removed_is_downloaded_again(
    device: BrowserContext, client_shop: ClientShop, tmp_path: Path
) -> None:
    page = ready_with(device, client_shop, tiny(tmp_path, "1.0.0"))
    page.evaluate("shelf.client.close()")
    page.evaluate("shelf.remove('shards')")
    open_client(page, client_shop)
    until(page, "shelf.load().then(() => true, () => false)")
    assert recognise(page)["version"] == "1.0.0"


def reported(shop: ClientShop) -> list[dict[str, Any]]:
    """Return the events that the server has, in no order."""
    return shop.rows("SELECT * FROM events")


def stored_state(page: Page, key: str) -> Any:
    """Return a single value that the client keeps."""
    return page.evaluate("key => shelf.state(key)", key)


def put_state(page: Page, key: str, value: Any) -> None:
    """Change a single value that the client keeps."""
    page.evaluate("([key, value]) => shelf.putState(key, value)", [key, value])
