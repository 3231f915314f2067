"""What a command prints, wherever it goes: a narrow encoding, a full disk, a closed stream, a reader that leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import run, run_redirected, started
from tests.conftest import CORNER_SHOP, TRY
from tests.tiny import paint, paint_shop

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full: run on Linux")


@pytest.fixture(scope="module")
def milk_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a product that few encodings can write."""
    folder = tmp_path_factory.mktemp("milk")
    shop = paint_shop(folder / "shop", products=2, photos=2)
    (shop / "product-0").rename(shop / "牛奶")
    (shop / "牛奶" / "坏.jpg").write_bytes(b"x")
    done = run("train", shop, "--out", folder / "bundle", encoding="ascii")
    assert done.returncode == 0, done.stderr
    assert "skipped \\u725b\\u5976/\\u574f.jpg: not a picture" in done.stdout
    return folder / "bundle"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_the_same_in_every_encoding(milk_bundle: Path, tmp_path: Path, encoding: str) -> None:
    photo, bad = paint(tmp_path / "牛奶 😀.jpg", 0, seed=1), tmp_path / "é.jpg"
    done = run("predict", milk_bundle, photo, bad, "--json", encoding=encoding)
    assert (done.returncode, done.stderr) == (1, "")
    good, failed = (json.loads(line) for line in done.stdout.splitlines())
    assert good["image"] == str(photo)
    assert {answer["product"] for answer in good["predictions"]} == {"牛奶", "product-1"}
    assert failed["image"] == str(bad)
    assert ("\\u" in done.stdout) == (encoding != "utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_cannot_hold_is_escaped(milk_bundle: Path, tmp_path: Path, encoding: str) -> None:
    photo = paint(tmp_path / "photo.jpg", 0, seed=1)
    done = run("predict", milk_bundle, photo, "--top", 2, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u725b\\u5976" in done.stdout
    for command in (["inspect", milk_bundle], ["evaluate", milk_bundle, milk_bundle.parent / "shop"]):
        done = run(*command, encoding=encoding)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_path_that_is_no_unicode_is_answered_too(demo_bundle: Path, tmp_path: Path) -> None:
    photo = Path(f"{tmp_path}/\udcff.jpg")
    lines = [run("predict", demo_bundle, photo, *option) for option in ([], ["--json"])]
    assert [done.stderr for done in lines] == ["", ""]
    assert lines[0].stdout.startswith(f"{tmp_path}/\\udcff.jpg: ")
    assert json.loads(lines[1].stdout)["image"] == str(photo)


@needs_dev_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["predict", "predict --json", "inspect", "inspect --json", "--help", "--version"])
def test_a_full_disk_is_one_sentence(demo_bundle: Path, command: str, unbuffered: str) -> None:
    name, *options = command.split()
    operands = {"predict": [demo_bundle, TRY / "banana.jpg"], "inspect": [demo_bundle]}.get(name, [])
    done = run_redirected(">/dev/full", name, *operands, *options, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: standard output cannot be written (No space left on device)")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", [[], ["--json"]])
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_trouble(demo_bundle: Path, redirection: str, option: list[str]) -> None:
    done = run_redirected(redirection, "predict", demo_bundle, TRY / "banana.jpg", *option)
    assert done.returncode == 0
    assert ("banana" in done.stdout) == (redirection == "2>&-")
    assert done.stderr == ""


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_trouble(demo_bundle: Path, option: list[str]) -> None:
    photos = sorted(CORNER_SHOP.rglob("*.jpg"))
    with started("predict", demo_bundle, *photos, *option) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() != ""
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_a_line_in_a_pipe_is_never_folded(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 150)
    shop, out = paint_shop(folder / "shop", products=2, photos=2), folder / ("o" * 150)
    broken = shop / "product-0" / f":apple: [red] {'b' * 180}.jpg"
    broken.write_bytes(b"x")
    trained = run("train", shop, "--out", out).stdout.splitlines()
    assert f"Bundle: {out}   Look at: {out / 'report.html'}" in trained
    assert any(line.startswith(f"skipped product-0/{broken.name}: not a picture") for line in trained)
    notes = [line for line in trained if line.startswith("! ")]
    report = json.loads((out / "report.json").read_bytes())
    assert notes == [f"! {note}" for note in report["notes"]]
    predicted = run("predict", out, broken).stdout.splitlines()
    assert len(predicted) == 1
    assert predicted[0].startswith(f"{broken}: not a picture")


@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_that_comes_inside_a_destructor_ends_the_command_all_the_same(how: str, code: int) -> None:
    script = (
        "import signal, sys, time\n"
        "from shelfsight import cli\n"
        "class Dying:\n"
        f"    def __del__(self): signal.raise_signal(signal.{how})\n"
        "def command():\n"
        "    Dying()\n"
        "    time.sleep(30)\n"
        "cli.app = command\n"
        "try:\n"
        "    cli.main()\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
