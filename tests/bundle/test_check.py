"""A hostile model crashes, hangs or fills the memory of a child, and the server gets one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from shelfsight.bundle import check
from shelfsight.bundle.check import check_in_child, verify_in_child
from shelfsight.bundle.uploaded import check_upload
from shelfsight.errors import BundleError, UnavailableError, UsageError
from tests.bundle.uploads import STAMP, endless, files_of, gigantic, phone_model, write_phone, write_teachable

if TYPE_CHECKING:
    from pathlib import Path


def test_a_child_gives_the_manifest_that_the_check_gives(upload: Path, tmp_path: Path) -> None:
    other = shutil.copytree(upload, tmp_path / "other")
    assert check_in_child(upload, **STAMP) == check_upload(other, **STAMP)
    assert files_of(upload) == files_of(other)


def test_a_child_verifies_what_was_published(upload: Path) -> None:
    manifest = check_upload(upload, **STAMP)
    assert verify_in_child(upload) == manifest
    (upload / "metadata.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"metadata\.json has format None"):
        verify_in_child(upload)


def test_a_child_refuses_with_the_sentence_of_the_check(tmp_path: Path) -> None:
    folder = write_phone(tmp_path / "phone", labels=["a", "b"])
    with pytest.raises(BundleError) as inside:
        check_upload(folder, **STAMP)
    with pytest.raises(BundleError) as outside:
        check_in_child(folder, **STAMP)
    assert str(outside.value) == str(inside.value)
    with pytest.raises(UsageError, match="is no version"):
        check_in_child(folder, channel="shop", version="x")


def test_a_few_are_checked_at_once_and_the_others_wait_their_turn(
    upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = threading.BoundedSemaphore(1)
    monkeypatch.setattr(check, "_TURNS", turns)
    with turns, pytest.raises(UnavailableError, match="try again in a minute"):
        check_in_child(upload, **STAMP, timeout_s=0.1)
    assert check_in_child(upload, **STAMP).channel_id == STAMP["channel"]


def test_a_model_that_never_answers_is_ended(tmp_path: Path) -> None:
    folder = write_phone(tmp_path / "phone", phone_model(endless(), "late"))
    started = time.monotonic()
    with pytest.raises(BundleError, match="not checked within 4 s"):
        check_in_child(folder, **STAMP, timeout_s=4)
    assert time.monotonic() - started < 20


def test_a_model_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    folder = write_phone(tmp_path / "phone", phone_model(gigantic(), "late"))
    with pytest.raises(BundleError, match=r"too large|does not run"):
        check_in_child(folder, **STAMP)


def test_a_check_without_enough_memory_to_begin_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^the (bundle|check) "):
        check_in_child(write_teachable(tmp_path / "tm"), **STAMP, memory_bytes=150_000_000)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed the check \(SIGSEGV\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", r"crashed the check \(SIGABRT\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed, which took too much memory or time"),
        ("import os; os._exit(0)", "no reason given"),
        ("import os; os.write(1, b'[3]'); os._exit(0)", "cannot be checked"),
        ("import os; os.write(2, b'a\\nLastError: why'); os._exit(1)", r"cannot be checked \(LastError: why\)"),
    ],
)
def test_a_child_that_ends_otherwise_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, sentence: str
) -> None:
    _at_start(tmp_path, monkeypatch, code)
    with pytest.raises(BundleError, match=sentence):
        check_in_child(write_teachable(tmp_path / "tm"), **STAMP)


def test_a_child_is_told_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFSIGHT_DATABASE_URL", "postgresql://user:s3cr3t@host/db")
    told = tmp_path / "told.json"
    _at_start(tmp_path, monkeypatch, f"import json, os; open({str(told)!r}, 'w').write(json.dumps(dict(os.environ)))")
    check_in_child(write_teachable(tmp_path / "tm"), **STAMP)
    assert "PATH" in json.loads(told.read_bytes())
    assert "s3cr3t" not in told.read_text()


def test_the_server_can_import_the_check_without_numerics() -> None:
    modules = "shelfsight.bundle.check, shelfsight.bundle.stamp, sys"
    code = f"import {modules}; print({{'numpy', 'onnx', 'onnxruntime'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "set()\n"


def _at_start(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run code in every Python that starts from now on, in the place of a model that breaks out."""
    (folder / "start").mkdir()
    (folder / "start" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder / "start"))
