"""A channel's versions on its page: their quality reports, and the way back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.access import audit
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken, create_token
from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.registry import layout
from shelfsight.registry.publish import Order, Registry, publish
from shelfsight.registry.store import stable
from shelfsight.rollout import moves
from shelfsight.rollout.moves import Operator
from shelfsight.rollout.rules import Plan
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient as Client

    from shelfsight.database.engine import Database

PAGE = "/admin/channels/T_1"
REPORT = "<!doctype html><title>98.3 % right</title><script>alert(1)</script>"
CASHIER = Operator(actor="admin:berta")


@pytest.fixture
def registry(browser: Client, sqlite: Database) -> Registry:
    """What the browser's server publishes to."""
    services: Any = browser.app.state.services  # type: ignore[attr-defined]  # Starlette's
    return Registry(database=sqlite, storage=services.storage)


def published(registry: Registry, folder: Path, *, released: bool = True, report: str | None = REPORT) -> str:
    bundle = write_tiny_bundle(folder / "bundle", seed=len(list(folder.iterdir())))
    if report is not None:
        (bundle / "report.html").write_text(report)
    policy = ReleasePolicy.IMMEDIATE if released else ReleasePolicy.STAGED
    version = publish(registry, Order(folder=bundle, channel="T_1", release=policy)).version
    bundle.rename(folder / version)
    return version


def states(browser: Client) -> dict[str, str]:
    """Return what the page says of each version, in its order."""
    section = browser.get(PAGE).text.partition('<section id="versions">')[2].partition("</section>")[0]
    return dict(re.findall(r'<th scope="row">([^<]+)</th>\s*<td[^>]*>([^<]+)</td>', section))


def bearer(database: Database, *scopes: str) -> dict[str, str]:
    new = NewToken(name="test", scopes=list(scopes))
    return {"authorization": f"Bearer {create_token(database, new, by=COMMAND_LINE).text}"}


@pytest.mark.parametrize("released", [True, False])
def test_the_report_of_a_version_is_reached_from_its_channel(
    browser: Client, registry: Registry, tmp_path: Path, released: bool
) -> None:
    published(registry, tmp_path, released=released)
    link = f"{PAGE}/versions/1.0.0/report"
    assert f'<a href="{link}"' in browser.get(PAGE).text
    report = browser.get(link)
    assert (report.status_code, report.text) == (200, REPORT)
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert browser.get(f"/assets/{layout.version_folder('T_1', '1.0.0')}/report.html").status_code == 404


def test_a_report_runs_nothing_and_is_no_page_of_this_server(
    browser: Client, registry: Registry, tmp_path: Path
) -> None:
    published(registry, tmp_path)
    headers = browser.get(f"{PAGE}/versions/1.0.0/report").headers
    policy = headers["content-security-policy"].split("; ")
    assert {"sandbox", "default-src 'none'", "frame-ancestors 'none'", "form-action 'none'"} <= set(policy)
    assert not any(part.startswith("script-src") for part in policy)
    assert "img-src data:" in policy  # its pictures are inside
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["referrer-policy"] == "no-referrer"


def test_who_may_change_the_channel_may_see_its_reports_and_nobody_else(
    browser: Client, registry: Registry, sqlite: Database, tmp_path: Path
) -> None:
    published(registry, tmp_path)
    link = f"{PAGE}/versions/1.0.0/report"
    browser.cookies.clear()
    sent = browser.get(link)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/login?next={link}")
    for scope, status in (("channel:T_1:write", 200), ("admin", 200), ("channel:T_1:read", 403)):
        assert browser.get(link, headers=bearer(sqlite, scope)).status_code == status
    assert browser.get(link, headers=bearer(sqlite, "channel:default:write")).status_code == 403


def test_a_version_without_a_report_has_no_link_and_says_so(
    browser: Client, registry: Registry, tmp_path: Path
) -> None:
    published(registry, tmp_path, report=None)
    assert "/versions/1.0.0/report" not in browser.get(PAGE).text
    missing = browser.get(f"{PAGE}/versions/1.0.0/report")
    assert (missing.status_code, "Version 1.0.0 of T_1 was published without" in missing.text) == (404, True)
    unknown = browser.get(f"{PAGE}/versions/9.9.9/report")
    assert (unknown.status_code, "T_1 has no version 9.9.9" in unknown.text) == (404, True)


