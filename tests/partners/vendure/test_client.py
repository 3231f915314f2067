"""The client on a real Vendure, and on networks and proxies that fail as real ones do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx2
import pytest

from shelfsight.errors import UnavailableError, UsageError, VendureAccessError, VendureError
from shelfsight.partners.vendure import assets, documents
from shelfsight.partners.vendure import client as client_module
from shelfsight.partners.vendure.client import UploadFile, VendureClient, admin_api
from shelfsight.partners.vendure.credentials import ApiKey, Login, SessionToken
from tests.vendure.server import jpeg

if TYPE_CHECKING:
    from tests.vendure.server import VendureServer

LOGOUT = "mutation { logout { success } }"
CHANNELS = "query($options: ChannelListOptions) { channels(options: $options) { totalItems items { id } } }"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("https://shop.example", "https://shop.example/admin-api"),
        (" https://shop.example/ ", "https://shop.example/admin-api"),
        ("http://127.0.0.1:3000/admin-api/", "http://127.0.0.1:3000/admin-api"),
        ("https://shop.example/vendure/admin", "https://shop.example/vendure/admin"),
    ],
)
def test_an_address_of_the_server_is_enough(given: str, found: str) -> None:
    assert admin_api(given) == found


@pytest.mark.parametrize(
    "given", ["shop.example", "ftp://shop.example", "https://", "", "https://[::1", "https://shop.example:http"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="must be one such as"):
        admin_api(given)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError, match="give them apart") as caught:
        admin_api("https://admin:geheim@shop.example")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("credentials", [Login("ada", "geheim"), SessionToken("geheim"), ApiKey("geheim")])
def test_credentials_are_not_shown(credentials: Login | SessionToken | ApiKey) -> None:
    with VendureClient("https://shop.example", credentials) as client:
        assert "geheim" not in repr(credentials) + repr(client)


@pytest.mark.parametrize("credentials", [SessionToken("gehei\u00fc"), ApiKey("geheim\n")])
def test_a_token_that_was_not_copied_rightly_is_refused_and_not_shown(credentials: SessionToken | ApiKey) -> None:
    with (
        VendureClient("https://shop.example", credentials) as client,
        pytest.raises(UsageError, match="no token has: copy it again") as caught,
    ):
        client.query(documents.ME)
    assert "gehei" not in str(caught.value)


def test_a_server_with_a_wrong_certificate_says_so() -> None:
    flaky = Flaky(
        *(httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired") for _ in range(4))
    )
    with pytest.raises(UnavailableError, match="certificate that is not trusted here"):
        flaky.client.query("{ me }")


def test_a_wrong_password_is_refused_and_not_shown(vendure: VendureServer) -> None:
    client = vendure.client(Login("superadmin", "geheim"))
    with pytest.raises(VendureAccessError, match="does not let superadmin in") as caught:
        client.query(documents.ME)
    assert "geheim" not in str(caught.value)


def test_a_session_that_ended_is_begun_once_more(vendure: VendureServer) -> None:
    client = vendure.client()
    client.query(documents.ME)
    first = client._session
    client.mutate(LOGOUT)
    assert client.query(documents.ME)["me"]["identifier"] == "superadmin"
    assert client._session not in {None, first}


def test_no_cookie_is_kept(vendure: VendureServer) -> None:
    client = vendure.client()
    client.query(documents.ME)
    assert list(client._http.cookies.jar) == []


def test_a_channel_is_chosen_for_each_call(vendure: VendureServer) -> None:
    one, other = vendure.channel("one"), vendure.channel("other")
    for channel in (one, other):
        found = vendure.admin.query(documents.ACTIVE_CHANNEL, channel=channel.token)
        assert found["activeChannel"]["id"] == channel.id
    with pytest.raises(VendureError, match="no channel with that token"):
        vendure.admin.query(documents.ACTIVE_CHANNEL, channel="none")


def test_a_missing_permission_is_no_ended_session(vendure: VendureServer) -> None:
    channel = vendure.channel()
    client = vendure.client(vendure.administrator(["ReadCatalog"], [channel.id]))
    with pytest.raises(VendureAccessError, match="role the permission ReadChannel in the channel"):
        client.query(documents.CHANNELS, channel=channel.token, needs="ReadChannel")


@pytest.mark.parametrize(
    ("credentials", "message"),
    [(SessionToken("no"), "does not know the token"), (ApiKey("no"), "does not know the API key in this channel")],
)
def test_whom_vendure_does_not_know_is_told_so(
    vendure: VendureServer, credentials: SessionToken | ApiKey, message: str
) -> None:
    with pytest.raises(VendureAccessError, match=message):
        vendure.client(credentials).query(documents.CHANNELS)


def test_refused_files_say_why(vendure: VendureServer) -> None:
    channel = vendure.channel()
    refused = {
        "notes.txt": (b"hello", r"\.txt is not permitted: add \.txt to assetOptions.permittedFileTypes"),
        "weights.bin": (b"MZ\x90\x00" + bytes(5000), "the first bytes of weights.bin look like application/x-"),
        "big.bin": (bytes(20 * 2**20 + 1), "more than the 20,971,520 bytes that Vendure takes"),
    }
    for name, (data, message) in refused.items():
        file = UploadFile(name=name, data=data, media_type="application/octet-stream")
        if name.endswith("txt"):
            file = UploadFile(name=name, data=data, media_type="text/plain")
        with pytest.raises(VendureError, match=message):
            assets.create(vendure.admin, file, tags=["refused"], channel=channel.token)
    assert assets.tagged(vendure.admin, ["refused"], channel=channel.token) == ()


def test_an_asset_is_found_by_tags_and_name(vendure: VendureServer) -> None:
    channel = vendure.channel()
    file = UploadFile(name="Fein & Köst.bin", data=b"\0" * 8 + b"x", media_type="application/octet-stream")
    made = assets.create(vendure.admin, file, tags=["one", "two"], channel=channel.token)
    assert made.name == "Fein & Köst.bin"
    assert assets.tagged(vendure.admin, ["two", "one"], channel=channel.token) == (made,)
    assert assets.named(vendure.admin, "Köst", channel=channel.token) == (made,)
    assert assets.tagged(vendure.admin, ["two", "three"], channel=channel.token) == ()
    assert assets.delete(vendure.admin, [made.id], channel=channel.token) is True


def test_an_asset_that_a_product_shows_is_not_deleted(vendure: VendureServer) -> None:
    channel = vendure.channel()
    (picture,) = vendure.pictures([jpeg((200, 30, 30))], channel)
    name = [{"languageCode": "en", "name": "Tea", "slug": f"tea-{channel.code}", "description": ""}]
    create = "mutation($input: CreateProductInput!) { createProduct(input: $input) { id } }"
    shown = {"assetIds": [picture], "featuredAssetId": picture}
    vendure.ask(create, channel.token, input={"translations": name, **shown})
    with pytest.raises(VendureError, match=r"Vendure does not delete the assets: .* featured by 1 Product"):
        assets.delete(vendure.admin, [picture], channel=channel.token)


class Limited(httpx2.BaseTransport):
    """An installation with a lower adminListQueryLimit, in front of a real one."""

    def __init__(self, most: int) -> None:
        self.most, self.takes, self._real = most, list[int](), httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        take = json.loads(request.read()).get("variables", {}).get("options", {}).get("take", 0)
        if take:
            self.takes.append(take)
        if take > self.most:
            message = f"Es können nicht mehr als {self.most} Ergebnisse geholt werden"
            return httpx2.Response(
                200, json={"errors": [{"message": message, "extensions": {"code": "USER_INPUT_ERROR"}}], "data": None}
            )
        return self._real.handle_request(request)

    def close(self) -> None:
        self._real.close()


def test_an_installation_with_shorter_pages_is_read_to_its_end(vendure: VendureServer) -> None:
    made = {vendure.channel().id for _ in range(3)}
    limited = Limited(2)
    pages = list(vendure.client(transport=limited).pages(CHANNELS, "channels", {"sort": {"id": "ASC"}}))
    found = [item["id"] for page in pages for item in page.items]
    assert made <= set(found)
    assert len(set(found)) == len(found) == pages[0].total
    assert limited.takes == [1000] + [2] * len(pages)


class Flaky:
    """Answers as it is told, one answer after the other."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers, self.slept = list(answers), list[float]()

    @property
    def client(self) -> VendureClient:
        return VendureClient(
            "https://shop.example",
            SessionToken("t"),
            transport=httpx2.MockTransport(self._handle),
            sleep=self.slept.append,
        )

    def _handle(self, _: httpx2.Request) -> httpx2.Response:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _ok() -> httpx2.Response:
    return httpx2.Response(200, json={"data": {"me": 1}})


