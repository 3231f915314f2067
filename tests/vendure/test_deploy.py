"""Deploying to a real Vendure: what must be there afterwards, whatever went wrong."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import httpx2
import pytest

from shelfsight.errors import (
    BundleError,
    ConflictError,
    NotFoundError,
    UnavailableError,
    UsageError,
    VendureAccessError,
    VendureError,
)
from shelfsight.partners.vendure import assets
from shelfsight.partners.vendure.credentials import ApiKey, SessionToken
from shelfsight.vendure.deploy import Outcome, deploy
from shelfsight.vendure.deploy_channel import find_channel
from shelfsight.vendure.deploy_fetch import fetch_file
from shelfsight.vendure.deploy_rules import ModelFiles, Role
from shelfsight.vendure.versions import clean_up, list_versions, roll_back, verify
from tests.vendure.conftest import Shop, new_shop
from tests.vendure.faults import Fault
from tests.vendure.models import looking_like_a_program, model_files
from tests.vendure.server import ShopChannel, vendure_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.vendure.server import VendureServer

ENOUGH = (
    "CreateAsset", "ReadAsset", "DeleteAsset", "UpdateCatalog", "ReadChannel", "UpdateChannel",
)  # fmt: skip
LOGOUT = "mutation { logout { success } }"


def test_versions_are_deployed_rolled_back_verified_and_cleaned_up(shop: Shop) -> None:
    for number in (1, 2, 3):
        report = shop.deploy(model_files(number), f"{number}.0.0")
        assert (report.outcome, report.replaces) == (
            Outcome.DEPLOYED,
            f"v{number - 1}.0.0" if number > 1 else None,
        )
    assert shop.versions == [("v3.0.0", True), ("v2.0.0", False), ("v1.0.0", False)]

    assert roll_back(shop.client, shop.channel).version == "v2.0.0"
    assert shop.fields.version == "v2.0.0"
    assert roll_back(shop.client, shop.channel, "1.0.0").version == "v1.0.0"
    assert verify(shop.client, shop.channel).problems == ()
    with pytest.raises(NotFoundError, match=r"no version before v1\.0\.0"):
        roll_back(shop.client, shop.channel)

    kept = clean_up(shop.client, shop.channel, keep=1)
    assert [one.version for one in kept.plan.gone] == ["v2.0.0"]
    assert [(one.version.version, one.reason) for one in kept.plan.kept] == [("v1.0.0", "it is active")]
    roll_back(shop.client, shop.channel, "v3.0.0")
    gone = clean_up(shop.client, shop.channel, keep=1, dry_run=True).plan.gone
    assert [one.version for one in gone] == ["v1.0.0"]
    assert shop.versions == [("v3.0.0", True), ("v1.0.0", False)]
    assert clean_up(shop.client, shop.channel, keep=2).plan.gone == ()
    assert verify(shop.client, shop.channel).problems == ()


def test_fields_and_tags_say_what_is_deployed_and_its_files_are_the_ones_given(shop: Shop) -> None:
    files = model_files(1, trainedAt="2026-11-19T23:30:00+01:00")
    report = shop.deploy(files, "3fa81c2")
    found = {role: fetch_file(asset.source, shop.client.url) for role, asset in report.files.items()}
    assert found[Role.WEIGHTS] == files.weights["weights.bin"]
    assert found[Role.METADATA] == files.metadata
    assert json.loads(found[Role.MODEL])["modelTopology"] == json.loads(files.model)["modelTopology"]

    fields = shop.fields
    assert (fields.version, fields.status) == ("v3fa81c2", "ready")
    assert fields.base_url == report.files[Role.MODEL].source
    assert fields.last_trained is not None
    assert fields.last_trained.isoformat() == "2026-11-19T22:30:00+00:00"
    assert (fields.model_id, fields.weights_id, fields.metadata_id) == tuple(
        report.files[role].id for role in (Role.MODEL, Role.WEIGHTS, Role.METADATA)
    )
    tags = {"ml-model", f"channel-{shop.channel.id}", "v3fa81c2", "trained-2026-11-19"}
    assert [set(asset.tags) for asset in report.files.values()] == [tags] * 3


def test_two_channels_have_their_own_files_though_deployed_at_once_under_the_same_names(
    vendure: VendureServer,
) -> None:
    shops = [new_shop(vendure), new_shop(vendure)]
    models = [model_files(1), model_files(2)]
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda shop, files: shop.deploy(files, "1.0.0"), shops, models))
    for shop, files, report in zip(shops, models, reports, strict=True):
        assert fetch_file(report.files[Role.WEIGHTS].source, shop.client.url) == files.weights["weights.bin"]
        assert shop.assets() == {asset.id for asset in report.files.values()}

    shops[0].deploy(model_files(3), "2.0.0")
    clean_up(vendure.admin, shops[0].channel, keep=1)
    assert shops[0].versions == [("v2.0.0", True)]
    assert shops[1].versions == [("v1.0.0", True)]
    assert verify(vendure.admin, shops[1].channel).problems == ()


def test_what_another_channel_has_too_is_not_cleaned_up(vendure: VendureServer) -> None:
    shop, other = new_shop(vendure), new_shop(vendure)
    first = shop.deploy(model_files(1), "1.0.0")
    shop.deploy(model_files(2), "2.0.0")
    shared = [first.files[Role.WEIGHTS].id]
    assets.assign(vendure.admin, shared, channel_id=other.channel.id, channel=shop.channel.token)
    plan = clean_up(vendure.admin, shop.channel, keep=1).plan
    assert (plan.gone, [one.reason for one in plan.kept]) == ((), ["another channel has it, too"])
    assert shop.versions == [("v2.0.0", True), ("v1.0.0", False)]


def test_the_same_files_again_change_nothing_and_others_are_refused(shop: Shop) -> None:
    shop.deploy(model_files(1), "1.0.0")
    before = shop.fields
    assert shop.deploy(model_files(1), "v1.0.0").outcome is Outcome.UNCHANGED
    with pytest.raises(ConflictError, match=r"v1\.0\.0 is deployed with other files"):
        shop.deploy(model_files(2), "1.0.0")
    assert (shop.fields, len(shop.assets())) == (before, 3)

    shop.deploy(model_files(2), "2.0.0")
    assert shop.deploy(model_files(1), "1.0.0").outcome is Outcome.ACTIVATED
    assert (shop.fields, len(shop.assets())) == (before, 6)


def test_a_version_whose_files_are_damaged_is_found_and_deployed_anew(shop: Shop) -> None:
    report = shop.deploy(model_files(1), "1.0.0")
    shop.deploy(model_files(2), "2.0.0")
    lost = report.files[Role.WEIGHTS]
    next(shop.server.files.rglob(f"source/**/{lost.name}")).unlink()
    with pytest.raises(VendureError, match=r"Rollback failed: .*cannot be read: the server answers 404"):
        roll_back(shop.client, shop.channel)
    assert shop.fields.version == "v2.0.0"

    assert shop.deploy(model_files(1), "1.0.0").outcome is Outcome.DEPLOYED
    assert shop.versions == [("v1.0.0", True), ("v2.0.0", False), ("v1.0.0", False)]
    assert verify(shop.client, shop.channel).problems == ()
    assert shop.deploy(model_files(1), "1.0.0").outcome is Outcome.UNCHANGED


def test_a_model_that_does_not_say_when_it_was_trained_is_of_when_it_was_uploaded(shop: Shop) -> None:
    files = model_files(1, timeStamp=None)
    report = shop.deploy(files, "1.0.0")
    assert report.trained_at == max(asset.created_at for asset in report.files.values())
    assert verify(shop.client, shop.channel).problems == ()
    assert shop.deploy(files, "1.0.0").outcome is Outcome.UNCHANGED


def test_a_dry_run_changes_nothing(shop: Shop) -> None:
    report = shop.deploy(model_files(1), "1.0.0", dry_run=True)
    assert (report.outcome, report.files) == (Outcome.PLANNED, {})
    assert (shop.assets(), shop.fields.ids) == (set(), frozenset())


def test_weights_that_look_like_a_program_are_deployed(shop: Shop) -> None:
    files = looking_like_a_program()
    report = shop.deploy(files, "1.0.0")
    deployed = fetch_file(report.files[Role.WEIGHTS].source, shop.client.url)
    given = files.weights["weights.bin"]
    assert (sorted(deployed), deployed == given) == (sorted(given), False)
    assert shop.deploy(files, "1.0.0").outcome is Outcome.UNCHANGED


def test_a_model_in_several_files_of_weights_becomes_one(shop: Shop) -> None:
    files = model_files(1)
    document, whole = json.loads(files.model), files.weights["weights.bin"]
    entries = document["weightsManifest"][0]["weights"]
    first = 4 * (3 * 3 * 3 * 4 + 4)
    document["weightsManifest"] = [
        {"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": entries[:2]},
        {"paths": ["group2-shard1of1.bin"], "weights": entries[2:]},
    ]
    parts = {
        "group1-shard2of2.bin": whole[100:first],
        "group2-shard1of1.bin": whole[first:],
        "group1-shard1of2.bin": whole[:100],
    }
    sharded = ModelFiles(model=json.dumps(document).encode(), weights=parts, metadata=files.metadata)
    report = shop.deploy(sharded, "1.0.0")
    assert fetch_file(report.files[Role.WEIGHTS].source, shop.client.url) == whole
    assert shop.deploy(files, "1.0.0").outcome is Outcome.UNCHANGED


BROKEN: dict[str, tuple[Callable[[ModelFiles], ModelFiles], type[Exception], str]] = {
    "labels of another model": (
        lambda files: replace(files, metadata=files.metadata.replace(b'"apple", ', b"")),
        BundleError,
        "3 outputs for 2 labels",
    ),
    "half of the weights": (
        lambda files: replace(files, weights={"weights.bin": files.weights["weights.bin"][:-4]}),
        BundleError,
        "the weights have 584 bytes, model.json wants 588",
    ),
    "no model": (lambda files: replace(files, model=b"{}"), BundleError, "reads no weights"),
    "another file of weights": (
        lambda files: replace(files, weights={**files.weights, "more.bin": b""}),
        UsageError,
        "does not read more.bin",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_is_refused_before_anything_is_uploaded(shop: Shop, name: str) -> None:
    change, kind, message = BROKEN[name]
    with pytest.raises(kind, match=message):
        shop.deploy(change(model_files(1)), "1.0.0")
    assert shop.assets(everywhere=True) == set()


FAULTS = {
    "the second file does not arrive": (partial(Fault, "CreateAssets", 2), "Upload failed: "),
    "the answer to the last file is lost": (partial(Fault, "CreateAssets", 3, arrives=True), "Upload failed: "),
    "the assignment does not arrive": (partial(Fault, "AssignAssets"), "Assignment failed: "),
    "the activation does not arrive": (partial(Fault, "SetChannelModel"), "Activation failed: "),
    "the answer to the activation is lost": (
        partial(Fault, "SetChannelModel", arrives=True),
        "Activation failed: ",
    ),
}


@pytest.fixture(scope="module")
def running(vendure: VendureServer) -> Shop:
    """A channel whose devices load v1.0.0; only for tests after which they still do."""
    shop = new_shop(vendure)
    shop.deploy(model_files(1), "1.0.0")
    return shop


@pytest.mark.parametrize("name", FAULTS)
def test_after_a_failure_the_old_version_is_active_and_nothing_is_left(running: Shop, name: str) -> None:
    shop, (fault, beginning) = running, FAULTS[name]
    before, there = shop.fields, shop.assets(everywhere=True)
    client = shop.server.client(transport=fault())
    with pytest.raises(UnavailableError, match=f"^{beginning}the connection to .* broke off"):
        deploy(client, model_files(2), channel=shop.channel, version="2.0.0")
    assert (shop.fields, shop.assets(everywhere=True)) == (before, there)


@pytest.mark.parametrize("end", [KeyboardInterrupt, lambda: SystemExit(143)], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("operation", ["AssignAssets", "SetChannelModel"])
def test_whoever_ends_it_leaves_nothing_behind(
    running: Shop, operation: str, end: Callable[[], BaseException]
) -> None:
    shop, before, there = running, running.fields, running.assets(everywhere=True)
    client = shop.server.client(transport=Fault(operation, error=end, arrives=True))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        deploy(client, model_files(2), channel=shop.channel, version="2.0.0")
    assert (shop.fields, shop.assets(everywhere=True)) == (before, there)


class CleanedMeanwhile(httpx2.BaseTransport):
    """Cleans up just before the fields of a channel are set."""

    def __init__(self, shop: Shop) -> None:
        self._shop, self._real = shop, httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if b"mutation SetChannelModel(" in request.read():
            clean_up(self._shop.client, self._shop.channel, keep=1)
        return self._real.handle_request(request)

    def close(self) -> None:
        self._real.close()


def test_a_version_that_is_cleaned_up_while_it_becomes_active_is_not_active(shop: Shop) -> None:
    for number in (1, 2):
        shop.deploy(model_files(number), f"{number}.0.0")
    client = shop.server.client(transport=CleanedMeanwhile(shop))
    with pytest.raises(VendureError, match="Activation failed: somebody has removed its files"):
        roll_back(client, shop.channel)
    assert shop.versions == [("v2.0.0", True)]
    assert verify(shop.client, shop.channel).problems == ()


def test_what_cannot_be_removed_is_told(shop: Shop) -> None:
    class Dying(Fault):
        """Nothing works from the assignment on."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if self._seen:
                raise httpx2.ConnectError("gone")
            return super().handle_request(request)

    client = shop.server.client(transport=Dying("AssignAssets"))
    with pytest.raises(UnavailableError, match=r"Assignment failed: .* is still there .*look at `shelfsight vendure"):
        deploy(client, model_files(1), channel=shop.channel, version="1.0.0")
    assert len(shop.assets()) == 3


