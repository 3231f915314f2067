"""Which versions there are in Vendure, which is the one before, and which may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shelfsight.errors import ConflictError, NotFoundError
from shelfsight.partners.vendure.records import Asset, ModelFields
from shelfsight.vendure.deploy_rules import Role, file_name
from shelfsight.vendure.versions_rules import cleaning_plan, grouped, named_version, version_before

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTHING = ModelFields(
    base_url=None,
    version=None,
    last_trained=None,
    status=None,
    model_id=None,
    weights_id=None,
    metadata_id=None,
)


def _assets(number: int, *, days: float = 0, roles: tuple[Role, ...] = tuple(Role)) -> list[Asset]:
    """Return the assets of version `number`, deployed so many days ago; ids are `{number}-{role}`."""
    version = f"v{number}.0.0"
    return [
        Asset(
            id=f"{number}-{role}",
            name=file_name(role, version, f"{number:012x}"),
            size_bytes=10,
            source=f"https://shop.example/{number}/{role}",
            created_at=NOW - timedelta(days=days),
            tags=frozenset({"ml-model", "channel-2", version, "trained-2026-11-01"}),
        )
        for role in roles
    ]


def _active(number: int) -> ModelFields:
    return replace(
        NOTHING, model_id=f"{number}-model", weights_id=f"{number}-weights", metadata_id=f"{number}-metadata"
    )


THREE = [*_assets(1, days=30), *_assets(2, days=20), *_assets(3, days=10)]


def _plan(assets: list[Asset], active: int | None = 3, **how: object) -> tuple[list[str], list[tuple[str, str]]]:
    fields = NOTHING if active is None else _active(active)
    arguments = {"keep": 1, "older_than": None, "used_elsewhere": frozenset[str](), "now": NOW, **how}
    plan = cleaning_plan(grouped(assets, fields), **arguments)  # type: ignore[arg-type]
    return [one.version for one in plan.gone], [(one.version.version, one.reason) for one in plan.kept]


def test_assets_are_versions_the_newest_first() -> None:
    found = grouped(THREE[::-1], _active(2))
    assert [(one.version, one.is_active, one.is_whole, one.trained_on) for one in found] == [
        ("v3.0.0", False, True, "2026-11-01"),
        ("v2.0.0", True, True, "2026-11-01"),
        ("v1.0.0", False, True, "2026-11-01"),
    ]
    assert {role: asset.id for role, asset in found[0].files.items()} == {role: f"3-{role}" for role in Role}
    assert found[0].size_bytes == 30


def test_the_same_version_deployed_twice_is_two() -> None:
    again = [replace(asset, id=f"x{asset.id}", name=asset.name.replace("000001", "00000f")) for asset in _assets(1)]
    found = grouped([*_assets(1, days=1), *again], _active(1))
    assert [(one.version, one.is_active) for one in found] == [("v1.0.0", False), ("v1.0.0", True)]


def test_files_that_somebody_else_named_are_a_version_too_and_the_loaded_ones_count() -> None:
    plain = [
        replace(asset, name=f"{role}.{role.ending}") for role, asset in zip(Role, _assets(1, days=1), strict=True)
    ]
    newer = [replace(asset, id=f"x{asset.id}", created_at=NOW) for asset in plain]
    (found,) = grouped([*plain, *newer], _active(1))
    assert found.is_active
    assert {asset.id for asset in found.files.values()} == {f"1-{role}" for role in Role}
    assert {asset.id for asset in found.others} == {f"x1-{role}" for role in Role}


def test_the_one_before_is_the_one_deployed_before() -> None:
    assert version_before(grouped(THREE, _active(3))).version == "v2.0.0"
    assert version_before(grouped(THREE, _active(2))).version == "v1.0.0"
    broken = [*_assets(1, days=30), *_assets(2, days=20, roles=(Role.MODEL,)), *_assets(3)]
    assert version_before(grouped(broken, _active(3))).version == "v1.0.0"
    with pytest.raises(NotFoundError, match=r"no version before v1\.0\.0"):
        version_before(grouped(THREE, _active(1)))
    with pytest.raises(ConflictError, match="no version is active"):
        version_before(grouped(THREE, NOTHING))


def test_a_version_that_is_not_there_or_not_whole_is_refused_with_those_that_are() -> None:
    found = grouped([*THREE, *_assets(4, roles=(Role.MODEL,))], NOTHING)
    assert named_version(found, "v2.0.0").version == "v2.0.0"
    for version in ("v4.0.0", "v5.0.0"):
        with pytest.raises(NotFoundError, match=rf"no version {version}: it has v3\.0\.0, v2\.0\.0, v1\.0\.0"):
            named_version(found, version)


def test_the_newest_stay_and_the_others_go() -> None:
    assert _plan(THREE, keep=2) == (["v1.0.0"], [])
    assert _plan(THREE, keep=1) == (["v2.0.0", "v1.0.0"], [])
    assert _plan(THREE, keep=3) == ([], [])


def test_two_deployments_of_a_version_are_kept_as_one() -> None:
    again = [
        replace(asset, id=f"x{asset.id}", name=asset.name.replace("000003", "00000f"), created_at=NOW)
        for asset in _assets(3)
    ]
    gone, kept = _plan([*THREE, *again], active=None, keep=2)
    assert (gone, kept) == (["v3.0.0", "v1.0.0"], [])


def test_the_active_one_never_goes_however_old() -> None:
    assert _plan(THREE, active=1) == (["v2.0.0"], [("v1.0.0", "it is active")])


def test_an_asset_that_devices_load_keeps_its_version_whole_or_not() -> None:
    broken = [*_assets(1, days=30, roles=(Role.MODEL, Role.WEIGHTS)), *_assets(2, days=1)]
    assert _plan(broken, active=1) == ([], [("v1.0.0", "it is active")])


def test_younger_ones_stay() -> None:
    assert _plan(THREE, older_than=timedelta(days=25)) == (["v1.0.0"], [])
    assert _plan(THREE, older_than=timedelta(days=20)) == (["v2.0.0", "v1.0.0"], [])


def test_what_another_channel_has_stays() -> None:
    reason = "another channel has it, too"
    assert _plan(THREE, used_elsewhere={"1-weights"}) == (["v2.0.0"], [("v1.0.0", reason)])
    tagged = [replace(THREE[0], tags=THREE[0].tags | {"channel-3"}), *THREE[1:]]
    assert _plan(tagged) == (["v2.0.0"], [("v1.0.0", reason)])


def test_what_an_upload_left_goes_when_nobody_can_be_uploading_it_any_more() -> None:
    def left(hours: float) -> list[Asset]:
        return _assets(4, days=hours / 24, roles=(Role.WEIGHTS, Role.METADATA))

    assert _plan([*THREE, *left(2)], keep=3) == (["v4.0.0"], [])
    assert _plan([*THREE, *left(0.5)], keep=3) == ([], [("v4.0.0", "it may still be uploaded")])


def test_assets_without_a_version_are_no_reason_to_fail() -> None:
    (found,) = grouped([replace(one, tags=frozenset({"ml-model", "channel-2"})) for one in _assets(1)], NOTHING)
    assert (found.version, found.trained_on) == ("", "")
