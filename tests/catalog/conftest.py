"""What the tests of the catalogue share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.catalog.site import Site, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that stands for one on the internet."""
    with running_site() as found:
        yield found