def test_an_ended_session_is_refused_and_begun_anew_where_we_have_the_password(shop: Shop) -> None:
    client = shop.server.client()
    client.query("query { activeChannel { id } }")
    token = client._session
    assert token is not None
    expired = shop.server.client(SessionToken(token))
    expired.mutate(LOGOUT)
    with pytest.raises(VendureAccessError, match="does not know the token, which may have expired: log in again"):
        find_channel(expired, shop.channel.id)
    report = deploy(client, model_files(1), channel=find_channel(client, shop.channel.id), version="1.0.0")
    assert report.outcome is Outcome.DEPLOYED


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("CreateAsset", "^Upload failed: .* the permission CreateAsset or CreateCatalog"),
        ("DeleteAsset", "^Upload failed: .* the permission DeleteAsset or DeleteCatalog"),
        ("UpdateCatalog", "^Assignment failed: .* the permission UpdateCatalog"),
        ("UpdateChannel", "^Activation failed: .* the permission UpdateChannel$"),
    ],
)
def test_a_missing_permission_is_named_before_anything_is_uploaded(shop: Shop, missing: str, message: str) -> None:
    login = shop.server.administrator([one for one in ENOUGH if one != missing], [shop.channel.id])
    client = shop.server.client(login)
    channel = find_channel(client, shop.channel.id)
    with pytest.raises(VendureAccessError, match=message):
        deploy(client, model_files(1), channel=channel, version="1.0.0")
    assert shop.assets(everywhere=True) == set()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("CreateAsset", "^Upload failed: .* the permission CreateAsset in the channel"),
        (
            "UpdateCatalog",
            "^Assignment failed: .* UpdateCatalog .*; what was uploaded is still in the default channel",
        ),
    ],
)
def test_a_permission_that_vendure_does_not_tell_of_before_is_named_when_it_is_missing(
    shop: Shop, missing: str, message: str
) -> None:
    login = shop.server.administrator([one for one in ENOUGH if one != missing], [shop.channel.id])
    client = shop.server.client(login)
    channel = replace(find_channel(client, shop.channel.id), permissions=None)  # as of an API key
    with pytest.raises(VendureAccessError, match=message):
        deploy(client, model_files(1), channel=channel, version="1.0.0")
    assert (shop.assets(), shop.fields.ids) == (set(), frozenset())