def test_the_page_shows_the_last_versions_and_which_is_live(
    browser: Client, registry: Registry, tmp_path: Path
) -> None:
    assert states(browser) == {}
    published(registry, tmp_path)
    for _ in range(6):
        published(registry, tmp_path, released=False)
    assert list(states(browser).items()) == [
        *((f"1.0.{number}", "not released") for number in (6, 5, 4, 3, 2)),
        ("1.0.0", "live"),
    ]
    moves.start(registry, "T_1", "1.0.6", Plan(), by=CASHIER)
    assert states(browser)["1.0.6"] == "rolling out: shadow 10 %"
    moves.advance(registry, "T_1", by=CASHIER)
    moves.hold(registry, "T_1", by=CASHIER)
    assert states(browser)["1.0.6"] == "held: 10 %"


def test_rolling_back_is_asked_and_done_without_javascript(
    browser: Client, registry: Registry, sqlite: Database, tmp_path: Path
) -> None:
    published(registry, tmp_path)
    assert f"{PAGE}/rollback" not in browser.get(PAGE).text  # there is nothing to go back to
    assert browser.get(f"{PAGE}/rollback").status_code == 404
    published(registry, tmp_path)
    assert f'href="{PAGE}/rollback">Roll back to 1.0.0…</a>' in browser.get(PAGE).text
    question = browser.get(f"{PAGE}/rollback").text
    assert "Roll back to version 1.0.0?" in question
    assert states(browser) == {"1.0.1": "live", "1.0.0": "deprecated"}
    sequence = re.search(r'name="sequence" value="(\d+)"', question)
    assert sequence
    done = browser.post(f"{PAGE}/rollback", data={"sequence": sequence[1]})
    assert (done.status_code, done.headers["location"]) == (303, PAGE)
    assert states(browser)["1.0.0"] == "live"
    with sqlite.read() as tx:
        assert stable(tx, "T_1") == "1.0.0"
        found = [one for one in audit.list_entries(tx, limit=100) if one.action == "rollout_rolled_back"]
    assert [(one.actor, one.address, one.subject) for one in found] == [("admin:anna", "192.0.2.1", "v1.0.1")]


def test_what_is_being_rolled_out_is_taken_back_first(browser: Client, registry: Registry, tmp_path: Path) -> None:
    published(registry, tmp_path)
    published(registry, tmp_path, released=False)
    moves.start(registry, "T_1", "1.0.1", Plan(), by=CASHIER)
    assert "Take back 1.0.1…" in browser.get(PAGE).text
    question = browser.get(f"{PAGE}/rollback").text
    assert "every device goes on with version 1.0.0" in question
    sequence = re.findall(r'name="sequence" value="(\d+)"', question)
    assert browser.post(f"{PAGE}/rollback", data={"sequence": sequence}).status_code == 303
    assert states(browser) == {"1.0.1": "not released", "1.0.0": "live"}


def test_who_saw_another_state_is_asked_again(browser: Client, registry: Registry, tmp_path: Path) -> None:
    for _ in range(3):
        published(registry, tmp_path)
    sequence = re.findall(r'name="sequence" value="(\d+)"', browser.get(f"{PAGE}/rollback").text)
    moves.roll_back(registry, "T_1", by=CASHIER)  # somebody was faster
    late = browser.post(f"{PAGE}/rollback", data={"sequence": sequence})
    assert (late.status_code, "Somebody has just changed the versions" in late.text) == (412, True)
    assert "Roll back to version 1.0.0?" in late.text
    assert states(browser)["1.0.1"] == "live"


def test_another_site_cannot_roll_back(browser: Client, registry: Registry, sqlite: Database, tmp_path: Path) -> None:
    published(registry, tmp_path)
    published(registry, tmp_path)
    sequence = re.findall(r'name="sequence" value="(\d+)"', browser.get(f"{PAGE}/rollback").text)
    form = {"sequence": sequence}
    foreign = browser.post(f"{PAGE}/rollback", data=form, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    browser.cookies.clear()
    assert browser.post(f"{PAGE}/rollback", data=form).headers["location"] == "/login?next=/admin"
    writer = bearer(sqlite, "channel:T_1:write")  # a page is an administrator's; a token has the API
    assert browser.post(f"{PAGE}/rollback", data=form, headers=writer).status_code == 403
    with sqlite.read() as tx:
        assert stable(tx, "T_1") == "1.0.1"
