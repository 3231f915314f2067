"""Who may use the till, and who can: login, secure pages, keyboard, screen reader; installing it, and its updates."""

from __future__ import annotations

import json
import re
import shutil
import threading
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from shelfsight.web import static
from tests.e2e.browser import ROOT
from tests.e2e.client_shop import Fault
from tests.e2e.till.conftest import INSECURE_HOST
from tests.e2e.till.device import (
    check_out,
    is_booked,
    is_kept,
    is_ready,
    lines,
    offers,
    open_till,
    ready_till,
    scan,
    show,
)
from tests.e2e.till.shop import BARCODES, CHANNEL, EMPTY_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

    from tests.e2e.till.shop import TillShop

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SIZES: dict[str, ViewportSize] = {
    "phone": {"width": 360, "height": 740},
    "laptop": {"width": 1440, "height": 900},
}
NO_CODE = "0" * 64
NO_TOKEN = f"ck_{'0' * 32}"


def till(device: BrowserContext, shop: TillShop, channel: str = CHANNEL) -> Page:
    """Return a tab with the till's page, without a link."""
    page = device.new_page()
    page.goto(f"{shop.address}/till/{channel}")
    return page


def test_a_pairing_link_logs_in_once_and_leaves_no_secret_in_the_address(
    device: BrowserContext, shop: TillShop
) -> None:
    page = open_till(device, shop)
    is_ready(page)
    assert page.url == f"{shop.address}/till/{CHANNEL}"
    page.reload()
    is_ready(page)
    assert not any(shop.token() in seen.path for seen in shop.network.log)
    page.go_back()
    assert shop.token() not in page.url


def test_without_a_link_the_page_asks_for_one_and_takes_it_as_text(device: BrowserContext, shop: TillShop) -> None:
    page = till(device, shop)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.get_by_label("Pairing link").fill("my shop")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#login-problem")).to_contain_text("This is no pairing link")
    page.get_by_label("Pairing link").fill(shop.link())
    page.keyboard.press("Enter")
    is_ready(page)


def test_a_link_of_another_channel_leads_to_that_one(device: BrowserContext, shop: TillShop) -> None:
    page = till(device, shop)
    page.get_by_label("Pairing link").fill(shop.link(EMPTY_CHANNEL))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=EMPTY_CHANNEL)).to_be_visible()
    assert page.url == f"{shop.address}/till/{EMPTY_CHANNEL}"


def test_a_link_that_was_cut_off_says_what_to_do(device: BrowserContext, shop: TillShop) -> None:
    page = device.new_page()
    page.goto(shop.link()[:-3])
    expect(page.locator("#login-problem")).to_contain_text("copy the link again")
    assert "#" not in page.url


