"""Versions by command: published, compared, rolled back, verified and cleaned up."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.command import done, run, run_here
from tests.cli.conftest import audited
from tests.tiny import write_tiny_bundle

STABLE = "●"


def _versions(channel: str = "T_1") -> dict[str, str]:
    """Return the status of each version, the last published first; the stable one's with ●."""
    lines = done("versions", "list", channel).splitlines()
    assert lines[0].split("\t") == [
        "Version", "Status", "Stable", "Rollout", "Products", "Photos", "Accuracy", "Trained", "Size",
    ]  # fmt: skip
    return {cells[0]: cells[1] + cells[2] for cells in (line.split("\t") for line in lines[1:])}


def _latest(data: Path) -> str:
    """Return the version that devices load."""
    found = json.loads((data / "assets" / "ml-models" / "T_1" / "latest" / "metadata.json").read_bytes())
    return str(found["version"])


def test_a_bundle_is_published_and_says_where_devices_find_it(data: Path, tiny_bundle: Path) -> None:
    said = run("publish", tiny_bundle, "--channel", "T_1", "--create-channel")
    assert said.returncode == 0, said.stderr
    facts = dict(line.split("\t") for line in said.stdout.splitlines())
    assert (facts["Version"], facts["Status"], facts["Stable"]) == ("1.0.0", "active", STABLE)
    assert facts["Latest"] == "/assets/ml-models/T_1/latest/"
    assert facts["Files"] == "/assets/ml-models/T_1/v1.0.0/"
    assert _latest(data) == "1.0.0"
    assert [(entry.actor, entry.channel) for entry in audited("version_inserted")] == [("cli:anna", "T_1")]
    assert [entry.channel for entry in audited("channel_created")] == ["T_1"]


def test_a_version_may_be_named_staged_and_printed_as_rest_has_it(published: Path, tiny_bundle: Path) -> None:
    options = ("--channel", "T_1", "--create-channel", "--version", "2.0.0", "--release", "staged", "--json")
    new = json.loads(done("publish", tiny_bundle, *options))
    assert (new["version"], new["status"], new["isStable"]) == ("2.0.0", "testing", False)
    assert new["filesUrl"] == "/assets/ml-models/T_1/v2.0.0/"
    assert json.loads(done("versions", "list", "T_1", "--json"))[0] == new
    assert _latest(published) == "1.0.2"
    assert len(audited("channel_created")) == 1


