"""Uploads of each kind, to be damaged at will."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.bundle.uploads import write_phone, write_teachable
from tests.tiny import write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle of ours, of channel demo and version 1.0.0; only read it."""
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture
def ours(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the small bundle."""
    return shutil.copytree(tiny_bundle, tmp_path / "ours")


@pytest.fixture(params=["ours", "teachable-machine", "ort"])
def upload(request: pytest.FixtureRequest, tmp_path: Path, tiny_bundle: Path) -> Path:
    """A good upload, of each kind."""
    folder = tmp_path / "upload"
    match request.param:
        case "ours":
            return shutil.copytree(tiny_bundle, folder)
        case "ort":
            return write_phone(folder)
        case _:
            return write_teachable(folder)