@pytest.mark.parametrize("channel", [CHANNEL, "nope"])
def test_a_link_that_the_server_does_not_take_logs_nobody_in(
    device: BrowserContext, shop: TillShop, channel: str
) -> None:
    page = device.new_page()
    page.goto(f"{shop.address}/till/{channel}#token={NO_TOKEN}&keys={NO_CODE}")
    expect(page.locator("#login-problem")).to_contain_text("This link is not valid (any more)")
    expect(page.locator("#login-problem")).to_contain_text(f"shelfsight channels pair {channel}")
    expect(page.get_by_text("Whether this server has such a shop")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_wrong_link_takes_the_place_of_no_good_one(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    page.goto(f"{shop.address}/till/{CHANNEL}#token={NO_TOKEN}&keys={NO_CODE}")
    expect(page.locator("#login-problem")).to_contain_text("This link is not valid (any more)")
    expect(page.locator("#login-told")).to_contain_text("This till stays logged in")
    page.reload()
    is_ready(page)


def test_a_link_opened_without_a_network_is_not_called_wrong(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    shop.stop()
    page.goto(shop.link())
    is_ready(page, "Offline")


def test_the_shop_has_its_name_everywhere_and_without_a_network_too(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    shop.rename("Maria’s corner shop")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Look for updates").click()
    expect(page.locator("#shop-facts")).to_contain_text("Maria’s corner shop")
    shop.stop()
    page.reload()
    expect(page.get_by_role("heading", name="Maria’s corner shop")).to_be_visible()
    assert page.title() == "Maria’s corner shop – Till"
    is_ready(page, "Offline")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Log out").click()
    page.locator("#ask-yes").click()
    expect(page.get_by_role("heading", name="Log in")).to_have_text("Log in")


def test_a_code_is_read_by_the_camera(device: BrowserContext, shop: TillShop) -> None:
    device.grant_permissions(["camera"])
    device.add_init_script(
        f"""globalThis.BarcodeDetector = class {{
          static getSupportedFormats = async () => ['qr_code']
          detect = async (video) => video.videoWidth > 0 ? [{{ rawValue: {json.dumps(shop.link())} }}] : []
        }}"""
    )
    page = till(device, shop)
    page.get_by_role("button", name="Scan the QR code").click()
    is_ready(page)
    assert page.evaluate("document.querySelector('#qr-video').srcObject") is None


def test_a_scanner_types_the_link(device: BrowserContext, shop: TillShop) -> None:
    page = till(device, shop)
    page.get_by_label("Pairing link").focus()
    scan(page, shop.link())
    is_ready(page)


def test_a_link_opened_in_a_tab_that_shows_the_till_logs_in_anew(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    old = shop.token()
    shop.rotate_token()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Look for updates").click()
    page.locator("#close-settings").click()
    expect(page.get_by_role("button", name="Log in again")).to_be_visible()
    show(page, "banana")  # what is here goes on
    expect(offers(page).first).to_contain_text("Bananas")
    page.goto(shop.link())
    expect(page.get_by_role("button", name="Log in again")).to_be_hidden()
    is_ready(page)
    stored = page.evaluate("JSON.stringify(localStorage)")
    assert (old in stored, shop.token() in stored) == (False, True)


def test_a_link_with_a_key_that_is_not_the_servers_trusts_nothing(device: BrowserContext, shop: TillShop) -> None:
    page = device.new_page()
    page.goto(re.sub("keys=.*", f"keys={NO_CODE}", shop.link()))
    expect(page.locator("#lacking-words")).to_contain_text("The server has a key that this device does not know")
    assert shop.network.seen("/blobs/") == []
    page.locator("#log-in-instead").click()
    page.get_by_role("textbox", name="Pairing link").fill(shop.link())
    page.keyboard.press("Enter")
    is_ready(page)


def test_a_logout_in_one_tab_is_one_in_all(device: BrowserContext, shop: TillShop) -> None:
    first = ready_till(device, shop)
    second = till(device, shop)
    is_ready(second)
    first.get_by_role("button", name="Settings").click()
    first.get_by_role("button", name="Log out").click()
    first.locator("#ask-yes").click()
    expect(first.locator("#login-told")).to_contain_text("This device is logged out")
    expect(second.locator("#login-told")).to_contain_text("logged out in another tab")


def test_a_page_that_is_not_secure_says_what_to_do(device: BrowserContext, shop: TillShop) -> None:
    page = device.new_page()
    page.goto(shop.link(address=f"http://{INSECURE_HOST}:{shop.port}"))
    assert page.evaluate("isSecureContext") is False
    expect(page.get_by_role("heading", name="This address is not secure enough")).to_be_visible()
    expect(page.get_by_text("shelfsight serve --tls")).to_be_visible()
    assert shop.token() not in page.url
    secure = page.get_by_role("link", name="Try https at this address").get_attribute("href")
    assert secure == shop.link(address=f"https://{INSECURE_HOST}:{shop.port}")
    page.get_by_role("link", name="How to open the till over https").click()
    expect(page.get_by_role("heading", name="Open the till over https")).to_be_visible()


def test_it_can_be_installed(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    session = device.new_cdp_session(page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors] in ([], ["in-incognito"])  # where no page can be, of whichever kind
    assert session.send("Page.getAppManifest")["errors"] == []


def test_an_update_waits_until_somebody_wants_it(
    device: BrowserContext, shop: TillShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ready_till(device, shop)
    page.reload()  # from here on the service worker answers
    is_ready(page)
    scan(page, BARCODES["lemon"])
    before = page.evaluate("document.body.dataset.build")
    monkeypatch.setattr(static, "DIST", _newer(tmp_path, before))
    page.evaluate("navigator.serviceWorker.ready.then((registration) => registration.update())")
    expect(page.get_by_text("Update ready", exact=True)).to_be_visible()
    assert page.evaluate("document.body.dataset.build") == before
    page.get_by_role("button", name="Use it now").click()
    expect(page.locator("body")).to_have_attribute("data-build", "0123456789ab")
    is_ready(page)
    expect(lines(page)).to_have_count(1)
    shop.stop()
    page.reload()
    expect(page.locator("body")).to_have_attribute("data-build", "0123456789ab")


def test_an_update_that_arrives_in_part_is_none(
    device: BrowserContext, shop: TillShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ready_till(device, shop)
    before = page.evaluate("document.body.dataset.build")
    newer = _newer(tmp_path, before)
    (newer / "till.html").write_text((newer / "till.html").read_text().replace("0123456789ab", "fedcba987654"))
    monkeypatch.setattr(static, "DIST", newer)
    page.evaluate(
        """async () => {
          const registration = await navigator.serviceWorker.ready
          const heard = (target, kind) => new Promise((done) => target.addEventListener(kind, done, { once: true }))
          const found = heard(registration, 'updatefound')
          await registration.update().catch(() => {})
          await found
          const { installing } = registration
          while (installing && installing.state !== 'redundant') await heard(installing, 'statechange')
        }"""
    )
    shop.stop()
    page.reload()
    expect(page.locator("body")).to_have_attribute("data-build", before)
    is_ready(page, "Offline")


def test_a_sale_by_keyboard_alone(device: BrowserContext, shop: TillShop) -> None:
    page = ready_till(device, shop)
    keys = page.keyboard
    keys.press("/")
    keys.type("oat", delay=150)
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(lines(page)).to_have_count(1)
    expect(page.get_by_role("button", name="Search products")).to_be_focused()
    _tab_to(page, "One more Oatly oat drink")
    keys.press("Enter")
    _tab_to(page, "Quantity of Oatly oat drink", backwards=True)
    keys.type("3", delay=150)
    keys.press("Enter")
    expect(page.get_by_label("Quantity of Oatly oat drink")).to_have_value("3")
    _tab_to(page, "Check out")
    keys.press("Enter")
    is_booked(page)
    [sale] = shop.sales()
    assert [(line.product_id, line.quantity) for line in sale.lines] == [("oatly-oat-milk", Decimal(3))]


def test_an_answer_is_taken_by_keyboard_and_dialogs_give_the_focus_back(
    device: BrowserContext, shop: TillShop
) -> None:
    page = ready_till(device, shop)
    show(page, "pineapple")
    _tab_to(page, "Add Pineapple")
    page.keyboard.press("Enter")
    expect(lines(page)).to_have_count(1)
    _tab_to(page, "Remove Pineapple")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Quantity of Pineapple")).to_be_focused()
    _tab_to(page, "Settings", backwards=True)
    page.keyboard.press("Enter")
    expect(page.locator("#settings")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Settings")).to_be_focused()


def test_every_control_is_large_enough_for_a_finger(chromium: Browser, shop: TillShop) -> None:
    with chromium.new_context(viewport=SIZES["phone"], has_touch=True) as phone:
        page = ready_till(phone, shop)
        show(page, "pineapple")
        offers(page).first.click()
        for opener in (None, "#open-search", "#open-settings"):
            if opener:
                page.locator(opener).click()
            small = page.evaluate(
                """() => Array.from(document.querySelectorAll('button, input, a, [role=option]'))
                  .filter((node) => node.checkVisibility({ visibilityProperty: true }))
                  .map((node) => [node.id || node.className, node.getBoundingClientRect()])
                  .filter(([, { width, height }]) => width < 44 || height < 44)
                  .map(([name, { width, height }]) => `${name} ${width}x${height}`)"""
            )
            assert small == []
            page.keyboard.press("Escape")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == SIZES["phone"]["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious_in_any_state(chromium: Browser, shop: TillShop, size: str, scheme: str) -> None:
    with _reader(chromium, size, scheme) as device:
        page = till(device, shop)
        _check(page, "login")
        page.get_by_label("Pairing link").fill("my shop")
        page.keyboard.press("Enter")
        _check(page, "login refused")
        for state, walk in STATES.items():
            walk(page, shop)
            _check(page, state)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_where_something_lacks(chromium: Browser, shop: TillShop, scheme: str) -> None:
    with _reader(chromium, "phone", scheme) as device:
        page = open_till(device, shop, EMPTY_CHANNEL)
        expect(page.locator("#status-words")).to_have_text("Without camera")
        _check(page, "no model")
        hold = threading.Event()
        shop.network.trouble = lambda scope: Fault(hold=hold, cut_after=9) if "/blobs/" in scope["path"] else None
        page.goto(shop.link())
        expect(page.locator("#lacking")).to_have_attribute("data-kind", "loading")
        _check(page, "downloading")
        shop.network.trouble = lambda scope: Fault(status=503) if "/blobs/" in scope["path"] else None
        hold.set()
        expect(page.get_by_role("button", name="Try again")).to_be_visible(timeout=60_000)
        _check(page, "error")
        page.goto(f"http://{INSECURE_HOST}:{shop.port}/till/{CHANNEL}")
        _check(page, "insecure")
        page.get_by_role("link", name="How to open the till over https").click()
        expect(page.get_by_role("heading", name="Open the till over https")).to_be_visible()
        _check(page, "about https")


def _ready(page: Page, shop: TillShop) -> None:
    page.get_by_label("Pairing link").fill(shop.link())
    page.keyboard.press("Enter")
    is_ready(page)
    is_kept(page)


def _full(page: Page, _shop: TillShop) -> None:
    show(page, "pineapple")
    offers(page).first.click()
    scan(page, BARCODES["lemon"])
    scan(page, "GIFT-1")
    page.get_by_role("button", name="Remove Lemon").click()


def _found(page: Page, _shop: TillShop) -> None:
    page.get_by_role("button", name="Search products").click()
    page.locator("#query").fill("a")
    expect(page.get_by_role("option").first).to_be_visible()


def _nothing_found(page: Page, _shop: TillShop) -> None:
    page.locator("#query").fill("caviar")


def _settings(page: Page, _shop: TillShop) -> None:
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    page.get_by_text("Diagnostics", exact=True).click()
    expect(page.locator("#diagnostics")).not_to_be_empty()


def _asked(page: Page, _shop: TillShop) -> None:
    page.get_by_role("button", name="Log out").click()


def _offline(page: Page, shop: TillShop) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    shop.stop()
    check_out(page)
    expect(page.locator("#queue")).to_be_visible()


def _refused(page: Page, shop: TillShop) -> None:
    shop.remove("pineapple")
    shop.start()
    page.locator("#queue").click()
    expect(page.locator(".refusal")).to_be_visible()


def _unknown(page: Page, _shop: TillShop) -> None:
    page.keyboard.press("Escape")
    show(page, "watermelon")


def _not_found(page: Page, _shop: TillShop) -> None:
    scan(page, "9999999999999")
    expect(page.locator("#toast")).to_be_visible()


STATES: dict[str, Callable[[Page, TillShop], None]] = {
    "ready": _ready,
    "basket": _full,
    "search": _found,
    "nothing found": _nothing_found,
    "settings": _settings,
    "question": _asked,
    "sold offline": _offline,
    "refused": _refused,
    "unknown": _unknown,
    "unknown code": _not_found,
}


@contextmanager
def _reader(chromium: Browser, size: str, scheme: str) -> Iterator[BrowserContext]:
    """Yield a device with axe on all of its pages."""
    with chromium.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce") as device:  # type: ignore[arg-type] # one of its literals
        device.add_init_script(path=AXE)
        yield device


def _check(page: Page, state: str) -> None:
    found = page.evaluate(
        """async () => {
          const { violations } = await axe.run(document, { resultTypes: ['violations'] })
          const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
          return bad.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`))
        }"""
    )
    assert found == [], state


def _tab_to(page: Page, name: str, *, backwards: bool = False) -> None:
    """Press Tab until the focus is on what is called so, which must be seen to be there."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        focused = page.evaluate(
            """() => {
              const { activeElement } = document
              const label = activeElement.getAttribute('aria-label') ?? activeElement.textContent.trim()
              return [label, getComputedStyle(activeElement).outlineStyle]
            }"""
        )
        if focused[0].startswith(name):
            assert focused[1] == "solid"
            return
    raise AssertionError(f"Tab does not lead to {name}")


def _newer(tmp_path: Path, build: str) -> Path:
    """Return a later build of the page, which differs in nothing but its number."""
    folder = tmp_path / "dist"
    shutil.copytree(static.DIST, folder)
    for name in ("till.html", "service-worker.js"):
        (folder / name).write_text((folder / name).read_text().replace(build, "0123456789ab"))
    (folder / "service-worker.js.gz").unlink()
    return folder
