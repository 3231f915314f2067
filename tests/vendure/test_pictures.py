"""Pictures of a Vendure server: fetched from it wherever it is, from nowhere else inside, and not too fast."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from shelfsight.errors import PictureError, UnavailableError
from shelfsight.vendure import pictures as room
from shelfsight.vendure.pictures import SILENT_MOST, TRIES, Pictures
from tests.catalog.site import Site, running_site, says

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

    Answer = Callable[[BaseHTTPRequestHandler], None]

HERE = "127.0.0.1"


def pictures(site: Site, waits: list[float] | None = None) -> Pictures:
    return Pictures(site.url("/admin-api", HERE), sleep=(waits if waits is not None else []).append)


def in_turn(*answers: Answer) -> Answer:
    left = list(answers)
    return lambda handler: left.pop(0)(handler)  # noqa: PLW0108 (pops at each call)


def test_a_picture_is_fetched_from_vendures_own_server_though_it_is_inside(site: Site) -> None:
    site.answers["/a.jpg"] = says(200, b"picture")
    site.answers["/b.jpg"] = says(302, location="/a.jpg")
    found = pictures(site)
    assert found.fetch(site.url("/a.jpg", HERE)) == b"picture"
    assert found.fetch(site.url("/b.jpg", HERE)) == b"picture"


@pytest.mark.parametrize("redirected", [False, True])
def test_no_other_server_inside_is_asked(site: Site, other: Site, redirected: bool) -> None:
    target = other.url("/secret", HERE)
    site.answers["/a.jpg"] = says(302, location=target)
    with pytest.raises(PictureError, match="neither Vendure's own nor on the public internet"):
        pictures(site).fetch(site.url("/a.jpg", HERE) if redirected else target)
    assert other.asked == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "", "http://user:pw@127.0.0.1/x"])
def test_what_is_no_address_of_the_web_is_not_asked(site: Site, url: str) -> None:
    with pytest.raises(PictureError):
        pictures(site).fetch(url)


def test_a_redirect_to_nothing_is_a_picture_that_cannot_be_had(site: Site) -> None:
    site.answers["/a.jpg"] = says(302, location="http://[x")
    with pytest.raises(PictureError, match="redirects to what is no address of the web"):
        pictures(site).fetch(site.url("/a.jpg", HERE))


def test_what_is_not_there_is_asked_for_once(site: Site) -> None:
    waits: list[float] = []
    with pytest.raises(PictureError, match="answers 404"):
        pictures(site, waits).fetch(site.url("/a.jpg", HERE))
    assert len(site.asked) == 1


def test_a_server_that_is_busy_is_asked_again_after_a_while(site: Site) -> None:
    busy = (says(503), says(429, retry_after="7"), says(502))
    site.answers["/a.jpg"] = in_turn(*busy, says(200, b"picture"))
    waits: list[float] = []
    assert pictures(site, waits).fetch(site.url("/a.jpg", HERE)) == b"picture"
    assert waits[0] == 0
    assert waits[1] == pytest.approx(0.5, abs=0.4)
    assert waits[2] == pytest.approx(7, abs=0.9)
    assert waits[3] >= waits[2] - 0.9  # it does not become faster than what was asked for


def test_a_server_that_answers_nothing_any_more_is_not_asked_for_the_rest(site: Site) -> None:
    found = pictures(site)
    for number in range(SILENT_MOST + 3):
        site.answers[f"/{number}.jpg"] = says(503)
        with pytest.raises(UnavailableError, match="cannot be fetched now"):
            found.fetch(site.url(f"/{number}.jpg", HERE))
    assert len(site.asked) == SILENT_MOST * TRIES


def test_one_that_stays_busy_is_left_alone(site: Site) -> None:
    site.answers["/a.jpg"] = says(503)
    with pytest.raises(UnavailableError, match="cannot be fetched now: the server answers 503"):
        pictures(site).fetch(site.url("/a.jpg", HERE))
    assert len(site.asked) == TRIES


def test_one_that_is_away_is_no_bad_picture() -> None:
    with running_site() as site:
        found = pictures(site)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        found.fetch(site.url("/a.jpg", HERE))


def test_connections_are_kept_for_the_next_picture_and_closed_in_the_end() -> None:
    with running_site(keeps_connections=True) as site, closing(pictures(site)) as found:
        site.answers["/a.jpg"] = says(200, b"picture")
        for _ in range(5):
            assert found.fetch(site.url("/a.jpg", HERE)) == b"picture"
        assert site.connections == 1
    with pytest.raises(UnavailableError, match="the sync has ended"):
        found.fetch(site.url("/a.jpg", HERE))
    assert len(site.asked) == 5


def test_a_kept_connection_that_the_server_has_closed_is_made_anew() -> None:
    waits: list[float] = []

    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        says(200, b"picture")(handler)
        handler.close_connection = True

    with running_site(keeps_connections=True) as site, closing(pictures(site, waits)) as found:
        site.answers["/a.jpg"] = hang_up
        for _ in range(3):
            assert found.fetch(site.url("/a.jpg", HERE)) == b"picture"
        assert site.connections == 3
    assert len(site.asked) == 3 or max(waits) > 0  # it may be asked in the instant in which it hangs up


def test_all_who_fetch_wait_when_one_hears_that_it_is_too_fast() -> None:
    now = [100.0]
    pace = room.Pace(clock=lambda: now[0])
    assert pace.wait_s() == 0
    pace.note(room._Busy(reason="429", after_s=30))
    assert pace.wait_s() == 30
    pace.note(room._Busy(reason="429"))
    assert pace.wait_s() == 30
    now[0] += 31
    assert pace.wait_s() == 0
    pace.note(room._Busy(reason="503", after_s=86_400))
    assert pace.wait_s() == 60  # no longer than a minute


def test_what_is_too_large_is_not_read_to_its_end(site: Site) -> None:
    site.answers["/a.jpg"] = says(200, content_length=str(10**12))
    with pytest.raises(PictureError, match="larger than 50 MiB"):
        pictures(site).fetch(site.url("/a.jpg", HERE))
