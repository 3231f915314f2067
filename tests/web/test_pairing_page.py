"""The page that shows an administrator how to make a phone a till."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.catalog.store import channels
from shelfsight.till.pairing import code_of, pairing_link
from shelfsight.web.pairing import advice

if TYPE_CHECKING:
    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

PAGE = "/admin/channels/T_1"
SHOP = "https://192.168.1.20:8000"


def token(database: Database) -> str:
    with database.read() as tx:
        return channels.get(tx, "T_1").token


def squares(drawing: str) -> str:
    """Return where an SVG of a QR code has its dark squares."""
    found = re.search(r"""class=.qrline.[^>]* d=["']([^"']+)""", drawing)
    assert found
    return found[1]


def test_the_button_shows_the_link_and_the_code_of_the_command_line(browser: Client, sqlite: Database) -> None:
    answer = browser.post(f"{PAGE}/pair", data={"server": f" {SHOP} "})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    link = pairing_link(sqlite, "T_1", SHOP)
    assert f'<a href="{html.escape(link)}" rel="noreferrer">{html.escape(link)}</a>' in answer.text
    shown = re.search(r'<img class="code" src="data:image/svg\+xml;charset=utf-8,([^"]+)"', answer.text)
    assert shown
    assert squares(unquote(shown[1])) == squares(code_of(link).svg_inline(border=4))
    assert 'role="alert"' not in answer.text


def test_before_the_button_is_pressed_nothing_of_the_key_is_shown(browser: Client, sqlite: Database) -> None:
    page = browser.get(PAGE).text
    assert token(sqlite) not in page
    assert f'<form class="row address" method="post" action="{PAGE}/pair">' in page
    assert 'name="server" type="url" value="http://testserver"' in page  # where the browser found this server
    assert browser.get(f"{PAGE}/pair").status_code == 405


@pytest.mark.parametrize("server", ["", "till.example.com", "https://a?b", f"https://{'🍎' * 900}"])
def test_an_address_that_is_none_is_refused_with_the_form(browser: Client, sqlite: Database, server: str) -> None:
    answer = browser.post(f"{PAGE}/pair", data={"server": server})
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)
    assert f'value="{server}"' in answer.text
    assert token(sqlite) not in answer.text


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("http://127.0.0.1:8000", "No phone reaches 127.0.0.1"),
        ("https://localhost", "No phone reaches localhost"),
        ("https://[::1]:8443", "No phone reaches ::1"),
        ("http://192.168.1.20", "pages of https only"),
        (SHOP, ""),
        ("https://till.example.com", ""),
    ],
)
def test_what_a_phone_could_not_open_is_said(server: str, said: str) -> None:
    assert (said in advice(server)) if said else not advice(server)


def test_only_an_administrator_on_our_page_gets_the_link(browser: Client, sqlite: Database) -> None:
    foreign = browser.post(f"{PAGE}/pair", data={"server": SHOP}, headers={"sec-fetch-site": "cross-site"})
    assert (foreign.status_code, token(sqlite) in foreign.text) == (403, False)
    assert browser.post("/admin/channels/T_9/pair", data={"server": SHOP}).status_code == 404
    browser.cookies.clear()
    nobody = browser.post(f"{PAGE}/pair", data={"server": SHOP})
    assert (nobody.status_code, nobody.headers["location"]) == (303, "/login?next=/admin")
    new = NewToken(name="test", scopes=["channel:T_1:read"])
    bearer = {"authorization": f"Bearer {create_token(sqlite, new, by=COMMAND_LINE).text}"}
    assert browser.post(f"{PAGE}/pair", data={"server": SHOP}, headers=bearer).status_code == 403
