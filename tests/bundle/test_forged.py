"""Somebody who knows what a manifest is writes a bundle of ours by hand: it is refused before it does harm."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.bundle.check import check_in_child
from shelfsight.bundle.documents import Manifest
from shelfsight.bundle.uploaded import check_upload
from shelfsight.errors import BundleError
from tests.bundle.uploads import STAMP, document_of, to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.data_location = onnx.TensorProto.EXTERNAL


def _custom(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.evil.corp"
    model.opset_import.append(onnx.helper.make_opsetid("com.evil.corp", 1))


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
@pytest.mark.parametrize(("change", "sentence"), [(_external, "in another file"), (_custom, "needs operators of")])
def test_an_onnx_model_that_reaches_outside_is_refused_before_it_runs(
    ours: Path, name: str, change: Callable[[onnx.ModelProto], None], sentence: str
) -> None:
    model = onnx.load_model(ours / name)
    change(model)
    _replace(ours, name, model.SerializeToString())
    with pytest.raises(BundleError, match=sentence):
        check_upload(ours, **STAMP)


def test_a_manifest_that_calls_a_model_a_web_page_is_refused(ours: Path) -> None:
    manifest = document_of(ours, "manifest.json")
    manifest["files"][0]["mediaType"] = "text/html"
    (ours / "manifest.json").write_bytes(to_json(manifest))
    with pytest.raises(BundleError, match=r"calls demo_v1\.0\.0\.json 'text/html'"):
        check_upload(ours, **STAMP)


def test_a_manifest_that_names_more_than_a_bundle_has_is_refused(upload: Path) -> None:
    check_upload(upload, **STAMP)
    (upload / "evil.html").write_bytes(b"<script>")
    _replace(upload, "evil.html", b"<script>")
    with pytest.raises(BundleError, match=r"names 'evil\.html'"):
        check_upload(upload, **STAMP)


def test_a_manifest_that_leaves_out_what_its_kind_needs_is_refused(upload: Path) -> None:
    check_upload(upload, **STAMP)
    good = (upload / "manifest.json").read_bytes()
    for file in Manifest.model_validate_json(good).files:
        manifest = json.loads(good)
        manifest["files"] = [entry for entry in manifest["files"] if entry["name"] != file.name]
        (upload / "manifest.json").write_bytes(to_json(manifest))
        with pytest.raises(BundleError):
            check_upload(upload, **STAMP)


@pytest.mark.parametrize("kind", ["shelfsight", "teachable-machine", "ort", "other"])
def test_a_manifest_of_another_kind_than_its_files_is_refused(upload: Path, kind: str) -> None:
    mine = check_upload(upload, **STAMP).kind
    manifest = document_of(upload, "manifest.json")
    (upload / "manifest.json").write_bytes(to_json({**manifest, "kind": kind}))
    if kind != mine:
        with pytest.raises(BundleError):
            check_upload(upload, **STAMP)


@given(st.data())
def test_whatever_somebody_writes_who_knows_what_a_manifest_is_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path, data: st.DataObject
) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("forged") / "upload")
    name = data.draw(st.sampled_from(["metadata.json", "model.json", "model.shards.json", "demo_v1.0.0.json"]))
    text = (folder / name).read_text()
    word = data.draw(st.sampled_from(sorted(set(re.findall(r'"[^"]*"|[\d.]+', text)))))
    value = data.draw(st.sampled_from(["null", "[]", "{}", '""', "-1", "0", "1e300", "9" * 40, '"x"', "[[[1]]]"]))
    _replace(folder, name, text.replace(word, value, data.draw(st.integers(1, 2))).encode())
    try:
        check_upload(folder, **STAMP)
    except BundleError as exc:
        assert "\n" not in str(exc)  # noqa: PT017 (it need not be raised)


def test_a_bundle_of_ours_for_pictures_of_another_size_is_refused(ours: Path) -> None:
    metadata = document_of(ours, "metadata.json")
    for size, sentence in ((64, "does not run"), (0, "imageSize"), (10**9, "imageSize")):
        _replace(ours, "metadata.json", to_json({**metadata, "imageSize": size}))
        with pytest.raises(BundleError, match=sentence):
            check_upload(ours, **STAMP)


def test_a_bundle_of_ours_that_names_a_product_twice_is_refused(ours: Path) -> None:
    metadata = document_of(ours, "metadata.json")
    _replace(ours, "metadata.json", to_json({**metadata, "labels": ["a", "b", "a"]}))
    with pytest.raises(BundleError, match="has the label 'a' twice"):
        check_upload(ours, **STAMP)


@pytest.mark.parametrize("value", [None, [1, 2], "x", 1e300, {}])
def test_a_head_whose_scale_is_no_number_is_refused(ours: Path, value: object) -> None:
    model = document_of(ours, "model.json")
    model["weightsManifest"][0]["weights"][-2]["quantization"]["scale"] = value
    _replace(ours, "model.json", to_json(model))
    with pytest.raises(BundleError):
        check_upload(ours, **STAMP)


def test_onnx_models_with_flipped_bytes_are_taken_or_refused_by_a_child(ours: Path, tiny_bundle: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("model.onnx", "model.int8.onnx", "model.ort") * 3:
        model = bytearray((tiny_bundle / name).read_bytes())
        for place in random.integers(0, len(model), 20):
            model[place] = random.integers(0, 256)
        _replace(ours, name, bytes(model))
        with pytest.raises(BundleError):
            check_in_child(ours, **STAMP)
        _replace(ours, name, (tiny_bundle / name).read_bytes())


def _replace(folder: Path, name: str, data: bytes) -> None:
    """Replace a file of a bundle, or add one, as somebody does who knows what a manifest is."""
    (folder / name).write_bytes(data)
    manifest = document_of(folder, "manifest.json")
    others = [entry for entry in manifest["files"] if entry["name"] != name]
    digest = hashlib.sha256(data).hexdigest()
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    entry = {"name": name, "size": len(data), "mediaType": kind, "sha256": digest}
    (folder / "manifest.json").write_bytes(to_json({**manifest, "files": [*others, entry]}))
