"""The command line: what it prints, what it exits with, and how little it loads to say so."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from shelfsight.cli import app
from shelfsight.cli.help import EXAMPLES
from tests.cli.command import run
from tests.conftest import CORNER_SHOP, ROOT, TRY
from tests.tiny import paint_shop

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
GROUPS = sorted(name for name, command in COMMANDS.items() if hasattr(command, "commands"))
MEMBERS = [(group, name) for group in GROUPS for name in COMMANDS[group].commands]


def _section(command: str) -> str:
    """Return what the documentation says of a command or group."""
    documented = (ROOT / "docs" / "reference" / "cli.md").read_text()
    return documented.split(f"\n## `shelfsight {command}")[1].split("\n## ")[0]


def _options(command: Any) -> set[str]:
    names = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return {name for name in names if name.startswith("-")} - {"--help"}


def _documented(text: str) -> set[str]:
    return set(re.findall(r"(?<=`)--?[a-z-]+", text))


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - set(GROUPS)))
def test_every_command_explains_itself_and_is_in_the_documentation(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.stdout
    assert _options(COMMANDS[command]) == _documented(_section(command))


@pytest.mark.parametrize(("group", "name"), MEMBERS)
def test_every_command_of_a_group_is_a_row_of_its_table_with_its_arguments_and_options(group: str, name: str) -> None:
    command = COMMANDS[group].commands[name]
    arguments = [one.metavar for one in command.params if one.param_type_name == "argument"]
    called = " ".join([name, *arguments]).replace("|", r"\|")
    rows = [row for row in _section(group).splitlines() if row.startswith(f"| `{called}` |")]
    assert len(rows) == 1, f"no row of {called}"
    assert _options(command) == _documented(rows[0])


def test_help_has_words_for_what_is_taken_and_nothing_for_flags() -> None:
    for path in [(name,) for name in COMMANDS.keys() - set(GROUPS)] + MEMBERS:
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).stdout
        assert not re.search(r"<(bool|str|int|float|path|list|File)|\{", shown), path
    assert "predict [OPTIONS] BUNDLE IMAGE... " in CliRunner().invoke(app, ["predict", "--help"]).stdout


@pytest.mark.parametrize("words", EXAMPLES)
def test_an_example_of_the_help_is_a_call_of_its_command(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).stdout
    assert f"Example: {EXAMPLES[words]}" in shown
    command: Any = get_command(app)
    for word in words:
        command = command.commands[word]
    called = shlex.split(EXAMPLES[words])
    assert called[: len(words) + 1] == ["shelfsight", *words]
    command.make_context(words[-1], called[len(words) + 1 :])  # fails where an argument or option is none


def test_every_command_stands_in_a_panel_of_its_kind() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    panels = re.findall(r"^╭─ ([A-Z][a-z ]+) ─", shown, re.MULTILINE)
    assert panels == ["Options", "Recogniser", "Service", "Versions on devices", "Shop", "Operations"]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_shows_its_help_and_the_documentation_has_no_command_more(group: str) -> None:
    shown = CliRunner().invoke(app, [group])
    assert "Usage:" in shown.output
    for name, command in COMMANDS[group].commands.items():
        assert command.help
        assert f" {name} " in shown.output
    rows = re.findall(r"^\| `([a-z-]+)", _section(group), re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS[group].commands)


def test_help_starts_without_numerics_database_and_server() -> None:
    heavy = (
        "numpy",
        "onnx",
        "onnxruntime",
        "torch",
        "PIL",
        "sqlalchemy",
        "fastapi",
        "pydantic",
        "uvicorn",
        "structlog",
    )
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
    assert "skipped product-0/broken.jpg: not a picture" in done.stdout
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
    assert done.returncode == 0, done.stderr
    assert "banana.jpg: banana" in done.stdout


def test_predict_goes_on_after_a_bad_picture_and_exits_with_1(demo_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"x")
    done = run("predict", demo_bundle, tmp_path / "bad.jpg", tmp_path / "none.jpg", TRY / "banana.jpg", "--json")
    bad, none, good = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert "not a picture" in bad["error"]
    assert "No such file" in none["error"]
    assert good["known"]


def test_predict_takes_the_photos_of_a_folder(demo_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "shelf" / "left").mkdir(parents=True)
    for place in ("b.jpg", "left/a.jpg", ".thumb.jpg"):
        (tmp_path / "shelf" / place).write_bytes((TRY / "banana.jpg").read_bytes())
    done = run("predict", demo_bundle, tmp_path / "shelf", "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["image"] for line in done.stdout.splitlines()]
    assert found == [str(tmp_path / "shelf" / place) for place in ("b.jpg", "left/a.jpg")]
    (tmp_path / "none").mkdir()
    refused = run("predict", demo_bundle, tmp_path / "none")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "none has no photos in it: name photos, or a folder of them" in refused.stderr


def test_evaluate_measures_known_and_unknown_products(demo_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    lines = [f"{TRY / name}.jpg,{name}" for name in ("banana", "lemon", "carrots", "watermelon", "asparagus")]
    table.write_text("\n".join(["image,product", *lines]))
    done = run("evaluate", demo_bundle, table, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["images"], result["unknownImages"]) == (3, 2)
    assert result["accuracy"] == 1
    assert result["unknownRefused"] == 1
    assert {"top3", "accuracyAt80Coverage", "calibrationError", "worstPairs"} <= set(result)
    assert (result["trainedOn"], result["notes"]) == (0, [])


def test_evaluate_says_that_the_photos_are_those_of_the_training(demo_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    trained = min((CORNER_SHOP / "lemon").iterdir())
    table.write_text(f"image,product\n{trained},lemon\n")
    all_of_them = json.loads(run("evaluate", demo_bundle, table, "--json").stdout)
    assert all_of_them["trainedOn"] == 1
    assert all_of_them["notes"] == ["1 of 1 photos were trained on: this says nothing about new photos. Use others."]
    table.write_text(f"image,product\n{trained},lemon\n{TRY / 'lemon.jpg'},lemon\n")
    done = run("evaluate", demo_bundle, table)
    assert done.stdout.endswith("! 1 of 2 photos were trained on, which promises too much: leave them out.\n")


def test_evaluate_tells_a_person_what_was_confused_and_skipped(demo_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    (tmp_path / "broken.jpg").write_bytes(b"x")
    lines = [f"{TRY}/banana.jpg,banana", f"{TRY}/lemon.jpg,garlic", f"{TRY}/watermelon.jpg,melon", "broken.jpg,lemon"]
    table.write_text("\n".join(["image,product", *lines]))
    done = run("evaluate", demo_bundle, table, "--runtime", "int8")
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in re.split("[│┃]", line) if cell.strip()] for line in done.stdout.splitlines()]
    assert f"{demo_bundle}, int8" in done.stdout
    assert ["Pictures of known products", "2"] in cells
    assert ["Right", "50.0 % (9.4 % to 90.5 %)"] in cells
    assert ["Unknown products refused", "100.0 % of 1 pictures"] in cells
    assert ["garlic", "lemon", "1"] in cells
    assert "skipped broken.jpg: not a picture" in done.stdout


def test_evaluate_without_a_known_product_says_what_to_do(demo_bundle: Path, tmp_path: Path) -> None:
    done = run("evaluate", demo_bundle, paint_shop(tmp_path / "shop"))
    assert done.returncode == 1
    assert "must be named as in training" in done.stderr


def test_inspect_shows_a_whole_bundle_and_names_what_is_damaged(bundle: Path) -> None:
    done = run("inspect", bundle)
    assert done.returncode == 0, done.stderr
    assert "weights.bin" in done.stdout
    assert done.stdout.startswith("Channel demo, version 1.0.0: 12 products, 120 photos, ")
    assert done.stdout.endswith("Every file is whole, every model loads, and they belong together.\n")
    assert set(json.loads(run("inspect", bundle, "--json").stdout)) == {"manifest", "metadata"}
    (bundle / "weights.bin").write_bytes(b"")
    done = run("inspect", bundle)
    assert done.returncode == 1
    assert "weights.bin is not the file the manifest names" in done.stderr
    (bundle / "metadata.json").unlink()
    (bundle / "metadata.json").mkdir()
    done = run("inspect", bundle)
    assert done.returncode == 1
    assert "metadata.json cannot be read (Is a directory): see who may read it" in done.stderr


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
    ("arguments", "said"),
    [
        (["train"], "Missing argument"),
        (["train", "x", "--out", "y", "--head", "forest"], "'forest' is not one of"),
        (["train", str(CORNER_SHOP), "--out", "y", "--version", "one"], "is no version"),
        (["train", str(CORNER_SHOP), "--out", "y", "--channel", "../up"], "cannot be the id of a channel"),
        (["predict", "x", "y", "--runtime", "cuda"], "'cuda' is not one of"),
        (["predict", "x", "y", "--top", "0"], "greater than or equal to 1"),
        (["jobs", "show", "abc"], "Invalid value for 'ID': it has to be a whole number"),
        (["rollout", "start", "T_1", "1.0.0", "--shadow", "much"], "it has to be a number"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_use_exits_with_2(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
