"""The plugin's own tests, which Node runs against real Vendure servers, on the PostgreSQL of this run."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.vendure.server import NEEDS, PLUGIN

_ENDS_WITHIN_S = 600


@pytest.mark.skipif(not (PLUGIN / "node_modules").is_dir(), reason=NEEDS)
@pytest.mark.parametrize("file", sorted(file.name for file in PLUGIN.glob("test/*.test.js")))
def test_the_plugin(file: str, postgresql_url: str) -> None:
    node = shutil.which("node")
    assert node
    ran = subprocess.run(
        [node, "--test", f"test/{file}"],
        cwd=PLUGIN,
        env={**os.environ, "TEST_DATABASE_URL": postgresql_url},
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\n# pass 0\n" not in ran.stdout, ran.stdout
