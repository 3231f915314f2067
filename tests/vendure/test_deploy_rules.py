"""How a model is cut into files for Vendure, and what they are called."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.errors import BundleError, UsageError
from shelfsight.vendure import deploy_rules as rules
from shelfsight.vendure.deploy_rules import Arrangement, ModelFiles, Role, Told
from tests.vendure.models import model_files

TOLD = Told(metadata_path="../a/metadata.json", metadata_sha256="11", weights_sha256="22")


def _whole(files: ModelFiles) -> bytes:
    return files.weights["weights.bin"]


def _named(arrangement: Arrangement) -> dict[str, bytes]:
    """Return the bytes of every weight by its name, as TensorFlow.js cuts them."""
    found, start = {}, 0
    for entry in arrangement.entries:
        end = start + 4 * int(np.prod(entry["shape"]))
        found[entry["name"]] = arrangement.weights[start:end]
        start = end
    assert start == len(arrangement.weights)
    return found


@given(cuts=st.sets(st.integers(1, 587), max_size=4), split=st.integers(1, 3))
def test_any_number_of_files_in_any_number_of_groups_becomes_one_file(cuts: set[int], split: int) -> None:
    files = model_files()
    whole, document = _whole(files), json.loads(files.model)
    entries = document["weightsManifest"][0]["weights"]
    boundary = sum(4 * int(np.prod(entry["shape"])) for entry in entries[:split])
    groups: list[dict[str, Any]] = []
    parts: dict[str, bytes] = {}
    for number, (start, end, some) in enumerate([(0, boundary, entries[:split]), (boundary, 588, entries[split:])]):
        edges = [start, *sorted(cut for cut in cuts if start < cut < end), end]
        names = [f"group{number}-{index}.bin" for index in range(len(edges) - 1)]
        parts |= {name: whole[edges[index] : edges[index + 1]] for index, name in enumerate(names)}
        groups.append({"paths": [f"weights/{name}" for name in names], "weights": some})
    document["weightsManifest"] = groups
    arrangement = rules.arranged(replace(files, model=json.dumps(document).encode(), weights=parts))
    assert arrangement.weights == whole
    assert arrangement.entries == tuple(entries)


def test_the_one_file_of_weights_may_have_any_name() -> None:
    files = model_files()
    assert rules.arranged(replace(files, weights={"mine.bin": _whole(files)})) == rules.arranged(files)


def test_a_missing_file_of_weights_is_named() -> None:
    files = model_files()
    document = json.loads(files.model)
    document["weightsManifest"][0]["paths"] = ["one.bin", "two.bin"]
    with pytest.raises(UsageError, match=r"^File not found: model.json reads its weights from two\.bin"):
        rules.arranged(replace(files, model=json.dumps(document).encode(), weights={"one.bin": b""}))


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "reads no weights"),
        ([], "reads no weights"),
        ([{"paths": [], "weights": []}], "reads no weights"),
        ([{"paths": [7], "weights": []}], "names no files of weights"),
        ([{"weights": []}], "names no files of weights"),
        ([{"paths": ["a.bin", "a.bin"], "weights": []}], "twice"),
        ([{"paths": ["a.bin"]}], "does not say what its weights are"),
        ([{"paths": ["a.bin"], "weights": [{"name": "w", "shape": [1], "dtype": "string"}]}], "'w' of unknown size"),
        ([{"paths": ["a.bin"], "weights": [{"name": "w", "shape": 1, "dtype": "float32"}]}], "'w' of unknown size"),
        (["a.bin"], "reads no weights|names no files"),
    ],
)
def test_a_damaged_manifest_of_weights_is_refused(manifest: object, message: str) -> None:
    files = replace(model_files(), model=json.dumps({"weightsManifest": manifest}).encode())
    with pytest.raises(BundleError, match=message):
        rules.arranged(files)


def test_other_orders_begin_with_other_bytes_and_lose_no_weight() -> None:
    first = rules.arranged(model_files())
    found = list(rules.arrangements(first))
    assert found[0] == first
    assert len({one.weights[:8] for one in found}) == len(found) == len(first.entries) == 4
    assert all(_named(one) == _named(first) for one in found)


def test_after_the_given_order_comes_one_that_begins_with_zeros() -> None:
    files = model_files()
    whole = bytearray(_whole(files))
    hidden = 4 * (3 * 3 * 3 * 4 + 4)
    whole[hidden : hidden + 8] = bytes(8)
    orders = rules.arrangements(rules.arranged(replace(files, weights={"w.bin": bytes(whole)})))
    assert next(orders).weights == whole
    assert next(orders).weights[:8] == bytes(8)


def test_only_so_many_orders_are_tried() -> None:
    entries = tuple({"name": str(number), "shape": [2], "dtype": "float32"} for number in range(40))
    first = Arrangement(document={}, entries=entries, weights=np.arange(80, dtype=np.float32).tobytes())
    assert len(list(rules.arrangements(first))) == rules.ARRANGEMENTS_MOST


@pytest.mark.parametrize("order", range(4))
def test_a_deployed_model_is_recognised_in_any_order_and_under_any_path(order: int) -> None:
    given_files = rules.arranged(model_files(1))
    deployed = list(rules.arrangements(given_files))[order]
    assert rules.is_same_model(given_files, deployed.model_json("../b/w.bin", TOLD), deployed.weights)
    other = rules.arranged(model_files(2))
    assert not rules.is_same_model(given_files, deployed.model_json("../b/w.bin", TOLD), other.weights)


def test_a_model_that_differs_in_anything_of_its_maker_is_another() -> None:
    files = model_files()
    wanted = rules.arranged(files)
    told = {"userDefinedMetadata": {"shop": 1}}
    changes: tuple[dict[str, Any], ...] = ({"modelTopology": {}}, {"format": "x"}, told)
    for change in changes:
        other = rules.arranged(replace(files, model=json.dumps({**json.loads(files.model), **change}).encode()))
        assert not rules.is_same_model(wanted, other.model_json("w.bin", TOLD), other.weights)
    assert not rules.is_same_model(wanted, b"{", b"")
    assert not rules.is_same_model(wanted, files.model, b"")


def test_model_json_tells_where_its_labels_are_beside_what_its_maker_told() -> None:
    files = model_files()
    document = {**json.loads(files.model), "userDefinedMetadata": {"shop": "T_1"}}
    arrangement = rules.arranged(replace(files, model=json.dumps(document).encode()))
    found = json.loads(arrangement.model_json("../b/w.bin", TOLD))
    assert found["weightsManifest"][0]["paths"] == ["../b/w.bin"]
    assert found["userDefinedMetadata"]["shop"] == "T_1"
    assert rules.told_in(found) == TOLD
    assert rules.told_in(document) is None


@pytest.mark.parametrize(
    ("given_version", "name"),
    [("1.0.0", "v1.0.0"), ("v1.0.0", "v1.0.0"), ("1.0.0-rc.1", "v1.0.0-rc.1"), ("3fa81c2", "v3fa81c2"),
     ("vanilla", "vvanilla"), ("nightly_2026+1", "vnightly_2026+1")],
)  # fmt: skip
def test_a_version_is_any_word(given_version: str, name: str) -> None:
    assert rules.version_name(given_version) == name


@pytest.mark.parametrize("version", ["", "1.0 beta", "-1", "a/b", "ä", "x" * 65, "1\n"])
def test_what_no_tag_and_no_file_could_hold_is_no_version(version: str) -> None:
    with pytest.raises(UsageError, match="is no version"):
        rules.version_name(version)


@pytest.mark.parametrize("version", ["v1.0.0", "vRelease_Candidate+1", "v" + "x" * 64])
def test_a_name_says_what_the_file_is_and_of_which_deployment(version: str) -> None:
    for role in Role:
        name = rules.file_name(role, version, "0123456789ab")
        assert rules.role_of(name) is role
        assert rules.deployment_of(name) == "0123456789ab"
        assert name == name.lower()


def test_names_that_others_gave_are_of_no_deployment_of_ours() -> None:
    assert [rules.role_of(name) for name in ("model.json", "weights.bin", "metadata.json")] == [
        Role.MODEL, Role.WEIGHTS, Role.METADATA,
    ]  # fmt: skip
    assert [rules.deployment_of(name) for name in ("model.json", "model-v1.json")] == ["", ""]


def test_tags_say_channel_version_and_day_in_utc() -> None:
    trained_at = datetime.fromisoformat("2026-11-20T00:30:00+02:00")
    assert rules.tags_of("2", "v1.0.0", trained_at) == ("ml-model", "channel-2", "v1.0.0", "trained-2026-11-19")


@pytest.mark.parametrize("folder", ["", "assets/", "assets/source/3c/", "a/b/c/d/e/"])
@pytest.mark.parametrize("url", ["https://shop.example/assets/source/96/w.bin", "https://shop.example/w.bin"])
def test_a_file_is_found_wherever_vendure_puts_the_model(folder: str, url: str) -> None:
    model = f"https://shop.example/{folder}model.json"
    assert rules.found_from(model, rules.rooted_path(url)) == url
    assert rules.found_from(model + "?v=1", rules.rooted_path(url)) == url


@pytest.mark.parametrize(
    ("metadata", "moment"),
    [
        ({"trainedAt": "2026-11-20T12:00:00Z", "timeStamp": "2020-01-01T00:00:00Z"}, "2026-11-20T12:00:00+00:00"),
        ({"timeStamp": "2024-07-27T09:33:51"}, "2024-07-27T09:33:51+00:00"),
        ({"trainedAt": "yesterday", "timeStamp": "2024-07-27T11:33:51+02:00"}, "2024-07-27T09:33:51+00:00"),
    ],
)
def test_when_a_model_was_trained_is_read_in_utc(metadata: dict[str, str], moment: str) -> None:
    found = rules.trained_at_of(metadata)
    assert found is not None
    assert (found.isoformat(), found.tzinfo) == (moment, UTC)


def test_nobody_may_say_when_a_model_was_trained() -> None:
    assert rules.trained_at_of({"labels": []}) is None
