"""Training in a child process: it goes on where a killed one was, stops when told to, and says what went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from shelfsight.bundle.backbone import load_backbone
from shelfsight.bundle.verify import verify_bundle
from shelfsight.errors import BackboneError, ShelfsightError, TooFewProductsError, UnavailableError, UsageError
from shelfsight.storage import open_storage
from shelfsight.training import process
from shelfsight.training.chunks import read_chunk
from shelfsight.training.embed import CHUNK, Embedder
from shelfsight.training.layout import embeddings_folder
from shelfsight.training.process import Order, Outcome, read_pairs, run_child, write_pairs
from shelfsight.training.progress import Step
from shelfsight.training.rules import HeadKind
from tests.training.catalogue import CHANNEL, Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.storage import Storage

PHOTOS = 3 * 4 * CHUNK


class Place:
    """A channel's catalogue in a local storage, and the order to train on it."""

    def __init__(self, folder: Path, backbone: str, products: int = 3, photos: int = 5) -> None:
        self.storage = open_storage(folder / "storage")
        catalogue = Catalogue(storage=self.storage)
        if products:
            catalogue.add_shop(folder / "shop", products, photos)
        write_pairs(folder / "pairs.json", catalogue.pairs)
        self.order = Order(
            channel=CHANNEL,
            version="1.4.2",
            storage_url=str(folder / "storage"),
            pairs=folder / "pairs.json",
            out=folder / "out",
            backbone=backbone,
        )
        self.steps: list[Step] = []

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
        return run_child(self.order, self.steps.append, should_stop)


@pytest.fixture
def place(tmp_path: Path, tiny_backbone_file: str) -> Place:
    return Place(tmp_path, tiny_backbone_file)


