"""Rules ask no clock. Import rules keep the rest out of them, but values of time come from the same module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

RULES = sorted((ROOT / "src" / "shelfsight").rglob("rules.py"))


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.parent.name)
def test_rules_ask_no_clock(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not asked & {"now", "today", "utcnow", "fromtimestamp"}