def test_a_role_in_the_one_channel_is_enough_but_for_the_last_removal(shop: Shop) -> None:
    client = shop.server.client(shop.server.administrator(ENOUGH, [shop.channel.id]))
    channel = find_channel(client, shop.channel.code)
    for number in (1, 2):
        deploy(client, model_files(number), channel=channel, version=f"{number}.0.0")
    assert verify(client, channel).problems == ()
    cleaned = clean_up(client, channel, keep=1)
    assert [one.version for one in cleaned.left] == ["v1.0.0"]
    assert (len(shop.assets()), len(shop.assets(everywhere=True))) == (3, 6)


def test_an_api_key_of_the_channel_deploys(shop: Shop) -> None:
    made = ShopChannel(id=shop.channel.id, code=shop.channel.code, token=shop.channel.token)
    client = shop.server.client(ApiKey(shop.server.api_key(ENOUGH, made)))
    channel = find_channel(client, shop.channel.id, key_token=shop.channel.token)
    assert deploy(client, model_files(1), channel=channel, version="1.0.0").outcome is Outcome.DEPLOYED
    with pytest.raises(VendureAccessError, match="does not know the API key in this channel"):
        find_channel(client, shop.channel.id)


def test_a_wrong_channel_is_refused_with_those_that_there_are(vendure: VendureServer) -> None:
    shop, other = new_shop(vendure), new_shop(vendure)
    with pytest.raises(NotFoundError, match="shows us no channel '999'"):
        find_channel(vendure.admin, "999")
    client = vendure.client(vendure.administrator(ENOUGH, [shop.channel.id]))
    with pytest.raises(NotFoundError, match=f"it shows {shop.channel.id} \\({shop.channel.code}\\); check"):
        find_channel(client, other.channel.id)


