"""The demo, and what Ctrl-C does to it and to a training."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from shelfsight.settings import cache_dir
from tests.cli.command import run, started
from tests.conftest import CORNER_SHOP
from tests.tiny import paint_shop

DEMO = ("demo", "--no-browser", "--port", "0")
STOPPED = "Stopped. Nothing was replaced, and photos already looked at are remembered.\n"


def _opened(demo: subprocess.Popen[str]) -> tuple[str, Path]:
    """Return the address of the till and the folder of the bundle, once the demo serves."""
    assert demo.stdout is not None
    report = next(line for line in demo.stdout if line.startswith("Bundle: ")).split("Look at: ")[1].strip()
    address = next(line for line in demo.stdout if "http://" in line).split()[5]
    _get(address)
    return address, Path(report).parent


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as page:  # noqa: S310 (our own server)
        body: bytes = page.read()
    return body


def _end(process: subprocess.Popen[str], how: signal.Signals) -> tuple[int, str]:
    """Send the signal and return the exit code and what was said on standard error."""
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def _wait_for_embeddings(cache: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the first batch is in the cache, so that the signal comes half way."""
    wal = cache / "embeddings-1.sqlite-wal"
    while process.poll() is None and not (wal.exists() and wal.stat().st_size > 500_000):
        time.sleep(0.02)


@pytest.mark.usefixtures("demo_bundle")  # trained already, so the demos need only look up the embeddings
def test_two_demos_serve_the_till_each_its_own_and_leave_nothing_behind(tmp_path: Path) -> None:
    temporary, cache = tmp_path / "tmp", tmp_path / "cache"
    temporary.mkdir()
    shutil.copytree(cache_dir(), cache)
    places = {"TMPDIR": str(temporary), "SHELFSIGHT_CACHE_DIR": str(cache)}
    with started(*DEMO, **places) as one, started(*DEMO, **places) as other:
        (till, bundle), (other_till, other_bundle) = _opened(one), _opened(other)
        assert b"<html" in _get(till)
        assert len(json.loads(_get(f"{till}/products.json"))["products"]) == 12
        assert bundle != other_bundle
        assert _end(one, signal.SIGINT) == (0, "")
        assert not bundle.exists()
        shutil.rmtree(cache)  # may be deleted at any time
        model = other_till.replace("/till/", "/assets/ml-models/") + "/latest/weights.bin"
        assert _get(model) == (other_bundle / "weights.bin").read_bytes()
        assert _end(other, signal.SIGTERM) == (143, "")
    assert list(temporary.glob("shelfsight-*")) == []


def test_a_demo_of_your_own_photos_names_products_by_their_folders(tmp_path: Path) -> None:
    with started(*DEMO, paint_shop(tmp_path / "shop", products=2, photos=2)) as demo:
        till, _ = _opened(demo)
        products = json.loads(_get(f"{till}/products.json"))["products"]
        assert till.endswith("/till/demo")
        assert [product["name"] for product in products] == ["product-0", "product-1"]
        for product in products:
            picture = _get(till.removesuffix("/till/demo") + product["picture"])
            assert picture in {photo.read_bytes() for photo in (tmp_path / "shop" / product["id"]).iterdir()}


@pytest.mark.parametrize(("how", "code", "said"), [(signal.SIGINT, 130, STOPPED), (signal.SIGTERM, 143, "")])
@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_training_that_is_stopped_says_so_and_leaves_nothing_behind(
    tmp_path: Path, command: str, how: signal.Signals, code: int, said: str
) -> None:
    out, cache, temporary = tmp_path / "out", tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    arguments = DEMO if command == "demo" else ("train", CORNER_SHOP, "--out", out)
    with started(*arguments, TMPDIR=str(temporary), SHELFSIGHT_CACHE_DIR=str(cache)) as process:
        _wait_for_embeddings(cache, process)
        assert _end(process, how) == (code, said)
    assert not out.exists()
    assert list(temporary.glob("shelfsight-*")) == []


def test_a_busy_port_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        done = run("demo", "--no-browser", "--port", busy.getsockname()[1], SHELFSIGHT_CACHE_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "choose another with --port" in done.stderr
    assert list(tmp_path.iterdir()) == []
