"""A bundle made elsewhere is checked, completed and stamped; anything else is refused with one sentence."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.bundle import uploaded
from shelfsight.bundle.recogniser import Runtime
from shelfsight.bundle.uploaded import check_upload
from shelfsight.bundle.verify import load_bundle, read_metadata, verify_bundle
from shelfsight.errors import BundleError
from tests.bundle.uploads import (
    LABELS,
    SIZE,
    STAMP,
    description,
    document,
    document_of,
    files_of,
    phone_model,
    teachable_metadata,
    to_json,
    weights_bin,
    write_phone,
    write_teachable,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bundle_of_ours_with_the_wanted_version_is_left_byte_for_byte(ours: Path) -> None:
    before = files_of(ours)
    assert check_upload(ours, channel="demo", version="1.0.0") == verify_bundle(ours)
    assert files_of(ours) == before


def test_every_kind_gets_its_channel_and_version_and_verifies(upload: Path) -> None:
    manifest = check_upload(upload, **STAMP)
    assert (manifest.channel_id, manifest.version) == ("shop", "2.0.1")
    assert verify_bundle(upload) == manifest
    metadata = read_metadata(upload)
    assert (metadata.channel_id, metadata.version, metadata.product_count) == ("shop", "2.0.1", 3)
    assert metadata.labels == LABELS
    public = {file.name: (file.size, file.sha256) for file in manifest.files}
    found = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files_of(upload).items()}
    assert {name: found[name] for name in public} == public
    others = {"manifest.json", "report.json", *(f"blobs/{blob.sha256}.bin" for blob in manifest.blobs)}
    assert set(found) - set(public) <= others


def test_every_kind_can_be_uploaded_again_as_it_was_published(upload: Path) -> None:
    check_upload(upload, **STAMP)
    before = files_of(upload)
    check_upload(upload, **STAMP)
    assert files_of(upload) == before
    assert check_upload(upload, channel="other", version="1.0.0").channel_id == "other"


def test_a_bundle_made_elsewhere_says_that_it_does_not_run_here(tmp_path: Path) -> None:
    for folder in (write_teachable(tmp_path / "tm"), write_phone(tmp_path / "phone")):
        check_upload(folder, **STAMP)
        with pytest.raises(BundleError, match="was made elsewhere"):
            load_bundle(folder, Runtime.ORT)


def test_the_metadata_of_teachable_machine_is_kept_and_completed(tmp_path: Path) -> None:
    folder = write_teachable(tmp_path / "tm")
    assert check_upload(folder, **STAMP).kind == "teachable-machine"
    assert document_of(folder, "metadata.json") == {
        **teachable_metadata(),
        "formatVersion": "1.0",
        "version": "2.0.1",
        "channelId": "shop",
        "trainedAt": "2024-07-27T09:33:51.222000Z",
        "timeStamp": "2024-07-27T09:33:51.222000Z",
        "productCount": 3,
        "imageCount": 0,
        "trainingDuration": 0.0,
        "modelType": "layers-model",
        "threshold": 0.0,
    }
    assert (folder / "model.json").read_bytes() == to_json(document())
    assert (folder / "weights.bin").read_bytes() == weights_bin()


def test_a_threshold_that_its_maker_chose_is_kept(tmp_path: Path) -> None:
    folder = write_teachable(tmp_path / "tm")
    (folder / "metadata.json").write_bytes(to_json(teachable_metadata(threshold=0.7, imageCount=90)))
    check_upload(folder, **STAMP)
    assert (read_metadata(folder).threshold, read_metadata(folder).image_count) == (0.7, 90)


def test_an_upload_without_a_time_or_from_the_future_is_of_now(tmp_path: Path) -> None:
    for moment in (None, "2099-01-01T00:00:00Z"):
        folder = write_teachable(tmp_path / "tm")
        (folder / "metadata.json").write_bytes(to_json(teachable_metadata(timeStamp=moment)))
        (folder / "manifest.json").unlink(missing_ok=True)
        check_upload(folder, **STAMP)
        assert abs(datetime.now(UTC) - read_metadata(folder).trained_at) < timedelta(minutes=1)


def test_an_ort_file_gets_the_name_and_documents_of_a_published_one(tmp_path: Path) -> None:
    model = phone_model()
    folder = write_phone(tmp_path / "phone", model)
    manifest = check_upload(folder, **STAMP)
    assert manifest.kind == "ort"
    assert set(files_of(folder)) == {"manifest.json", "metadata.json", "model.ort", "shop_v2.0.1.json"}
    found = document_of(folder, "shop_v2.0.1.json")
    expected = description(model, version="v2.0.1")
    assert found == {name: value for name, value in expected.items() if name != "labels"}
    assert read_metadata(folder).model_type == "efficientnet-lite0"


def test_the_labels_of_an_ort_file_may_lie_in_a_metadata_file(tmp_path: Path) -> None:
    model = phone_model()
    folder, told = write_phone(tmp_path / "phone", model), description(model)
    (folder / "metadata.json").write_bytes(to_json({"labels": told.pop("labels"), "imageSize": SIZE}))
    (folder / "shop_v1.0.0.json").write_bytes(to_json(told))
    check_upload(folder, **STAMP)
    assert read_metadata(folder).labels == LABELS


def test_the_report_may_lie_beside_and_is_never_named(upload: Path) -> None:
    (upload / "report.json").write_bytes(b"{}")
    manifest = check_upload(upload, **STAMP)
    assert "report.json" not in {file.name for file in manifest.files}
    assert (upload / "report.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    "name",
    ["evil.js", "index.html", "weights2.bin", "other.ort", "notes.txt", ".htaccess", "a b.bin", "x\ny", "LICENSE"],
)
def test_a_file_that_is_no_part_of_a_model_is_refused_by_its_name(upload: Path, name: str) -> None:
    (upload / name).write_bytes(b"x")
    with pytest.raises(BundleError) as refused:
        check_upload(upload, **STAMP)
    assert repr(name)[1:-1] in str(refused.value) or "one .ort file" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_links_and_folders_are_refused(upload: Path) -> None:
    secret = upload.parent / "secret.bin"
    secret.write_bytes(b"x")
    for make in (lambda path: path.symlink_to(secret), lambda path: path.mkdir(), os.mkfifo):
        place = upload / "model.shards.json"
        place.unlink(missing_ok=True)
        make(place)
        with pytest.raises(BundleError, match="is no plain file"):
            check_upload(upload, **STAMP)
        place.rmdir() if place.is_dir() else place.unlink()


def test_a_private_report_page_lies_beside_ours_only(ours: Path, tmp_path: Path) -> None:
    (ours / "report.html").write_bytes(b"<p>")
    check_upload(ours, **STAMP)
    folder = write_teachable(tmp_path / "tm")
    (folder / "report.html").write_bytes(b"<p>")
    with pytest.raises(BundleError, match=r"report\.html"):
        check_upload(folder, **STAMP)


def test_an_upload_of_nothing_says_what_could_be_uploaded(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"Teachable Machine's model\.json, weights\.bin and metadata\.json"):
        check_upload(tmp_path, **STAMP)


def test_an_upload_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_teachable(tmp_path / "tm")
    monkeypatch.setattr(uploaded, "MAX_DOCUMENT", 100)
    with pytest.raises(BundleError, match=r"json has more than 100 bytes"):
        check_upload(folder, **STAMP)
    monkeypatch.setattr(uploaded, "MAX_BYTES", 500)
    with pytest.raises(BundleError, match="more than 500 bytes"):
        check_upload(folder, **STAMP)


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no labels": ({"labels": None}, "names no labels"),
    "labels are text": ({"labels": "abc"}, "names no labels"),
    "no label": ({"labels": []}, "names no labels"),
    "a label is a number": ({"labels": ["a", "b", 3]}, "has the label 3"),
    "a label is empty": ({"labels": ["a", "b", " "]}, "has the label ' '"),
    "a label twice": ({"labels": ["a", "b", "a"]}, "has the label 'a' twice"),
    "fewer labels": ({"labels": ["a", "b"]}, "has 3 outputs for 2 labels"),
    "another size": ({"imageSize": 224}, "says imageSize 224"),
    "size is a list": ({"imageSize": [8]}, "says imageSize [8]"),
    "no moment": ({"timeStamp": "yesterday"}, "timeStamp of metadata.json is no moment"),
    "moment is a number": ({"timeStamp": 3}, "is no moment"),
    "a threshold of 2": ({"threshold": 2}, "metadata.json is damaged: threshold"),
    "name is a number": ({"modelName": 3}, "metadata.json is damaged: modelName"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_metadata_that_does_not_fit_the_model_is_refused(tmp_path: Path, case: str) -> None:
    changes, sentence = REFUSED[case]
    folder = write_teachable(tmp_path / "tm")
    (folder / "metadata.json").write_bytes(to_json(teachable_metadata(**changes)))
    with pytest.raises(BundleError) as refused:
        check_upload(folder, **STAMP)
    assert sentence in str(refused.value)


def test_a_model_that_ends_without_a_softmax_is_refused(tmp_path: Path) -> None:
    folder, model = write_teachable(tmp_path / "tm"), document()
    model["modelTopology"]["config"]["layers"][1]["config"]["layers"][1]["config"].pop("activation")
    (folder / "model.json").write_bytes(to_json(model))
    with pytest.raises(BundleError, match="end the model in a softmax"):
        check_upload(folder, **STAMP)


REFUSED_PHONE: dict[str, tuple[dict[str, object], str]] = {
    "no labels": ({"labels": None}, "names no labels"),
    "fewer labels": ({"labels": ["a", "b"]}, "has 3 outputs for 2 labels"),
    "another file": ({"checksumSha256": "0" * 64}, "is not of this ORT file"),
    "no hash": ({"checksumSha256": "x"}, "checksumSha256"),
    "channels first": ({"inputShape": [1, 3, SIZE, SIZE]}, "wanted [1, size, size, 3]"),
    "another size": ({"inputShape": [1, 224, 224, 3]}, "its description says [1, 224, 224, 3]"),
    "a huge size": ({"inputShape": [1, 10**9, 10**9, 3]}, "wanted [1, size, size, 3]"),
    "unknown quantization": ({"quantization": "INT2"}, "quantization"),
    "no moment": ({"lastUpdated": "yesterday"}, "lastUpdated"),
}


@pytest.mark.parametrize("case", REFUSED_PHONE)
def test_a_description_that_does_not_fit_the_ort_file_is_refused(tmp_path: Path, case: str) -> None:
    changes, sentence = REFUSED_PHONE[case]
    folder = write_phone(tmp_path / "phone", None, **changes)
    with pytest.raises(BundleError) as refused:
        check_upload(folder, **STAMP)
    assert sentence in str(refused.value)


def test_an_ort_file_without_labels_or_description_says_what_is_missing(tmp_path: Path) -> None:
    model = phone_model()
    folder, told = write_phone(tmp_path / "phone", model), description(model)
    del told["labels"]
    (folder / "shop_v1.0.0.json").write_bytes(to_json(told))
    with pytest.raises(BundleError, match="add `labels`"):
        check_upload(folder, **STAMP)
    (folder / "shop_v1.0.0.json").unlink()
    with pytest.raises(BundleError, match="one description"):
        check_upload(folder, **STAMP)


def test_what_only_calls_itself_an_ort_file_is_refused(tmp_path: Path, tiny_bundle: Path) -> None:
    for number, model in enumerate(((tiny_bundle / "model.onnx").read_bytes(), b"x", b"", b"xxxxORTMxxxx" * 9)):
        folder = write_phone(tmp_path / str(number), model)
        with pytest.raises(BundleError, match="ORT"):
            check_upload(folder, **STAMP)


def test_an_ort_file_with_operators_of_others_is_refused_before_it_runs(tmp_path: Path, tiny_bundle: Path) -> None:
    model = (tiny_bundle / "model.ort").read_bytes()
    assert b"com.microsoft" in model
    folder = write_phone(tmp_path / "phone", model.replace(b"com.microsoft", b"com.evil.corp"))
    with pytest.raises(BundleError, match=r"needs operators of 'com\.evil\.corp'"):
        check_upload(folder, **STAMP)


def test_every_file_that_is_cut_short_or_empty_is_found_out(upload: Path) -> None:
    good = files_of(upload)
    for name in sorted(set(good) - {"report.json"}):
        for size in (0, 1, len(good[name]) // 2, len(good[name]) - 1):
            shutil.rmtree(upload)
            for other, data in good.items():
                (upload / other).parent.mkdir(exist_ok=True)
                (upload / other).write_bytes(data[:size] if other == name else data)
            if good[name][:size] != good[name].rstrip():  # without its last newline a document is the same
                with pytest.raises(BundleError):
                    check_upload(upload, **STAMP)


def test_every_file_that_is_missing_is_found_out(upload: Path) -> None:
    good = files_of(upload)
    for name in sorted(set(good) - {"report.json"}):
        (upload / name).unlink()
        with pytest.raises(BundleError):
            check_upload(upload, **STAMP)
        (upload / name).write_bytes(good[name])
    check_upload(upload, **STAMP)


@given(st.data())
def test_whatever_bytes_are_flipped_in_an_upload_it_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "upload"
    kind = data.draw(st.sampled_from(["ours", "teachable-machine"]))
    shutil.copytree(tiny_bundle, folder) if kind == "ours" else write_teachable(folder)
    name = data.draw(st.sampled_from(sorted(path.name for path in folder.glob("*.json"))))
    found = bytearray((folder / name).read_bytes())
    found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(found)
    try:
        manifest = check_upload(folder, **STAMP)
    except BundleError:
        return
    assert verify_bundle(folder) == manifest


def test_a_flipped_bit_of_an_ort_file_is_found_out(tmp_path: Path) -> None:
    model = phone_model()
    for place in np.random.default_rng(0).integers(0, len(model), 20):
        folder = write_phone(tmp_path / "phone", model)
        (folder / "shop.ort").write_bytes(model[:place] + bytes([model[place] ^ 1]) + model[place + 1 :])
        with pytest.raises(BundleError, match="is not of this ORT file"):
            check_upload(folder, **STAMP)
