"""What the documentation tells people to paste does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, TRY

if TYPE_CHECKING:
    from pathlib import Path

_USE = (ROOT / "docs" / "how-to" / "use-a-bundle.md").read_text()
_PYTHON = re.findall(r"```python\n(.*?)```", _USE, re.DOTALL)


@pytest.mark.parametrize("code", _PYTHON, ids=["onnxruntime", "shelfsight"])
@pytest.mark.parametrize(("photo", "answer"), [("lemon.jpg", "lemon"), ("watermelon.jpg", "not known")])
def test_python_that_uses_a_bundle_runs_as_it_is_written(
    demo_bundle: Path, tmp_path: Path, code: str, photo: str, answer: str
) -> None:
    (tmp_path / "bundle").symlink_to(demo_bundle)
    shutil.copy(TRY / photo, tmp_path / "shelf.jpg")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout


def test_every_page_is_in_the_index_and_every_link_of_it_leads_somewhere() -> None:
    docs = ROOT / "docs"
    linked = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", (docs / "README.md").read_text())}
    assert {link for link in linked if not (docs / link).exists()} == set()
    pages = {
        f"{page.parent.name}/{page.name}" for kind in ("how-to", "reference") for page in (docs / kind).glob("*.md")
    }
    assert pages - linked == set()
