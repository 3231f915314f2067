"""What a config says, to whom, and for how long: the rules alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.delivery.config.rules import (
    LIFE,
    Asked,
    Audience,
    Issue,
    VersionFiles,
    audience_of,
    channel_in,
    choose,
    compose,
    etag_of,
    instant,
    is_version,
    model_file,
    read_headers,
    validity,
)
from shelfsight.registry.rules import Status, Version
from shelfsight.rollout.rules import Assignment, Offer, Outcome, Platform, Rollout, Tier

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HALF = LIFE / 2
OURS = frozenset({"model.json", "model.shards.json", "model.onnx", "model.int8.onnx", "model.ort", "manifest.json"})
WHOLE = VersionFiles(names=OURS, manifest_size_bytes=1234, manifest_sha256="ab" * 32)
ISSUE = Issue(
    channel="T_1",
    sequence=42,
    expires_at=NOON,
    keys=[{"keyId": "k", "publicKey": "p"}],
    assets_url="https://cdn.example/assets",
)


def version(name: str, **values: object) -> Version:
    """Return a version as the database has it."""
    usual = Version(
        channel="T_1",
        version=name,
        status=Status.TESTING,
        is_stable=False,
        rollout_percentage=0,
        shadow_mode=False,
        shadow_percentage=0,
        rollback_threshold=0.05,
        min_app_version=None,
        created_at=NOON,
        updated_at=NOON,
        deprecated_at=None,
        trained_at=NOON,
        product_count=3,
        image_count=9,
        training_duration=1,
        accuracy=0.9,
        file_path="-",
        file_size_bytes=1,
        checksum_sha256="",
        architecture="mobilenet_v2",
        quantization="INT8",
    )
    return replace(usual, **values)  # type: ignore[arg-type]


def offer(name: str, share_bp: int, *, platforms: tuple[str, ...] = (), tiers: tuple[str, ...] = ()) -> Offer:
    """Return a version that a share of the devices gets; its salt is `salt of` and its name."""
    rollout = Rollout(
        id=1,
        channel="T_1",
        version=name,
        salt=f"salt of {name}",
        shadow_salt="",
        stages_bp=(),
        platforms=platforms,
        tiers=tiers,
        held_at=None,
        reason="",
        started_at=NOON,
        started_by="",
        stage_at=NOON,
        ended_at=None,
        outcome=Outcome.NONE,
    )
    return Offer(version=version(name), rollout=rollout, share_bp=share_bp, salt=rollout.salt)


STABLE = version("1.4.2", is_stable=True, status=Status.ACTIVE, rollout_percentage=100, min_app_version="2.1.0")


def read(**headers: str) -> Asked:
    """Return what headers ask for."""
    return read_headers([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])


def test_who_says_nothing_is_any_device() -> None:
    assert read() == read(x_locale="nl", accept="*/*") == Asked(Platform.UNIVERSAL, Tier.ANY, None, (), b"")


@pytest.mark.parametrize("said", ["web", "Web", "WEB"])
def test_platform_is_read_in_any_case(said: str) -> None:
    assert read(x_app_platform=said, x_device_tier=said).platform is Platform.WEB
    assert read(x_device_tier="LOW").tier is Tier.LOW


@pytest.mark.parametrize("said", ["", "windows", "web, ios", "w\xe9b", "a" * 5000])
def test_what_nobody_knows_is_as_if_nothing_was_said(said: str) -> None:
    asked = read(x_app_platform=said, x_device_tier=said)
    assert (asked.platform, asked.tier) == (Platform.UNIVERSAL, Tier.ANY)


def test_device_id_is_at_most_200_bytes_long() -> None:
    assert read(x_device_id="d" * 200).device == "d" * 200
    assert read(x_device_id="d" * 201).device is None
    assert read(x_device_id="é" * 101).device is None
    assert read(x_device_id="").device is None


def test_device_id_is_the_same_however_its_letters_are_sent() -> None:
    assert read_headers([(b"x-device-id", "é".encode())]).device == "é"
    assert read_headers([(b"x-device-id", b"\xe9")]).device == "é"


def test_tokens_are_those_of_apikey_and_bearer_each_once() -> None:
    assert read(apikey="a", authorization="Bearer a").tokens == (b"a",)
    assert read(authorization="bearer b", apikey="a").tokens == (b"a", b"b")
    assert read(apikey="a" * 513, authorization="Bearer " + "b" * 513).tokens == ()
    assert read(authorization="Basic b", apikey=" ").tokens == ()


def test_tags_of_several_headers_are_one_list() -> None:
    asked = read_headers([(b"if-none-match", b'"a"'), (b"accept", b"*/*"), (b"if-none-match", b'"b"')])
    assert asked.tags == b'"a", "b"'
    assert len(read_headers([(b"if-none-match", b'"a"' * 1000)] * 10).tags) == 4096


@given(st.lists(st.tuples(st.sampled_from([b"apikey", b"x-device-id", b"if-none-match", b"x"]), st.binary())))
def test_no_header_is_too_strange(headers: list[tuple[bytes, bytes]]) -> None:
    assert isinstance(read_headers(headers), Asked)


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/v1/channels/T_1/model-config", "T_1"),
        ("/v1/channels/2/model-config", "2"),
        ("/v1/channels//model-config", None),
        ("/v1/channels/../model-config", None),
        ("/v1/channels/a/b/model-config", None),
        ("/v1/channels/T_1/model-config/", None),
        ("/v1/channels/T_1/model-config\n", None),
        ("/v1/channels/" + "a" * 65 + "/model-config", None),
        ("/v1/channels/é/model-config", None),
    ],
)
def test_channel_is_read_from_the_path(path: str, channel: str | None) -> None:
    assert channel_in(path) == channel


@pytest.mark.parametrize(
    ("platform", "tier", "name"),
    [
        (Platform.UNIVERSAL, Tier.ANY, "model.shards.json"),
        (Platform.WEB, Tier.LOW, "model.shards.json"),
        (Platform.IOS, Tier.HIGH, "model.ort"),
        (Platform.ANDROID, Tier.LOW, "model.ort"),
        (Platform.DESKTOP, Tier.ANY, "model.onnx"),
        (Platform.DESKTOP, Tier.LOW, "model.int8.onnx"),
    ],
)
def test_model_is_the_one_for_the_device(platform: Platform, tier: Tier, name: str) -> None:
    assert model_file(OURS, platform, tier) == name


def test_model_without_shards_is_the_whole_one_in_a_browser() -> None:
    assert model_file({"model.json", "weights.bin"}, Platform.WEB, Tier.ANY) == "model.json"
    assert model_file({"model.ort"}, Platform.WEB, Tier.ANY) is None
    assert model_file({"model.onnx"}, Platform.DESKTOP, Tier.LOW) == "model.onnx"


def test_nothing_is_chosen_without_a_stable_version_for_the_device() -> None:
    phone = replace(WHOLE, names=frozenset({"model.ort"}))
    nothing = Assignment(stable=None, candidate=offer("1.5.0", 1000), shadow=None)
    assert choose(nothing, {"1.5.0": WHOLE}, Platform.WEB, Tier.ANY) is None
    told = replace(nothing, stable=STABLE)
    assert choose(told, {"1.5.0": WHOLE}, Platform.WEB, Tier.ANY) is None
    assert choose(told, {"1.4.2": phone, "1.5.0": WHOLE}, Platform.WEB, Tier.ANY) is None
    assert choose(told, {"1.4.2": phone, "1.5.0": WHOLE}, Platform.IOS, Tier.ANY) is not None


@pytest.mark.parametrize(
    ("candidate", "files", "is_offered"),
    [
        (offer("1.5.0", 1000), WHOLE, True),
        (offer("1.5.0", 1000), None, False),
        (offer("1.5.0", 1000), replace(WHOLE, names=frozenset({"model.ort"})), False),
        (offer("1.5.0", 1000, platforms=("web",)), WHOLE, True),
        (offer("1.5.0", 1000, platforms=("ios",)), WHOLE, False),
        (offer("1.5.0", 1000, tiers=("low",)), WHOLE, False),
        (offer("1.4.2", 1000), WHOLE, False),  # stands in for a stable version that is not whole
    ],
)
def test_candidate_is_offered_to_whom_it_is_for(
    candidate: Offer, files: VersionFiles | None, is_offered: bool
) -> None:
    known = {"1.4.2": WHOLE} | ({candidate.version.version: files} if files else {})
    for told in (
        Assignment(stable=STABLE, candidate=candidate, shadow=None),
        Assignment(stable=STABLE, candidate=None, shadow=candidate),
    ):
        found = choose(told, known, Platform.WEB, Tier.ANY)
        assert found is not None
        assert (found.candidate or found.shadow) == (candidate if is_offered else None)


def test_without_a_device_the_config_says_how_many_and_with_one_whether_it_is_in() -> None:
    told = Assignment(stable=STABLE, candidate=offer("1.5.0", 1000), shadow=offer("1.6.0", 250))
    files = dict.fromkeys(("1.4.2", "1.5.0", "1.6.0"), WHOLE)
    choice = choose(told, files, Platform.WEB, Tier.ANY)
    assert choice is not None

    def is_in(salt: str, device: str, share_bp: int) -> bool:
        assert share_bp == {"salt of 1.5.0": 1000, "salt of 1.6.0": 250}[salt]
        return salt == "salt of 1.5.0" and device == "till-1"

    def shares(**headers: str) -> tuple[int, int]:
        found = audience_of(choice, read(**headers), is_in)
        return found.candidate_bp, found.shadow_bp

    assert shares() == (1000, 250)
    assert shares(x_device_id="till-1") == (10_000, 0)
    assert shares(x_device_id="till-2") == (0, 0)


def test_config_says_all_that_is_written_about_it() -> None:
    candidate = offer("1.5.0", 1000)
    later = replace(candidate.version, updated_at=NOON + timedelta(microseconds=1999), min_app_version="2.2.0")
    told = Assignment(stable=STABLE, candidate=replace(candidate, version=later), shadow=offer("1.6.0", 1250))
    files = dict.fromkeys(("1.4.2", "1.5.0", "1.6.0"), WHOLE)
    choice = choose(told, files, Platform.WEB, Tier.LOW)
    assert choice is not None
    web = Audience(platform=Platform.WEB, tier=Tier.LOW, candidate_bp=1000, shadow_bp=1250)
    manifest = {"size": 1234, "sha256": "ab" * 32}
    assert compose(choice, files, web, ISSUE) == {
        "channelId": "T_1",
        "platform": "web",
        "deviceTier": "low",
        "activeModelVersion": "v1.4.2",
        "rolloutPercentage": 100,
        "rollbackThreshold": 0.05,
        "minAppVersion": "2.1.0",
        "shadowModelVersion": "v1.6.0",
        "shadowPercentage": 12.5,
        "shadowSalt": "salt of 1.6.0",
        "updatedAt": "2026-11-20T12:00:00.001Z",
        "sequence": 42,
        "expiresAt": "2026-11-20T12:00:00.000Z",
        "candidate": {
            "version": "v1.5.0",
            "rolloutBasisPoints": 1000,
            "salt": "salt of 1.5.0",
            "minAppVersion": "2.2.0",
        },
        "files": {
            f"v{name}": {
                "baseUrl": f"https://cdn.example/assets/ml-models/T_1/v{name}/",
                "manifest": manifest,
                "model": "model.shards.json",
            }
            for name in ("1.4.2", "1.5.0", "1.6.0")
        },
        "keys": [{"keyId": "k", "publicKey": "p"}],
    }
    nobody = replace(web, candidate_bp=0, shadow_bp=0)
    only = compose(choice, files, nobody, ISSUE)
    assert set(only["files"]) == {"v1.4.2"}
    assert not {"candidate", "shadowModelVersion", "shadowPercentage", "shadowSalt"} & set(only)
    assert only["updatedAt"] == "2026-11-20T12:00:00.000Z"


def test_tag_is_a_hash_in_quotes() -> None:
    assert etag_of(b"{}") == '"44136fa355b3678a1146ad16f7e8649e"'


def test_moment_is_written_in_utc_to_the_millisecond() -> None:
    east = datetime.fromisoformat("2026-11-20T13:00:00.123999+01:00")
    assert instant(east) == "2026-11-20T12:00:00.123Z"


@pytest.mark.parametrize(("text", "wanted"), [("1.4.2", True), ("2.0.0-rc.1", True), ("../x", False), ("1.4", False)])
def test_version_is_one_that_can_have_been_published(text: str, wanted: bool) -> None:
    assert is_version(text) is wanted


moments = st.integers(0, 40 * 365 * 86_400 * 10**6).map(lambda us: NOON + timedelta(microseconds=us))
channels = st.text("abcT_019.-", min_size=1, max_size=20)


@given(channels, moments)
def test_config_is_good_for_half_of_its_life_at_least_and_signed_again_before(channel: str, now: datetime) -> None:
    found = validity(channel, now)
    assert HALF < found.expires_at - now <= LIFE
    assert now < found.sign_again_at == found.expires_at - HALF


@given(channels, moments)
def test_servers_agree_on_the_end_until_it_is_signed_again(channel: str, now: datetime) -> None:
    found = validity(channel, now)
    just_before = found.sign_again_at - timedelta(microseconds=1)
    assert validity(channel, just_before) == found
    assert validity(channel, found.sign_again_at).expires_at == found.expires_at + HALF


def test_ten_thousand_channels_are_not_signed_again_at_once() -> None:
    again = [validity(f"T_{number}", NOON).sign_again_at for number in range(10_000)]
    by_hour = dict.fromkeys(range(7 * 24), 0)
    for at in again:
        by_hour[int((at - NOON) / timedelta(hours=1))] += 1
    assert max(by_hour.values()) < 2 * 10_000 / len(by_hour)
