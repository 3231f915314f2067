"""A bundle is written whole or not at all, and a damaged one is found out."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from shelfsight.bundle.backbone import load_backbone
from shelfsight.bundle.coding import encode
from shelfsight.bundle.documents import Metadata
from shelfsight.bundle.folder import staged_folder
from shelfsight.bundle.head import make_head
from shelfsight.bundle.recogniser import Runtime, recognise_files
from shelfsight.bundle.rules import rank
from shelfsight.bundle.verify import load_bundle, verify_bundle
from shelfsight.bundle.write import BundleFacts, write_bundle
from shelfsight.errors import BundleError, OutputError, ShapeError
from shelfsight.training.rules import PROJECTED_FROM
from tests.conftest import TRY
from tests.tiny import CHANNELS, tiny_backbone

FACTS = BundleFacts(
    channel="demo",
    version="1.0.0",
    trained_at=datetime(2026, 11, 20, tzinfo=UTC),
    training_duration_s=1.0,
    image_count=9,
    accuracy=0.9,
    threshold=0.5,
    settings={"seed": 0},
)


def write_tiny(place: Path, *, seed: int = 0, projected: bool = False) -> None:
    random, backbone = np.random.default_rng(seed), tiny_backbone()
    inputs = backbone.projection.codes.shape[1] if projected else CHANNELS
    head = make_head(
        ("apple", "birne", "ця груша"),
        random.normal(size=(inputs, 3)).astype(np.float32),
        random.normal(size=3).astype(np.float32),
        backbone.projection if projected else None,
    )
    write_bundle(place, backbone, head, FACTS, {"report.json": b"{}"})


def test_a_bundle_has_every_file_of_the_format(demo_bundle: Path) -> None:
    manifest = verify_bundle(demo_bundle)
    assert {file.name for file in manifest.files} == {
        "demo_v1.0.0.json", "metadata.json", "model.int8.onnx", "model.json", "model.onnx", "model.ort",
        "model.shards.json", "weights.bin",
    }  # fmt: skip
    assert [blob.part for blob in manifest.blobs] == ["backbone", "head"]
    assert (demo_bundle / "report.json").is_file()


def test_the_metadata_has_what_clients_and_teachable_machine_read(demo_bundle: Path) -> None:
    metadata = json.loads((demo_bundle / "metadata.json").read_bytes())
    wanted = {
        "version", "trainedAt", "channelId", "productCount", "imageCount", "trainingDuration", "labels",
        "imageSize", "modelType", "formatVersion", "accuracy", "backbone", "threshold", "tfjsVersion",
        "tmVersion", "packageName", "packageVersion", "modelName", "timeStamp", "userMetadata",
    }  # fmt: skip
    assert set(metadata) == wanted
    assert metadata["imageSize"] == 224
    assert metadata["modelType"] == "mobilenet"
    assert metadata["productCount"] == len(metadata["labels"]) == 12


def test_the_phone_description_names_the_ort_file_by_its_hash(demo_bundle: Path) -> None:
    import hashlib

    phone = json.loads((demo_bundle / "demo_v1.0.0.json").read_bytes())
    assert phone["checksumSha256"] == hashlib.sha256((demo_bundle / "model.ort").read_bytes()).hexdigest()
    assert phone["version"] == "v1.0.0"
    assert phone["inputShape"] == [1, 224, 224, 3]
    assert phone["quantization"] == "INT8"


def test_the_shards_are_the_weights_in_parts(demo_bundle: Path) -> None:
    shards = json.loads((demo_bundle / "model.shards.json").read_bytes())
    paths = [group["paths"][0] for group in shards["weightsManifest"]]
    assert all(path.startswith("../../blobs/") for path in paths)
    parts = [(demo_bundle / "blobs" / Path(path).name).read_bytes() for path in paths]
    assert b"".join(parts) == (demo_bundle / "weights.bin").read_bytes()


def test_a_retrain_with_the_same_backbone_changes_only_the_head_blob(tmp_path: Path) -> None:
    write_tiny(tmp_path / "old", seed=1)
    write_tiny(tmp_path / "new", seed=2)
    old, new = (verify_bundle(tmp_path / name).blobs for name in ("old", "new"))
    assert old[0] == new[0]
    assert old[1].sha256 != new[1].sha256


def test_a_projection_is_a_part_of_its_own_that_retrains_share(tmp_path: Path) -> None:
    write_tiny(tmp_path / "plain")
    write_tiny(tmp_path / "old", seed=1, projected=True)
    write_tiny(tmp_path / "new", seed=2, projected=True)
    plain, old, new = (verify_bundle(tmp_path / name).blobs for name in ("plain", "old", "new"))
    assert [blob.part for blob in old] == ["backbone", "projection", "head"]
    assert plain[0] == old[0]
    assert old[:2] == new[:2]


@pytest.mark.parametrize("runtime", list(Runtime))
def test_every_runtime_recognises_photos_it_has_not_seen(demo_bundle: Path, runtime: Runtime) -> None:
    recogniser = load_bundle(demo_bundle, runtime)
    known = [TRY / f"{name}.jpg" for name in ("banana", "lemon", "carrots", "oatly-oat-milk")]
    for path, probabilities, reason in recognise_files(recogniser, known):
        assert reason is None
        assert probabilities is not None
        answer = rank(probabilities.tolist(), recogniser.labels, top=3, threshold=recogniser.threshold)
        assert answer.predictions[0].product == path.stem
        assert sum(probabilities) == pytest.approx(1, abs=1e-3)


def test_pictures_of_another_shape_are_refused(demo_bundle: Path) -> None:
    with pytest.raises(ShapeError, match=r"\(n, 224, 224, 3\)"):
        load_bundle(demo_bundle).probabilities(np.zeros((1, 100, 100, 3), np.uint8))


def test_a_head_whose_labels_do_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="2 labels"):
        make_head(("a", "b"), np.zeros((4, 3), np.float32), np.zeros(3, np.float32))


@pytest.mark.parametrize(
    "name",
    ["model.json", "weights.bin", "metadata.json", "model.onnx", "model.int8.onnx", "model.ort", "model.shards.json"],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed"])
def test_a_damaged_file_is_found_and_named(bundle: Path, name: str, damage: str) -> None:
    path = bundle / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[: 0 if damage == "empty" else len(data) // 2])
    with pytest.raises(BundleError, match=name):
        verify_bundle(bundle)


def test_a_damaged_blob_is_found(bundle: Path) -> None:
    blob = max((bundle / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(BundleError, match=blob.name):
        verify_bundle(bundle)


def rewrite_manifest(bundle: Path, name: str, data: bytes) -> None:
    """Replace a file and make the manifest agree, as a broken tool or an attacker would."""
    import hashlib

    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for file in manifest["files"]:
        if file["name"] == name:
            file |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["model.int8.onnx", "model.onnx", "model.ort", "weights.bin"])
def test_a_file_of_another_training_of_the_same_products_is_found(tmp_path: Path, name: str) -> None:
    write_tiny(tmp_path / "one", seed=1)
    write_tiny(tmp_path / "other", seed=2)
    rewrite_manifest(tmp_path / "one", name, (tmp_path / "other" / name).read_bytes())
    with pytest.raises(BundleError, match=r"not of one training|different answers"):
        verify_bundle(tmp_path / "one")


def test_shards_of_another_training_are_found(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one", seed=1)
    write_tiny(tmp_path / "other", seed=2)
    rewrite_manifest(tmp_path / "one", "model.shards.json", (tmp_path / "other" / "model.shards.json").read_bytes())
    with pytest.raises(BundleError, match="do not fill their files"):
        verify_bundle(tmp_path / "one")


def test_labels_that_were_changed_are_not_believed(bundle: Path) -> None:
    metadata = json.loads((bundle / "metadata.json").read_bytes())
    metadata["labels"] = metadata["labels"][1:] + metadata["labels"][:1]
    (bundle / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(BundleError, match=r"metadata\.json is not the file the manifest names"):
        load_bundle(bundle)


def test_a_manifest_of_another_version_is_found(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_bytes()) | {"version": "9.9.9"}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="of two versions"):
        verify_bundle(bundle)


def test_labels_that_do_not_fit_the_outputs_are_found(bundle: Path) -> None:
    metadata = json.loads((bundle / "metadata.json").read_bytes())
    metadata["labels"] = metadata["labels"][:-1]
    rewrite_manifest(bundle, "metadata.json", json.dumps(metadata).encode())
    with pytest.raises(BundleError, match="12 outputs for 11 labels"):
        verify_bundle(bundle)


def test_what_onnxruntime_does_not_load_is_found(bundle: Path) -> None:
    rewrite_manifest(bundle, "model.onnx", b"\x08\x08not a model")
    with pytest.raises(BundleError, match="onnxruntime does not load"):
        load_bundle(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx is no ONNX model"):
        verify_bundle(bundle)


def test_a_layers_model_without_a_head_of_ours_is_found(bundle: Path) -> None:
    document = json.loads((bundle / "model.json").read_bytes())
    document["weightsManifest"][0]["weights"].reverse()
    rewrite_manifest(bundle, "model.json", json.dumps(document).encode())
    with pytest.raises(BundleError, match="does not end in a head"):
        verify_bundle(bundle)


def test_a_manifest_that_points_outside_the_bundle_is_refused(bundle: Path) -> None:
    (bundle.parent / "secret").write_bytes(b"x")
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][0]["name"] = "../secret"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="outside the bundle"):
        verify_bundle(bundle)


def test_a_bundle_of_a_newer_format_asks_for_an_upgrade(bundle: Path) -> None:
    for name in ("manifest.json", "metadata.json"):
        document = json.loads((bundle / name).read_bytes()) | {"formatVersion": "2.0"}
        (bundle / name).write_text(json.dumps(document))
    with pytest.raises(BundleError, match="upgrade"):
        load_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"formatVersion": "1.0"}'])
def test_a_damaged_metadata_file_is_named(bundle: Path, text: str) -> None:
    (bundle / "metadata.json").write_text(text)
    with pytest.raises(BundleError, match=r"metadata\.json"):
        load_bundle(bundle)


def test_a_folder_without_a_bundle_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        load_bundle(tmp_path)


def test_metadata_that_a_newer_version_extended_is_still_read(bundle: Path) -> None:
    document = json.loads((bundle / "metadata.json").read_bytes()) | {"somethingNew": 1}
    assert Metadata.model_validate(document).channel_id == "demo"


def test_the_older_bundle_stays_when_the_disk_is_full(tmp_path: Path) -> None:
    write_tiny(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.bundle.test_bundle import write_tiny
from shelfsight.errors import OutputError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # as a full disk: a longer file cannot be written
try:
    write_tiny(Path({str(tmp_path / "out")!r}), seed=5)
except OutputError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_fills_up_is_said_in_one_sentence(tmp_path: Path) -> None:
    said = "No space left on device; what was there is unchanged"
    with pytest.raises(OutputError, match=said), staged_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(stage: Path) -> None:
        (stage / "half").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError), staged_folder(tmp_path / "out") as stage:
        fail(stage)
    assert list(tmp_path.iterdir()) == []


def test_another_tools_model_is_never_overwritten(demo_bundle: Path, tmp_path: Path) -> None:
    for name in ("model.json", "weights.bin", "metadata.json"):  # as Teachable Machine exports them
        (tmp_path / name).write_bytes((demo_bundle / name).read_bytes())
    with pytest.raises(OutputError, match="no part of a bundle"):
        write_tiny(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def replace_often(place: Path, times: int) -> None:
    for number in range(times):
        with staged_folder(place) as stage:
            (stage / "number").write_text(str(number))


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: elsewhere a replacement is two renames")
def test_a_reader_finds_a_whole_folder_at_every_instant_of_a_replacement(tmp_path: Path) -> None:
    place = tmp_path / "out"
    replace_often(place, 1)
    writer = threading.Thread(target=replace_often, args=(place, 200))
    writer.start()
    while writer.is_alive():
        assert (place / "number").read_text().isdigit()
    writer.join()


def test_two_writers_take_turns(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(replace_often, place, 100) for _ in range(2)]:
            done.result()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_where_folders_cannot_change_places_two_renames_do(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shelfsight.bundle.folder._exchange", lambda *_: False)
        replace_often(tmp_path / "out", 3)
    assert (tmp_path / "out" / "number").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_between_the_two_renames_the_older_folder_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".out.previous").mkdir()
    (tmp_path / ".out.previous" / "good").write_text("older")
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "out"):
        raise RuntimeError
    assert (tmp_path / "out" / "good").read_text() == "older"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"), staged_folder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize(
    ("products", "weights_mb", "ort_mb", "retrain_kb"),
    [(81, 5.5, 3.0, 120), (1000, 6.0, 4.0, 1400), (5000, 7.0, 5.0, 1500)],
)
def test_downloads_stay_small(
    tmp_path: Path, products: int, weights_mb: float, ort_mb: float, retrain_kb: float
) -> None:
    backbone, random = load_backbone(), np.random.default_rng(0)
    projection = backbone.projection if products >= PROJECTED_FROM else None
    inputs = projection.codes.shape[1] if projection else backbone.embedding_size
    kernel = random.normal(size=(inputs, products)).astype(np.float32)
    bias = random.normal(size=products).astype(np.float32)
    head = make_head(tuple(f"product-{n}" for n in range(products)), kernel, bias, projection)
    manifest = write_bundle(tmp_path / "out", backbone, head, FACTS, {})
    sizes = {file.name: file.size for file in manifest.files}
    assert sizes["weights.bin"] <= weights_mb * 1e6
    assert sizes["model.ort"] <= ort_mb * 1e6
    topology = gzip.compress((tmp_path / "out" / "model.shards.json").read_bytes())
    assert manifest.blobs[-1].part == "head"
    assert manifest.blobs[-1].size + len(topology) <= retrain_kb * 1e3


def test_a_dead_channel_does_not_spoil_int8(tmp_path: Path) -> None:
    backbone = tiny_backbone()
    kernel = backbone.values("last/kernel").copy()
    kernel[..., 3] = 0
    bias = backbone.values("last/bias").copy()
    bias[3] = 5.0
    tensors = {**backbone.tensors, "last/kernel": encode(kernel, np.uint16), "last/bias": bias}
    weights = np.random.default_rng(0).normal(size=(CHANNELS, 2)).astype(np.float32)
    head = make_head(("a", "b"), weights, np.zeros(2, np.float32))
    write_bundle(tmp_path / "out", replace(backbone, tensors=tensors), head, FACTS, {})
    picture = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    fp32, int8 = (load_bundle(tmp_path / "out", r).probabilities(picture) for r in (Runtime.ONNX, Runtime.INT8))
    assert int8 == pytest.approx(fp32, abs=0.05)
