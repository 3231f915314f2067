"""The page behind a setup link."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from shelfsight.access import audit
from shelfsight.access.administrators import (
    Login,
    LoginLimit,
    has_administrator,
    invite,
    issue_setup_link,
    log_in,
)
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.storage import open_storage
from tests.people import add_administrator

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

PASSWORD = "correct horse battery"  # noqa: S105


@pytest.fixture
def browser(sqlite: Database, tmp_path: Path) -> Client:
    services = Services(database=sqlite, storage=open_storage(tmp_path / "assets"))
    return TestClient(build_app(services), client=("192.0.2.1", 1234), follow_redirects=False)


def fill_in(link: str, **fields: str) -> dict[str, str]:
    return {"token": link, "name": "anna", "password": PASSWORD, "again": PASSWORD, **fields}


def test_who_has_the_link_becomes_administrator_and_learns_what_is_next(browser: Client, sqlite: Database) -> None:
    link = issue_setup_link(sqlite) or ""
    form = browser.get("/setup", params={"token": link})
    assert (form.status_code, form.headers["cache-control"]) == (200, "no-store")
    assert f'value="{link}"' in form.text
    done = browser.post("/setup", data=fill_in(link))
    assert (done.status_code, done.headers["location"]) == (303, "/setup/done")
    cookie = done.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    steps = browser.get("/setup/done").text
    commands = re.findall(r"<pre><code>shelfsight (\w+ \w+) T_1", steps)
    assert commands == ["channels add", "products import", "images add"]
    assert '<a class="button" href="/admin">' in steps
    assert browser.get("/admin").status_code == 200
    assert log_in(sqlite, Login(name="anna", password=PASSWORD), limit=LoginLimit()).token.name == "anna"


def test_who_cannot_be_logged_in_at_once_gets_the_login(browser: Client, sqlite: Database) -> None:
    link = issue_setup_link(sqlite) or ""
    for _ in range(11):  # somebody at the same address guesses
        browser.post("/login", data={"name": "anna", "password": "wrong"})
    done = browser.post("/setup", data=fill_in(link))
    assert (done.status_code, done.headers["location"]) == (303, "/login?next=/setup/done")
    assert has_administrator(sqlite)


def test_nobody_is_logged_in_by_another_sites_form(browser: Client, sqlite: Database) -> None:
    link = issue_setup_link(sqlite) or ""
    answer = browser.post("/setup", data=fill_in(link), headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "A page of another site sent this form" in answer.text
    assert not has_administrator(sqlite)


def test_the_bare_address_leads_to_what_is_due(browser: Client, sqlite: Database) -> None:
    sent = browser.get("/")
    assert (sent.status_code, sent.headers["location"]) == (303, "/setup")
    how = browser.get("/setup")
    assert (how.status_code, "Open this link to choose a password" in how.text) == (200, True)
    browser.post("/setup", data=fill_in(issue_setup_link(sqlite) or ""))
    assert browser.get("/").headers["location"] == "/admin"
    assert browser.get("/admin").status_code == 200
    assert "This server is set up" in browser.get("/setup").text
    browser.cookies.clear()
    assert browser.get("/admin").headers["location"] == "/login?next=/admin"


def test_the_page_about_the_api_names_every_operation(browser: Client) -> None:
    page = browser.get("/docs").text.replace("<wbr>", "")
    paths: dict[str, dict[str, object]] = browser.get("/openapi.json").json()["paths"]
    described = {f"<b>{method.upper()}</b> {path}<" for path, methods in paths.items() for method in methods}
    assert len(described) > 50
    assert {one for one in described if one not in page} == set()
    assert "Authorization: Bearer" in page


def test_there_is_an_icon_where_browsers_look_for_one(browser: Client) -> None:
    icon = browser.get("/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert icon.text.startswith("<svg ")


def test_every_field_has_a_label_and_the_page_no_script(browser: Client, sqlite: Database) -> None:
    page = browser.get("/setup", params={"token": issue_setup_link(sqlite) or ""}).text
    fields = set(re.findall(r'<input id="(\w+)"', page))
    assert fields == set(re.findall(r'<label for="(\w+)"', page)) == {"name", "password", "again"}
    assert "<script" not in page
    assert 'autocomplete="new-password"' in page


def test_only_this_page_may_send_its_form_and_only_here(browser: Client, sqlite: Database) -> None:
    form = browser.get("/setup", params={"token": issue_setup_link(sqlite) or ""})
    assert "form-action 'self'" in form.headers["content-security-policy"]
    assert "form-action 'none'" in browser.get("/setup/done").headers["content-security-policy"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"password": "short", "again": "short"}, "a password has 12 to 1000 characters"),
        ({"again": "another horse battery"}, "the two passwords are not the same"),
        ({"name": "<script>"}, "a name has 1 to 64 characters"),
        ({"name": ""}, "a name has 1 to 64 characters"),
    ],
)
def test_what_is_wrong_is_said_and_the_link_still_works(
    browser: Client, sqlite: Database, fields: dict[str, str], sentence: str
) -> None:
    link = issue_setup_link(sqlite) or ""
    answer = browser.post("/setup", data=fill_in(link, **fields))
    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    assert PASSWORD not in answer.text
    assert browser.post("/setup", data=fill_in(link)).status_code == 303


@pytest.mark.parametrize("token", ["nonsense", "ss_aaaaaaaa_" + "b" * 43])
def test_a_wrong_link_gets_a_clear_page_and_is_audited(browser: Client, sqlite: Database, token: str) -> None:
    issue_setup_link(sqlite)
    for answer in (browser.get("/setup", params={"token": token}), browser.post("/setup", data=fill_in(token))):
        assert answer.status_code == 401
        assert "This link does not work" in answer.text
        assert "The setup link is unknown" in answer.text
    with sqlite.read() as connection:
        entries = audit.list_entries(connection, limit=2)
    assert [entry.details["path"] for entry in entries] == ["/setup", "/setup"]
    assert not has_administrator(sqlite)


def test_a_form_without_a_link_makes_nobody_administrator(browser: Client, sqlite: Database) -> None:
    issue_setup_link(sqlite)
    assert browser.post("/setup", data=fill_in("")).status_code == 401
    assert not has_administrator(sqlite)


def test_a_used_link_gets_a_clear_page(browser: Client, sqlite: Database) -> None:
    link = issue_setup_link(sqlite) or ""
    browser.post("/setup", data=fill_in(link))
    assert "The setup link has been used" in browser.get("/setup", params={"token": link}).text
    assert browser.post("/setup", data=fill_in(link, name="eve")).status_code == 401


def test_of_two_at_once_one_wins(browser: Client, sqlite: Database) -> None:
    link = issue_setup_link(sqlite) or ""
    with ThreadPoolExecutor(2) as threads:
        answers = list(
            threads.map(lambda name: browser.post("/setup", data=fill_in(link, name=name)), ["anna", "eve"])
        )
    assert sorted(answer.status_code for answer in answers) == [303, 401]


def test_who_is_invited_cannot_choose_another_name(browser: Client, sqlite: Database) -> None:
    add_administrator(sqlite, "anna", PASSWORD)
    link = invite(sqlite, "bob", by=COMMAND_LINE).text
    page = browser.get("/setup", params={"token": link}).text
    assert "Welcome, bob" in page
    assert "readonly" in page
    refused = browser.post("/setup", data=fill_in(link, name="eve"))
    assert (refused.status_code, "this setup link is for bob" in refused.text) == (422, True)
    assert browser.post("/setup", data=fill_in(link, name="bob")).status_code == 303