def test_a_read_is_tried_again_later_each_time_and_as_late_as_the_server_asks() -> None:
    flaky = Flaky(
        httpx2.ConnectError("no"),
        httpx2.Response(502, text="<html>"),
        httpx2.Response(429, headers={"retry-after": "20"}),
        _ok(),
    )
    assert flaky.client.query("{ me }") == {"me": 1}
    first, second, third = flaky.slept
    assert 0.5 <= first < 0.7
    assert 2 <= second < 3
    assert third == 20


def test_a_server_that_wants_to_rest_for_long_is_not_waited_for() -> None:
    flaky = Flaky(httpx2.Response(503, headers={"retry-after": "3600"}), _ok())
    with pytest.raises(UnavailableError, match="cannot answer now"):
        flaky.client.query("{ me }")
    assert flaky.slept == []


def test_an_answer_without_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_ANSWER_MOST", 100)
    with pytest.raises(VendureError, match="more than 100 bytes"):
        Flaky(httpx2.Response(200, content=b" " * 101)).client.query("{ me }")
    monkeypatch.setattr(client_module, "_ANSWER_WITHIN_S", -1.0)
    with pytest.raises(UnavailableError, match="does not answer in time"):
        Flaky(_ok()).client.mutate("mutation { me }")


def test_a_server_that_stays_silent_is_given_up() -> None:
    flaky = Flaky(*(httpx2.ReadTimeout("slow") for _ in range(4)))
    with pytest.raises(UnavailableError, match="does not answer in time: try again later"):
        flaky.client.query("{ me }")
    assert (len(flaky.slept), flaky.answers) == (3, [])