def test_verify_says_what_is_wrong(shop: Shop) -> None:
    assert verify(shop.client, shop.channel).problems == ("no version is active: deploy one",)
    report = shop.deploy(model_files(1), "1.0.0")
    change = "mutation($input: UpdateChannelInput!) { updateChannel(input: $input) { __typename } }"
    shop.server.ask(change, input={"id": shop.channel.id, "customFields": {"modelVersion": "v9"}})
    assert verify(shop.client, shop.channel).problems == ("modelVersion is v9, wanted v1.0.0: deploy or roll back",)

    file = next(shop.server.files.rglob(f"source/**/{report.files[Role.METADATA].name}"))
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"apple", b"peach"))
    (problem,) = verify(shop.client, shop.channel).problems
    assert "metadata" in problem
    assert "is not the file that model.json was deployed with" in problem

    assets.delete(shop.client, [report.files[Role.WEIGHTS].id], channel=shop.channel.token)
    (problem,) = verify(shop.client, shop.channel).problems
    assert "the channel's fields name assets that are not there" in problem


@pytest.fixture(scope="module")
def bare(postgresql_url: str, vendure: VendureServer) -> Iterator[VendureServer]:
    """A Vendure without the plugin, that takes small files only."""
    with vendure_server(postgresql_url, {"WITHOUT_PLUGIN": "1", "MAX_UPLOAD_BYTES": "1000"}) as server:
        yield server


def test_without_the_custom_fields_nothing_is_uploaded(bare: VendureServer) -> None:
    channel = find_channel(bare.admin, "1")
    with pytest.raises(VendureError, match=r"^Activation failed: .*no custom field .*: install the .* plugin"):
        deploy(bare.admin, model_files(1), channel=channel, version="1.0.0")
    with pytest.raises(VendureError, match="no custom field"):
        list_versions(bare.admin, channel)
    assert bare.ask("query { assets { totalItems } }") == {"totalItems": 0}