@pytest.fixture
def large(tmp_path: Path, tiny_backbone_file: str) -> Place:
    return Place(tmp_path, tiny_backbone_file, photos=PHOTOS // 3)


def embedded(storage: Storage) -> list[str]:
    """Return the pictures of all stored embeddings, each as often as it was embedded; every file must be whole."""
    found: list[str] = []
    for file in storage.list(embeddings_folder(CHANNEL)):
        chunk = read_chunk(storage, file.path)
        assert chunk is not None, file.path
        found += chunk.header.images
    return found


def noted(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Return the list that will hold the children that are started from now on."""
    children: list[subprocess.Popen[str]] = []
    start = process._start

    def note(complaints: IO[bytes]) -> subprocess.Popen[str]:
        children.append(start(complaints))
        return children[-1]

    monkeypatch.setattr(process, "_start", note)
    return children


def test_a_child_writes_a_whole_bundle_and_tells_how_far_it_is(place: Place) -> None:
    assert place.run() is Outcome.TRAINED
    assert verify_bundle(place.order.out).version == "1.4.2"
    assert [step.stage for step in place.steps if step.done == 0] == [
        "Looking at photos",
        "Learning products",
        "Writing the bundle",
    ]
    assert Step(stage="Looking at photos", done=15, total=15) in place.steps


def test_pictures_that_a_killed_child_embedded_are_not_embedded_again(large: Place) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "shelfsight.training.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    child.stdin.write(large.order.to_json() + "\n")
    child.stdin.flush()
    while child.poll() is None and len(list(large.storage.list(embeddings_folder(CHANNEL)))) < 2:
        time.sleep(0.005)
    child.kill()
    child.communicate()
    before = embedded(large.storage)
    assert 2 * CHUNK <= len(before) < PHOTOS
    assert not large.order.out.exists()

    assert large.run() is Outcome.TRAINED
    after = embedded(large.storage)
    assert len(after) == len(set(after)) == PHOTOS
    assert set(before) < set(after)


def test_one_that_is_to_stop_is_gone_within_two_seconds(large: Place) -> None:
    stop_at = 0.0

    def should_stop() -> bool:
        nonlocal stop_at
        if not stop_at and large.steps and large.steps[-1].done >= CHUNK:
            stop_at = time.monotonic()
        return bool(stop_at)

    assert large.run(should_stop) is Outcome.CANCELLED
    assert time.monotonic() - stop_at < 2
    assert not large.order.out.exists()
    count = len(embedded(large.storage))
    assert count % CHUNK == 0
    assert 0 < count < PHOTOS


def test_one_that_is_not_wanted_any_more_does_not_begin(place: Place) -> None:
    assert place.run(lambda: True) is Outcome.CANCELLED
    assert embedded(place.storage) == []


def test_a_child_is_ended_when_its_caller_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    children = noted(monkeypatch)

    def broken(step: Step) -> None:
        raise RuntimeError(step.stage)

    with pytest.raises(RuntimeError, match="Looking at photos"):
        run_child(place.order, broken, lambda: False)
    assert children[0].returncode is not None


def test_a_child_does_not_outlive_a_killed_worker(large: Place, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys\n"
        "from shelfsight.training import process\n"
        "order = process.Order.from_json(sys.stdin.readline())\n"
        "start = process._start\n"
        "def told(complaints):\n"
        "    child = start(complaints)\n"
        "    print(child.pid, flush=True)\n"
        "    return child\n"
        "process._start = told\n"
        "process.run_child(order, lambda step: print(step.done, flush=True), lambda: False)\n"
    )
    worker = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(large.order.to_json() + "\n")
    worker.stdin.flush()
    pid = int(worker.stdout.readline())
    assert worker.stdout.readline() == "0\n"
    worker.kill()
    worker.communicate()
    killed_at = time.monotonic()
    while alive(pid):
        assert time.monotonic() - killed_at < 2
        time.sleep(0.01)
    embedded(large.storage)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_too_few_products_and_wrong_orders_come_back_as_themselves(tmp_path: Path, tiny_backbone_file: str) -> None:
    with pytest.raises(TooFewProductsError, match=r"^channel T_1: .* Add a second product with photos\.$"):
        Place(tmp_path, tiny_backbone_file, products=1).run()
    with pytest.raises(BackboneError, match="nowhere"):
        Place(tmp_path, str(tmp_path / "nowhere.safetensors")).run()
    place = Place(tmp_path, tiny_backbone_file)
    place.order = replace(place.order, storage_url="ftp://nowhere")
    with pytest.raises(UsageError, match=r"ftp://"):
        place.run()


def test_a_crash_is_told_in_one_sentence(place: Place) -> None:
    place.order.pairs.unlink()
    with pytest.raises(ShelfsightError) as found:
        place.run()
    assert str(found.value) == (
        f"the training failed (FileNotFoundError: [Errno 2] No such file or directory: '{place.order.pairs}'): "
        "train again, and report this if it fails again"
    )


def test_one_that_the_system_killed_may_be_tried_again(large: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    children = noted(monkeypatch)
    with pytest.raises(UnavailableError, match="was ended by SIGKILL, as when memory runs short: train again"):
        run_child(large.order, lambda _: os.kill(children[0].pid, signal.SIGKILL), lambda: False)


def test_nothing_of_the_storage_is_in_the_arguments(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: list[list[str]] = []
    popen = subprocess.Popen

    def seen(command: list[str], **options: object) -> subprocess.Popen[str]:
        arguments.append(command)
        return popen(command, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", seen)
    assert place.run() is Outcome.TRAINED
    assert place.order.storage_url not in " ".join(arguments[0])


def test_an_order_comes_out_as_it_went_in(place: Place, tmp_path: Path) -> None:
    order = Order.from_json(place.order.to_json())
    assert order == place.order
    chosen = Order(
        channel="T", version="1.0.0", storage_url="s3://b", pairs=Path("p"), out=Path("o"), seed=3, head=HeadKind.MEAN
    )
    assert Order.from_json(chosen.to_json()) == chosen
    write_pairs(tmp_path / "pairs", [("ä\udce9", "0" * 64)])
    assert read_pairs(tmp_path / "pairs") == [("ä\udce9", "0" * 64)]


def test_who_waits_for_a_training_loads_no_numerics() -> None:
    rooms = ("process", "gate", "catalogue", "compaction", "layout", "images", "report", "rules")
    code = "; ".join(f"import shelfsight.training.{room}" for room in rooms)
    code += "; import sys, json; print(json.dumps([m for m in ('numpy', 'onnx', 'onnxruntime', 'PIL', 'torch')"
    code += " if m in sys.modules]))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == []


def test_the_child_uses_the_embeddings_that_others_stored(place: Place, tiny_backbone_file: str) -> None:
    assert place.run() is Outcome.TRAINED
    folder = embeddings_folder(CHANNEL)
    assert place.storage.folders(folder) == [Embedder(load_backbone(tiny_backbone_file)).id[:16]]
    paths = [file.path for file in place.storage.list(folder)]
    place.steps.clear()
    place.order = replace(place.order, out=place.order.out.with_name("again"))
    assert place.run() is Outcome.TRAINED
    assert [file.path for file in place.storage.list(folder)] == paths