@pytest.mark.parametrize("failure", [httpx2.ConnectError("no"), httpx2.Response(503), httpx2.ReadTimeout("slow")])
def test_a_change_is_never_tried_again(failure: httpx2.Response | Exception) -> None:
    flaky = Flaky(failure, _ok())
    with pytest.raises(UnavailableError):
        flaky.client.mutate("mutation { me }")
    assert (flaky.slept, len(flaky.answers)) == ([], 1)


def test_what_the_server_refuses_is_not_asked_again() -> None:
    flaky = Flaky(httpx2.Response(400, json={"errors": [{"message": "no such field"}]}), _ok())
    with pytest.raises(VendureError, match="no such field"):
        flaky.client.query("{ me }")
    assert len(flaky.answers) == 1


def test_every_request_says_that_it_is_no_form_of_a_web_page() -> None:
    seen: list[httpx2.Headers] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers)
        return _ok()

    with VendureClient("https://shop.example", ApiKey("k"), transport=httpx2.MockTransport(handle)) as client:
        client.query("{ me }", channel="token")
        client.upload("mutation { me }", [{}], [UploadFile(name="a", data=b"", media_type="text/plain")])
    assert [headers["apollo-require-preflight"] for headers in seen] == ["true", "true"]
    assert [headers.get("vendure-api-key") for headers in seen] == ["k", "k"]
    assert [headers.get("vendure-token") for headers in seen] == ["token", None]
