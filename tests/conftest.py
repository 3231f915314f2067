"""What several tests share: the example shop, a recogniser of it, and a backbone small enough to think about."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.tiny import tiny_backbone

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("shelfsight", deadline=None, derandomize=True)  # machines here are busy
settings.load_profile("shelfsight")

ROOT = Path(__file__).parents[1]
CORNER_SHOP = ROOT / "examples" / "corner-shop"
TRY = ROOT / "examples" / "try"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFSIGHT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example shop's bundle; only read it."""
    from shelfsight.settings import cache_dir
    from shelfsight.training.train import TrainingOptions, train

    out = tmp_path_factory.mktemp("demo") / "bundle"
    train(CORNER_SHOP, out, cache_dir=cache_dir(), options=TrainingOptions(channel="demo"))
    return out


@pytest.fixture
def bundle(demo_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the example shop's bundle, to be damaged at will."""
    return Path(shutil.copytree(demo_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def tiny_backbone_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a backbone of four layers, which embeds a picture in a fraction of a millisecond."""
    from shelfsight.bundle.backbone import write_backbone

    path = tmp_path_factory.mktemp("backbone") / "tiny.safetensors"
    path.write_bytes(write_backbone(tiny_backbone()))
    return str(path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--no-skips`, with which a skipped test is a failure: nothing may be missing in CI."""
    parser.addoption("--no-skips", action="store_true", help="fail if a test is skipped")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for skipped tests, when asked to."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which system package every skipped test is waiting for."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped})
        terminalreporter.write_line(f"{len(skipped)} skipped: {'; '.join(reasons)}", yellow=True)
