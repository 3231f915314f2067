"""Channels of the real Vendure to deploy to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.partners.vendure.channels import model_fields
from shelfsight.vendure.deploy import deploy
from shelfsight.vendure.deploy_channel import find_channel
from shelfsight.vendure.versions import list_versions
from tests.catalog.site import Site, running_site, says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import ModelFields, VendureChannel
    from shelfsight.vendure.deploy import DeployReport
    from shelfsight.vendure.deploy_rules import ModelFiles
    from tests.vendure.server import VendureServer

_ALL_ASSETS = "query($options: AssetListOptions) { assets(options: $options) { items { id } } }"


@dataclass(frozen=True)
class Shop:
    """A channel, and the superadmin who deploys to it."""

    server: VendureServer
    channel: VendureChannel
    client: VendureClient

    @property
    def fields(self) -> ModelFields:
        """Which model the channel's devices load."""
        return model_fields(self.client, self.channel)

    @property
    def versions(self) -> list[tuple[str, bool]]:
        """The versions, the newest first, and whether they are active."""
        return [(one.version, one.is_active) for one in list_versions(self.client, self.channel)]

    def deploy(self, files: ModelFiles, version: str, **how: Any) -> DeployReport:
        """Deploy a model."""
        return deploy(self.client, files, channel=self.channel, version=version, **how)

    def assets(self, *, everywhere: bool = False) -> set[str]:
        """Return the ids of the channel's assets, or of those that carry its tag wherever they are."""
        wanted = {"tags": [f"channel-{self.channel.id}"]} if everywhere else {}
        token = None if everywhere else self.channel.token
        found = self.server.ask(_ALL_ASSETS, token, options={**wanted, "take": 1000})
        return {asset["id"] for asset in found["items"]}


@pytest.fixture
def shop(vendure: VendureServer) -> Shop:
    """A new channel without a model."""
    return new_shop(vendure)


def new_shop(server: VendureServer) -> Shop:
    """Return a new channel without a model."""
    made = server.channel("shop")
    return Shop(server, find_channel(server.admin, made.id), server.admin)


@pytest.fixture
def site() -> Iterator[Site]:
    """The server of a shop, inside our own network."""
    with running_site() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Site]:
    """Another server inside, which is nobody's business."""
    with running_site() as found:
        found.answers["/secret"] = says(200, b"secret")
        yield found
