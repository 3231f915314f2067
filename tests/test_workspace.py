"""Temporary folders: gone at the end, also of processes that were killed, and of nobody who still works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from shelfsight.bundle.folder import staged_folder
from shelfsight.workspace import workspace

WORKS = """
import time
from shelfsight.workspace import workspace
with workspace("test") as folder:
    (folder / "inner").mkdir()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_old(folder: Path) -> None:
    """Let two hours go by."""
    then = time.time() - 7200
    os.utime(folder, (then, then), follow_symlinks=False)


def test_it_is_there_within_the_block_and_gone_after_it(root: Path) -> None:
    with workspace("test") as folder:
        assert (folder.parents[1], list(folder.iterdir())) == (root, [])
    assert list(root.iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays() -> None:
    with subprocess.Popen([sys.executable, "-c", WORKS], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip()).parent
        make_old(folder)
        with workspace("test"):
            assert folder.exists(), "its process lives"
        other.send_signal(signal.SIGKILL)
    assert folder.exists(), "a killed process clears nothing away"
    with workspace("test"):
        assert not folder.exists()


def test_a_bundle_can_be_written_in_it_by_this_process_and_by_another() -> None:
    write = "import sys; from pathlib import Path; from shelfsight.bundle.folder import staged_folder as staged\n"
    write += "with staged(Path(sys.argv[1])) as stage: (stage / 'file').write_text('x')"
    with workspace("test") as folder:
        for name in ("first", "second"):
            subprocess.run([sys.executable, "-c", write, str(folder / name)], check=True, timeout=60)
            with staged_folder(folder / name) as stage:
                (stage / "file").write_text("y")
            assert (folder / name / "file").read_text() == "y"


def test_young_folders_links_and_those_of_others_stay(root: Path) -> None:
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (root / "shelfsight-young").mkdir()
    (root / "shelfsight-link").symlink_to(elsewhere)
    (root / "somebody-elses").mkdir()
    for folder in (elsewhere, root / "shelfsight-link", root / "somebody-elses"):
        make_old(folder)
    with workspace("test"):
        pass
    assert {one.name for one in root.iterdir()} == {
        "elsewhere",
        "shelfsight-young",
        "shelfsight-link",
        "somebody-elses",
    }