def test_a_zip_of_a_bundle_is_published_too(data: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", tiny_bundle)
    assert "1.0.0" in done("publish", archive, "--channel", "default")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere", "--channel", "T_9", "--create-channel"], 1, "nowhere does not exist"),
        (["{bundle}", "--channel", "T_9"], 1, "there is no channel 'T_9'"),
        (["{bundle}", "--channel", "T_1", "--version", "1.0.1"], 3, "version 1.0.1 of T_1 exists"),
        (["{bundle}", "--channel", "T_1", "--version", "one"], 2, "'one' is no version"),
        (["{damaged}", "--channel", "T_1"], 1, "weights.bin"),
    ],
)
def test_what_cannot_be_published_is_said_and_changes_nothing(
    published: Path, tiny_bundle: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    damaged = Path(shutil.copytree(tiny_bundle, tmp_path / "damaged"))
    (damaged / "weights.bin").write_bytes(b"")
    places = {"bundle": tiny_bundle, "damaged": damaged}
    refused = run_here("publish", *(argument.format(**places) for argument in arguments))
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert list(_versions()) == ["1.0.2", "1.0.1", "1.0.0"]
    assert run_here("channels", "show", "T_9").returncode == 1


def test_versions_are_released_rolled_back_and_deprecated(published: Path) -> None:
    assert _versions() == {"1.0.2": f"active{STABLE}", "1.0.1": "deprecated", "1.0.0": "deprecated"}
    assert "Version\t1.0.1\n" in done("rollback", "T_1")
    assert _latest(published) == "1.0.1"
    assert json.loads(done("rollback", "T_1", "1.0.0", "--json"))["version"] == "1.0.0"
    assert _latest(published) == "1.0.0"
    assert json.loads(done("versions", "release", "T_1", "1.0.2", "--json"))["isStable"]
    assert _latest(published) == "1.0.2"
    done("rollback", "T_1")
    assert "Status\tdeprecated" in done("versions", "deprecate", "T_1", "1.0.2")
    assert _versions() == {"1.0.2": "deprecated", "1.0.1": "deprecated", "1.0.0": f"active{STABLE}"}
    assert {entry.actor for entry in audited("version_updated")} == {"cli:anna"}


def test_an_older_version_is_republished_as_a_new_one(published: Path) -> None:
    again = json.loads(done("rollback", "T_1", "1.0.0", "--republish", "--json"))
    assert (again["version"], again["imageCount"], again["isStable"]) == ("1.0.3", 10, True)
    assert _latest(published) == "1.0.3"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["versions", "list", "none"], 1, "there is no channel 'none'"),
        (["versions", "compare", "T_1", "1.0.0", "9.9.9"], 1, "T_1 has no version 9.9.9"),
        (["versions", "release", "T_1", "9.9.9"], 1, "T_1 has no version 9.9.9"),
        (["versions", "deprecate", "T_1", "1.0.2"], 3, "is the stable one"),
        (["rollback", "T_1", "1.0.2"], 3, "is the stable one already"),
        (["rollback", "default"], 1, "has no stable version"),
        (["verify", "default"], 1, "has no stable version"),
        (["verify", "T_1", "9.9.9"], 1, "T_1 has no version 9.9.9"),
        (["cleanup", "none"], 1, "there is no channel 'none'"),
        (["cleanup", "--keep", "1"], 2, "Invalid value for '--keep'"),
    ],
)
def test_what_cannot_be_done_with_a_version_is_said(
    published: Path, arguments: list[str], code: int, said: str
) -> None:
    refused = run_here(*arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


def test_two_versions_are_compared(published: Path) -> None:
    facts = dict(line.split("\t") for line in done("versions", "compare", "T_1", "1.0.0", "1.0.2").splitlines())
    assert (facts["Products added"], facts["Photos"], facts["Accuracy"]) == ("none", "10 → 12", "90.0 % → 90.0 %")
    found = json.loads(done("versions", "compare", "T_1", "1.0.0", "1.0.2", "--json"))
    assert (found["earlier"]["version"], found["later"]["version"], found["imageGain"]) == ("1.0.0", "1.0.2", 2)
    assert facts["New to download"] == f"{found['newDownloadBytes'] / 1000:,.1f} kB"


def test_a_damaged_version_does_not_pass(published: Path) -> None:
    assert done("verify", "T_1").endswith("; every file is whole, and its models run\n")
    found = json.loads(done("verify", "T_1", "1.0.0", "--json"))
    assert (found["version"], found["kind"]) == ("1.0.0", "shelfsight")
    (published / "assets" / "ml-models" / "T_1" / "v1.0.0" / "model.onnx").write_bytes(b"x")
    refused = run_here("verify", "T_1", "1.0.0")
    assert refused.returncode == 1
    assert "model.onnx is not the file that the manifest names" in refused.stderr


def test_old_versions_and_what_is_left_of_gone_channels_are_cleaned_up(published: Path, tmp_path: Path) -> None:
    young = run_here("cleanup", "--keep", "2")
    assert (young.returncode, young.stdout) == (0, "Nothing to remove\n")
    assert young.stderr == "Kept because younger than 30 days: 1 (--days 0 removes them)\n"
    assert run_here("cleanup", "T_1").stderr == ""
    gone = write_tiny_bundle(tmp_path / "gone", seed=9)
    done("publish", gone, "--channel", "T_2", "--create-channel")
    done("channels", "remove", "T_2", "--yes")
    with sqlite3.connect(published / "shelfsight.db") as connection:
        connection.execute("UPDATE model_metadata SET created_at = '2026-01-01T00:00:00.000000Z'")
    connection.close()
    said = done("cleanup", "--keep", "2", "--days", "7").splitlines()
    assert said[0] == "Removed version T_1 1.0.0"
    assert "Removed channel T_2" in said
    assert any(line.startswith("Removed blob ") for line in said)
    assert list(_versions()) == ["1.0.2", "1.0.1"]
    assert not any(json.loads(done("cleanup", "--json")).values())


def test_a_clean_up_for_room_removes_young_versions_too(published: Path) -> None:
    made_room = run_here("cleanup", "--keep", "2", "--days", "0")
    assert made_room.stdout.splitlines()[0] == "Removed version T_1 1.0.0"
    assert made_room.stderr == ""


def test_what_stands_in_the_way_of_a_clean_up_is_said(published: Path) -> None:
    versions = published / "assets" / "ml-models" / "T_1"
    (versions / "latest").unlink()
    shutil.rmtree(versions / "v1.0.2")
    broken = run_here("cleanup", "T_1")
    (said,) = broken.stdout.splitlines()
    assert (broken.returncode, broken.stderr) == (1, "")
    assert said.startswith("Broken: ml-models/T_1/v1.0.2/manifest.json is missing")
