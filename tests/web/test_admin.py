"""The pages of the administration: without JavaScript, and out of reach of other sites."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from shelfsight.access import audit
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.catalog.rules import Image, ProductDetails, ReleasePolicy
from shelfsight.catalog.store import channels, images, products
from shelfsight.database import tables
from shelfsight.jobs import store, workers
from shelfsight.jobs.trainings import Reason, TrainingState
from shelfsight.registry.publish import Order, Registry, publish
from tests.tiny import write_tiny_bundle
from tests.web.conftest import MARIA, NOW, PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

EVIL = "<script>alert(1)</script>\"'&"
PAGE = "/admin/channels/T_1"


def fill(database: Database, *, count: int, photos: int) -> None:
    with database.write() as tx:
        for number in range(count):
            products.add(tx, "T_1", f"p{number}", ProductDetails(name=f"{EVIL} {number}"), MARIA)
            pictures = [_photo(f"p{number}", 100 * number + photo) for photo in range(photos)]
            images.add(tx, "T_1", f"p{number}", pictures, MARIA)


def _photo(product: str, number: int) -> Image:
    return Image(
        product_id=product,
        sha256=f"{number:064x}",
        media_type="image/jpeg",
        size_bytes=1,
        width=640,
        height=480,
        created_at=NOW,
    )


def asked(database: Database, *, at: datetime = NOW, begins: bool = False, by: str = "admin:anna") -> int:
    with database.write() as tx:
        number = store.request(tx, "T_1", reason=Reason.PERSON, requested_by=by, now=at).id
        if begins:
            store.begin(tx, number, at)
    return number


def ended(database: Database, state: TrainingState, error: str | None = None) -> int:
    number = asked(database, begins=True)
    with database.write() as tx:
        store.end(tx, number, state, error=error, now=NOW + timedelta(seconds=30))
    return number


def published(database: Database, services: Any, tmp_path: Path, release: ReleasePolicy | None = None) -> int:
    number = asked(database, begins=True)
    registry = Registry(database=database, storage=services.storage)
    bundle = write_tiny_bundle(tmp_path / f"bundle-{number}", seed=number)
    publish(registry, Order(folder=bundle, channel="T_1", training=number, release=release, actor="admin:anna"))
    with database.write() as tx:
        store.note_gate(tx, number, "It is clearly worse.", NOW)
        store.end(tx, number, TrainingState.READY, now=NOW)
    return number


def outcome(client: Client) -> str:
    """Return what the page of the channel says, as somebody hears it."""
    page = client.get(PAGE)
    assert page.status_code == 200
    found = re.search(r'<p class="outcome \w+" id="outcome" role="status">(.*?)</p>', page.text)
    assert found, page.text
    return found[1]


def trainings(database: Database) -> list[tuple[str, str, bool]]:
    with database.read() as tx:
        found, _ = store.page(tx, "T_1", limit=100)
    return [(one.status, one.requested_by, one.forced) for one in found]


def audited(database: Database, action: str) -> list[audit.AuditEntry]:
    with database.read() as tx:
        return [one for one in audit.list_entries(tx, limit=100) if one.action == action]


@pytest.mark.parametrize("path", ["/admin", PAGE, "/admin/channels/T_9"])
def test_who_is_not_logged_in_logs_in_and_comes_back(stranger: Client, path: str) -> None:
    sent = stranger.get(path)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/login?next={path}")
    form = stranger.get(sent.headers["location"])
    assert (form.status_code, f'name="next" value="{path}"' in form.text) == (200, True)
    done = stranger.post("/login", data={"name": " anna ", "password": PASSWORD, "next": path})
    assert (done.status_code, done.headers["location"]) == (303, path)
    cookie = done.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert stranger.get(path).status_code == (404 if path.endswith("T_9") else 200)


@pytest.mark.parametrize(
    "path",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example"),
        *("javascript:alert(1)", "admin", "", "/\n/evil.example", "/ok\r\nset-cookie: a=b", "/\u00a0"),
    ],
)
def test_a_login_leads_nowhere_else(stranger: Client, path: str) -> None:
    assert 'name="next" value="/admin"' in stranger.get("/login", params={"next": path}).text
    done = stranger.post("/login", data={"name": "anna", "password": PASSWORD, "next": path})
    assert (done.status_code, done.headers["location"]) == (303, "/admin")


def test_a_wrong_password_is_said_audited_and_bounded(stranger: Client, sqlite: Database) -> None:
    form = {"name": "anna", "password": "wrong", "next": PAGE}
    answer = stranger.post("/login", data=form)
    assert answer.status_code == 401
    assert "Name and password do not belong together: check both." in answer.text
    assert ('role="alert"' in answer.text, 'value="anna"' in answer.text, PAGE in answer.text) == (True,) * 3
    assert "set-cookie" not in answer.headers
    assert audited(sqlite, "request_refused")[0].details["path"] == "/login"
    tries = [stranger.post("/login", data=form) for _ in range(10)]
    assert (tries[-1].status_code, "Too many passwords were tried" in tries[-1].text) == (429, True)
    assert stranger.post("/login", data={**form, "password": PASSWORD}).status_code == 429


def test_nobody_is_logged_in_by_another_site(stranger: Client) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    answer = stranger.post("/login", data={"name": "anna", "password": PASSWORD}, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "A page of another site sent this form" in answer.text


def test_a_login_ends_when_it_is_to(browser: Client, sqlite: Database) -> None:
    session = browser.cookies["shelfsight_session"]
    left = browser.post("/logout")
    assert (left.status_code, left.headers["location"]) == (303, "/login")
    assert browser.get("/admin").status_code == 303
    stolen = {"cookie": f"shelfsight_session={session}"}
    assert browser.get("/admin", headers=stolen).headers["location"] == "/login?next=/admin"
    assert browser.post("/logout", headers=stolen).status_code == 303
    assert browser.post(f"{PAGE}/train", headers=stolen).headers["location"] == "/login?next=/admin"
    assert len(audited(sqlite, "session_ended")) == 1
    assert trainings(sqlite) == []


def test_a_token_is_no_administrator(stranger: Client, sqlite: Database) -> None:
    new = NewToken(name="test", scopes=["channel:T_1:write"])
    bearer = {"authorization": f"Bearer {create_token(sqlite, new, by=COMMAND_LINE).text}"}
    for answer in (stranger.get(PAGE, headers=bearer), stranger.post(f"{PAGE}/train", headers=bearer)):
        assert answer.status_code == 403
    assert trainings(sqlite) == []


def test_a_training_is_asked_for_and_cancelled_without_javascript(browser: Client, sqlite: Database) -> None:
    fill(sqlite, count=2, photos=1)
    assert f'<form method="post" action="{PAGE}/train">' in browser.get(PAGE).text
    sent = browser.post(f"{PAGE}/train")
    assert (sent.status_code, sent.headers["location"]) == (303, PAGE)
    assert trainings(sqlite) == [("queued", "admin:anna", False)]
    page = browser.get(PAGE).text
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert f'action="{PAGE}/train"' not in page
    cancel = re.search(rf'action="({PAGE}/trainings/\d+/cancel)"', page)
    assert cancel
    for _ in range(2):  # pressed twice
        assert browser.post(cancel[1]).headers["location"] == PAGE
    assert trainings(sqlite) == [("cancelled", "admin:anna", False)]
    assert outcome(browser) == "Cancelled."
    assert "http-equiv" not in browser.get(PAGE).text
    browser.post(f"{PAGE}/train", data={"force": "true"})
    assert trainings(sqlite)[0] == ("queued", "admin:anna", True)
    actions = ("training_requested", "training_cancelled")
    assert [[(one.actor, one.address) for one in audited(sqlite, action)] for action in actions] == [
        [("admin:anna", "192.0.2.1")] * 2,
        [("admin:anna", "192.0.2.1")],
    ]


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "", "origin": "https://evil.example"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
        ({"origin": "http://testserver"}, True),  # on plain HTTP browsers send nothing else
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
    ],
)
def test_another_site_cannot_press_the_buttons(
    browser: Client, sqlite: Database, headers: dict[str, str], allowed: bool
) -> None:
    waiting = asked(sqlite)
    del browser.headers["sec-fetch-site"]
    forms = (f"{PAGE}/trainings/{waiting}/cancel", f"{PAGE}/train", "/logout")
    answers = [browser.post(form, headers=headers).status_code for form in forms]
    assert answers == [303 if allowed else 403] * 3
    assert len(trainings(sqlite)) == (2 if allowed else 1)
    assert browser.get("/admin").status_code == (303 if allowed else 200)


def test_the_page_sends_its_forms_with_their_origin_and_loads_our_script_only(browser: Client) -> None:
    page = browser.get(PAGE)
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert all(part in policy for part in ("script-src 'self'", "form-action 'self'", "frame-ancestors 'none'"))
    assert re.findall(r"<script[^>]*>[^<]*", page.text) == ['<script type="module" src="/static/training.js">']
    assert not re.search(r" (style|on\w+)=", page.text)
    script = browser.get("/static/training.js")
    assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")


@pytest.mark.parametrize(
    ("count", "photos", "said"),
    [
        (0, 0, "Add two products or more, with photos."),
        (1, 3, "Add a second product with photos."),
        (2, 0, "Add photos to the products."),
        (2, 3, "Not trained yet."),
    ],
)
def test_a_new_channel_says_what_to_do(browser: Client, sqlite: Database, count: int, photos: int, said: str) -> None:
    fill(sqlite, count=count, photos=photos)
    assert outcome(browser) == said
    page = browser.get(PAGE).text
    for name, value in (("Products", count), ("Photos", count * photos), ("Live version", "none yet")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (TrainingState.IDLE, "Add a second product with photos.", "Add a second product with photos."),
        (TrainingState.FAILED, "the storage is full.", "Failed: the storage is full."),
        (TrainingState.CANCELLED, None, "Cancelled."),
    ],
)
def test_how_a_training_ended_is_said_in_words(
    browser: Client, sqlite: Database, state: TrainingState, error: str | None, said: str
) -> None:
    ended(sqlite, state, error)
    assert outcome(browser) == said
    assert f'<td class="{state}">{state}' in browser.get(PAGE).text


def test_what_a_training_published_is_said_in_words(browser: Client, sqlite: Database, tmp_path: Path) -> None:
    services = browser.app.state.services  # type: ignore[attr-defined]  # Starlette's
    published(sqlite, services, tmp_path)
    assert outcome(browser) == "Version 1.0.0 is live."
    assert "90.0 % of held-out photos right, learned from" in browser.get(PAGE).text
    refused = published(sqlite, services, tmp_path, ReleasePolicy.STAGED)
    assert outcome(browser) == "Trained, but not released: It is clearly worse."
    with sqlite.write() as tx:
        channels.change(tx, "T_1", {"release_policy": ReleasePolicy.STAGED}, stamp=MARIA)
    assert outcome(browser) == "Version 1.0.1 is trained, and waits to be released. It is clearly worse."
    with sqlite.write() as tx:
        tx.execute(update(tables.trainings).where(tables.trainings.c.id == refused).values(version="v9.9.9"))
    assert outcome(browser) == "Version 9.9.9 was trained; version 1.0.0 is live."


def test_how_far_a_training_is_can_be_seen_without_javascript(browser: Client, sqlite: Database) -> None:
    number = asked(sqlite, at=datetime.now(UTC) - timedelta(seconds=60), begins=True)
    assert outcome(browser) == "Training: starting."
    assert '<progress aria-label="Progress of the training"></progress>' in browser.get(PAGE).text
    with sqlite.write() as tx:
        now = datetime.now(UTC)
        store.note_progress(tx, number, stage="Looking at photos", done=1200, total=2400, now=now)
    assert outcome(browser) == "Training: Looking at photos."
    page = browser.get(PAGE).text
    assert 'max="2400" value="1200"' in page
    assert "1,200 of 2,400" in page
    assert re.search(r"about 6\d s left", page)
    assert f'data-events="/api/v1/channels/T_1/trainings/{number}/events"' in page
    assert "Another training waits" not in page
    asked(sqlite)
    assert "Another training waits" in browser.get(PAGE).text
    assert outcome(browser) == "Training: Looking at photos."
    browser.post(f"{PAGE}/trainings/{number}/cancel")
    assert outcome(browser) == "Being cancelled."
    assert f"/trainings/{number}/cancel" not in browser.get(PAGE).text


def test_a_training_that_nobody_will_do_says_so(browser: Client, sqlite: Database) -> None:
    asked(sqlite)
    assert "No worker is running" in browser.get(PAGE).text
    with sqlite.write() as tx:
        workers.register(tx, id="w", host="h", pid=1, concurrency=1)
    assert "No worker is running" not in browser.get(PAGE).text


def test_the_last_ten_trainings_are_a_table_in_the_time_of_the_shop(browser: Client, sqlite: Database) -> None:
    for _ in range(12):
        ended(sqlite, TrainingState.FAILED, "a reason")
    page = browser.get(PAGE).text
    assert page.count('<td class="failed">failed: a reason</td>') == 10
    assert "Asked for (Europe/Zurich)" in page
    assert '<time datetime="2026-07-01T10:00:00+00:00">2026-07-01 12:00</time>' in page
    assert '<th scope="row">' in page


def test_nothing_that_somebody_wrote_is_ever_markup(browser: Client, sqlite: Database) -> None:
    fill(sqlite, count=2, photos=1)
    with sqlite.write() as tx:
        channels.change(tx, "T_1", {"name": EVIL}, stamp=MARIA)
    ended(sqlite, TrainingState.FAILED, f"product {EVIL} 1 is broken")
    with sqlite.write() as tx:
        tx.execute(update(tables.channels).where(tables.channels.c.id == "T_1").values(time_zone=EVIL))
    asked(sqlite, begins=True, by=EVIL)
    for page in (browser.get(PAGE).text, browser.get("/admin").text, browser.get("/admin", params={"id": EVIL}).text):
        assert "<script>" not in page
        assert "alert(1)" in page
    for answer in (browser.get("/login", params={"next": EVIL}), browser.post("/login", data={"name": EVIL})):
        assert "alert(1)" not in answer.text.replace("&lt;script&gt;alert(1)", "")


def test_channels_are_listed_page_by_page_and_found_by_their_id(browser: Client, sqlite: Database) -> None:
    with sqlite.write() as tx:
        rows = [{"id": f"c{number:03}", "token": f"ck_{number}", "name": f"Shop {number}"} for number in range(60)]
        tx.execute(insert(tables.channels), rows)
    first = browser.get("/admin").text
    assert '<a href="/admin/channels/T_1">Corner shop</a>' in first
    following = re.search(r'<a rel="next" href="([^"]+)">', first)
    assert following
    rest = browser.get(following[1]).text
    listed = [re.findall(r'href="/admin/channels/([^"]+)"', page) for page in (first, rest)]
    assert [len(page) for page in listed] == [50, 12]
    assert len(set(listed[0] + listed[1])) == 62
    assert browser.get("/admin", params={"id": " T_1 "}).headers["location"] == PAGE
    missing = browser.get("/admin", params={"id": "T_9"})
    assert (missing.status_code, "There is no channel T_9." in missing.text) == (404, True)


@pytest.mark.parametrize("path", ["/train", "/trainings/1/cancel"])
def test_a_channel_that_is_not_there_gets_a_page_that_says_so(browser: Client, path: str) -> None:
    for answer in (browser.get("/admin/channels/T_9"), browser.post(f"/admin/channels/T_9{path}")):
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
    number = asked(browser.app.state.services.database)  # type: ignore[attr-defined]
    assert browser.post(f"/admin/channels/default/trainings/{number}/cancel").status_code == 404
