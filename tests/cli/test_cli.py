"""The command line: what it prints, what it exits with, and how little it loads to say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from shelfsight.cli import app
from tests.conftest import CORNER_SHOP, ROOT, TRY
from tests.tiny import paint_shop

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shelfsight", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_is_in_the_documentation(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.stdout
    documented = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert f"`shelfsight {command}" in documented
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    options = {option for parameter in parameters for option in parameter.opts if option.startswith("--")}
    assert {option for option in options if option not in documented} == {"--help"} & options


def test_help_starts_without_numerics() -> None:
    heavy = ("numpy", "onnx", "onnxruntime", "torch", "PIL")
    script = f"import sys, shelfsight.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_train_prints_the_report_as_json_and_nothing_else(tmp_path: Path) -> None:
    shop = paint_shop(tmp_path / "shop", products=2, photos=3)
    done = run("train", shop, "--out", tmp_path / "out", "--channel", "T_1", "--version", "1.4.2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["channelId"], report["version"], report["productCount"]) == ("T_1", "1.4.2", 2)
    assert done.stderr == ""
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_bytes())
    assert (metadata["channelId"], metadata["version"]) == ("T_1", "1.4.2")
    assert (tmp_path / "out" / "T_1_v1.4.2.json").is_file()


def test_train_tells_a_person_how_good_it_is_and_what_was_skipped(tmp_path: Path) -> None:
    shop = paint_shop(tmp_path / "shop", products=3, photos=3)
    (shop / "product-0" / "broken.jpg").write_bytes(b"x")
    done = run("train", shop, "--out", tmp_path / "out", "--head", "ridge", "--seed", 4)
    assert done.returncode == 0, done.stderr
    assert "ridge on mobilenet_v2_224" in done.stdout
    assert "product-0/broken.jpg: not a picture" in done.stdout
    assert "\x1b[" not in done.stdout + done.stderr  # no colours in a pipe
    assert json.loads((tmp_path / "out" / "manifest.json").read_bytes())["settings"]["seed"] == 4


def test_predict_gives_one_json_line_per_image(demo_bundle: Path) -> None:
    done = run("predict", demo_bundle, TRY / "banana.jpg", TRY / "watermelon.jpg", "--json", "--top", 2)
    assert done.returncode == 0, done.stderr
    known, unknown = (json.loads(line) for line in done.stdout.splitlines())
    assert set(known) == {"image", "predictions", "known"}
    assert known["image"].endswith("banana.jpg")
    assert known["predictions"][0]["product"] == "banana"
    assert len(known["predictions"]) == 2
    assert (known["known"], unknown["known"]) == (True, False)


@pytest.mark.parametrize("runtime", ["onnx", "int8", "ort"])
def test_predict_runs_every_runtime(demo_bundle: Path, runtime: str) -> None:
    done = run("predict", demo_bundle, TRY / "banana.jpg", "--runtime", runtime)
    assert "banana.jpg: banana" in done.stdout


def test_predict_goes_on_after_a_bad_picture_and_exits_with_1(demo_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"x")
    done = run("predict", demo_bundle, tmp_path / "bad.jpg", tmp_path / "none.jpg", TRY / "banana.jpg", "--json")
    bad, none, good = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert "not a picture" in bad["error"]
    assert "No such file" in none["error"]
    assert good["known"]


def test_evaluate_measures_known_and_unknown_products(demo_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    lines = [f"{TRY / name}.jpg,{name}" for name in ("banana", "lemon", "carrots", "watermelon", "asparagus")]
    table.write_text("\n".join(["image,product", *lines]))
    done = run("evaluate", demo_bundle, table, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["pictures"], result["unknownPictures"]) == (3, 2)
    assert result["accuracy"] == 1
    assert result["unknownRefused"] == 1
    assert {"top3", "accuracyAt80Coverage", "calibrationError", "worstPairs"} <= set(result)
    shown = run("evaluate", demo_bundle, table, "--runtime", "int8")
    assert "100.0 %" in shown.stdout


def test_evaluate_without_a_known_product_says_what_to_do(demo_bundle: Path, tmp_path: Path) -> None:
    done = run("evaluate", demo_bundle, paint_shop(tmp_path / "shop"))
    assert done.returncode == 1
    assert "must be named as in training" in done.stderr


def test_inspect_shows_a_whole_bundle_and_names_what_is_damaged(bundle: Path) -> None:
    done = run("inspect", bundle)
    assert done.returncode == 0, done.stderr
    assert "weights.bin" in done.stdout
    assert set(json.loads(run("inspect", bundle, "--json").stdout)) == {"manifest", "metadata"}
    (bundle / "weights.bin").write_bytes(b"")
    done = run("inspect", bundle)
    assert done.returncode == 1
    assert "weights.bin is not the file the manifest names" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "/nowhere", "--out", "out"], "does not exist"),
        (["predict", "/nowhere", "x.jpg"], "is not a bundle"),
        (["evaluate", "/nowhere", "x"], "is not a bundle"),
        (["inspect", "/nowhere"], "is not a bundle"),
    ],
)
def test_work_that_fails_exits_with_1_and_one_sentence(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["train", "x", "--out", "y", "--head", "forest"],
        ["train", str(CORNER_SHOP), "--out", "y", "--version", "one"],
        ["train", str(CORNER_SHOP), "--out", "y", "--channel", "../up"],
        ["predict", "x", "y", "--runtime", "cuda"],
        ["nonsense"],
    ],
)
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_trouble(demo_bundle: Path) -> None:
    photos = sorted(CORNER_SHOP.rglob("*.jpg"))
    with subprocess.Popen(
        [sys.executable, "-m", "shelfsight", "predict", str(demo_bundle), *map(str, photos), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_the_demo_trains_and_serves_the_till(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "shelfsight", "demo", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SHELFSIGHT_CACHE_DIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if "http://" in line).split()[5]
        try:
            with urllib.request.urlopen(address) as page:  # noqa: S310 (our own server)
                assert b"<html" in page.read()
            with urllib.request.urlopen(f"{address}/products.json") as products:  # noqa: S310
                assert len(json.load(products)["products"]) == 12
        finally:
            process.terminate()


def test_a_busy_port_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as busy:
        done = run("demo", "--no-browser", "--port", busy.getsockname()[1], SHELFSIGHT_CACHE_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "choose another with --port" in done.stderr
    assert list(tmp_path.iterdir()) == []
