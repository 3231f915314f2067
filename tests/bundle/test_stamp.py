"""A bundle gets another channel and version, and all of its documents say so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shelfsight.bundle.stamp import restamp
from shelfsight.bundle.uploaded import check_upload
from shelfsight.bundle.verify import read_metadata, verify_bundle
from shelfsight.errors import UsageError
from tests.bundle.uploads import STAMP, document_of

if TYPE_CHECKING:
    from pathlib import Path


def test_every_kind_can_be_stamped_again_and_keeps_its_time(upload: Path) -> None:
    check_upload(upload, **STAMP)
    before = read_metadata(upload)
    assert restamp(upload, channel="T_1", version="3.0.0-rc.1") == verify_bundle(upload)
    after = read_metadata(upload)
    stamped = {"channel_id": "T_1", "version": "3.0.0-rc.1"}
    named = {"model_name": "T_1"} if before.model_name == "shop" else {}
    assert after == before.model_copy(update=stamped | named)
    assert not (upload / "shop_v2.0.1.json").exists()


def test_a_republished_version_gets_a_newer_time(upload: Path) -> None:
    check_upload(upload, **STAMP)
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    manifest = restamp(upload, channel="shop", version="2.0.1", trained_at=now)
    assert verify_bundle(upload) == manifest
    assert manifest.created_at == read_metadata(upload).trained_at == read_metadata(upload).time_stamp == now
    for name in (file.name for file in manifest.files if file.name.startswith("shop_v")):
        assert document_of(upload, name)["lastUpdated"] == "2030-01-02T03:04:05Z"


def test_the_phones_description_follows_the_stamp(ours: Path) -> None:
    check_upload(ours, **STAMP)
    found = document_of(ours, "shop_v2.0.1.json")
    assert found["version"] == "v2.0.1"
    assert found["description"] == "Product recogniser of channel shop"
    assert not (ours / "demo_v1.0.0.json").exists()


@pytest.mark.parametrize(
    ("channel", "version"),
    [("", "1.0.0"), ("../x", "1.0.0"), ("a/b", "1.0.0"), (".x", "1.0.0"), ("x\n", "1.0.0"), ("x" * 65, "1.0.0"),
     ("x", ""), ("x", "1"), ("x", "v1.0.0"), ("x", "1.0.0\n"), ("x", "1.0.0/.."), ("x", "1.0.0-" + "a" * 99)],
)  # fmt: skip
def test_what_is_no_channel_or_version_is_refused(ours: Path, channel: str, version: str) -> None:
    for refuse in (check_upload, restamp):
        with pytest.raises(UsageError):
            refuse(ours, channel=channel, version=version)
