"""A real Vendure for tests: a child of the test run, on a free port, in a database of its own."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from sqlalchemy import text

from shelfsight.database.engine import open_database
from shelfsight.partners.vendure.client import UploadFile, VendureClient
from shelfsight.partners.vendure.credentials import Login

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx2

    from shelfsight.partners.vendure.credentials import Credentials

PLUGIN = Path(__file__).parents[2] / "integrations" / "vendure-plugin"
SUPERADMIN = Login("superadmin", "superadmin")
TO_CONNECT = ("ReadProduct", "ReadChannel", "UpdateChannel")
"""Permissions of an administrator with whom a channel is connected, without further options."""
NEEDS = "needs Vendure: run `npm ci --ignore-scripts` in integrations/vendure-plugin"
"""What to say where it is not installed."""

_READY_WITHIN_S = 180
# Node ends by itself when the test run does, however that ends: then its standard input does, too.
_CHILD = "process.stdin.on('end', () => process.exit()).resume(); require(process.argv[1])"

_CREATE_CHANNEL = """mutation($input: CreateChannelInput!) { createChannel(input: $input) {
  ... on Channel { id code token } ... on ErrorResult { errorCode message } } }"""
_CREATE_ROLE = "mutation($input: CreateRoleInput!) { createRole(input: $input) { id } }"
_CREATE_ADMINISTRATOR = """mutation($input: CreateAdministratorInput!) {
  createAdministrator(input: $input) { id user { id } } }"""
_CREATE_KEY = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey } }"
_CREATE_ASSETS = """mutation($input: [CreateAssetInput!]!) { createAssets(input: $input) {
  ... on Asset { id source } ... on ErrorResult { errorCode message } } }"""
_CREATE_PRODUCT = "mutation($input: CreateProductInput!) { createProduct(input: $input) { id } }"
_CREATE_VARIANTS = """mutation($input: [CreateProductVariantInput!]!) {
  createProductVariants(input: $input) { id sku } }"""
_ASSIGN_PRODUCTS = "mutation($input: AssignProductsToChannelInput!) { assignProductsToChannel(input: $input) { id } }"
_CREATE_ZONE = "mutation($input: CreateZoneInput!) { createZone(input: $input) { id } }"
_CREATE_TAX = "mutation($input: CreateTaxCategoryInput!) { createTaxCategory(input: $input) { id } }"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopChannel:
    """A channel of the server."""

    id: str
    code: str
    token: str


class VendureServer:
    """A running server, and what a test needs there.

    Attributes:
        url: of the server; the Admin API is at `/admin-api`.
        log: what it says.
        files: folder of its assets, in `source` and `preview`.
    """

    def __init__(self, url: str, data: Path) -> None:
        """Use a server that runs; `superadmin` logs in when asked for the first time."""
        self.url = url
        self.log = data / "log"
        self.files = data / "assets"
        self.admin = VendureClient(url, SUPERADMIN)
        self._zone: str | None = None
        self._clients = [self.admin]

    def close(self) -> None:
        """Close the connections of every client."""
        for client in self._clients:
            client.close()

    @property
    def api(self) -> str:
        """URL of the Admin API."""
        return self.url + "/admin-api"

    def client(
        self, credentials: Credentials = SUPERADMIN, *, transport: httpx2.BaseTransport | None = None
    ) -> VendureClient:
        """Return a client of its own, closed with the server."""
        client = VendureClient(self.url, credentials, transport=transport, sleep=lambda _: None)
        self._clients.append(client)
        return client

    def ask(self, document: str, channel: str | None = None, **variables: Any) -> Any:
        """Return the one field of the data that a query or mutation of the superadmin answers with."""
        (found,) = self.admin.mutate(document, variables, channel=channel).values()
        return found

    def channel(self, code: str = "shop", **fields: Any) -> ShopChannel:
        """Return a new channel in English and euros; `code` only begins its code."""
        if self._zone is None:
            self._zone = self.ask(_CREATE_ZONE, input={"name": "everywhere"})["id"]
            self.ask(_CREATE_TAX, input={"name": "standard", "isDefault": True})
        unique = f"{code}-{uuid.uuid4().hex[:8]}"
        made = self.ask(
            _CREATE_CHANNEL,
            input={
                "code": unique,
                "token": f"{unique}-token",
                "defaultLanguageCode": "en",
                "pricesIncludeTax": False,
                "defaultCurrencyCode": "EUR",
                "defaultTaxZoneId": self._zone,
                "defaultShippingZoneId": self._zone,
                **({"customFields": fields} if fields else {}),
            },
        )
        return ShopChannel(**made)

    def administrator(self, permissions: Sequence[str], channels: Sequence[str]) -> Login:
        """Return how a new administrator logs in, who has these permissions in the channels with these ids."""
        name = uuid.uuid4().hex[:12]
        role = self.role(permissions, channels)
        person = {"firstName": "Ada", "lastName": "Till", "emailAddress": f"{name}@example.com"}
        self.ask(_CREATE_ADMINISTRATOR, input={**person, "password": f"pass-{name}", "roleIds": [role]})
        return Login(person["emailAddress"], f"pass-{name}")

    def role(self, permissions: Sequence[str], channels: Sequence[str]) -> str:
        """Return the id of a new role."""
        code = f"role-{uuid.uuid4().hex[:12]}"
        made = self.ask(
            _CREATE_ROLE,
            input={"code": code, "description": code, "permissions": permissions, "channelIds": channels},
        )
        return str(made["id"])

    def api_key(self, permissions: Sequence[str], channel: ShopChannel) -> str:
        """Return a new API key with these permissions in a channel, which works in that one only."""
        role = self.role(permissions, [channel.id])
        names = [{"languageCode": "en", "name": "key"}]
        made = self.ask(_CREATE_KEY, channel.token, input={"roleIds": [role], "translations": names})
        return str(made["apiKey"])

    def pictures(self, pictures: Sequence[bytes], channel: ShopChannel | None = None) -> list[str]:
        """Return the ids of new assets of pictures in JPEG."""
        if not pictures:
            return []
        files = [
            UploadFile(name=f"{uuid.uuid4().hex}.jpg", data=picture, media_type="image/jpeg") for picture in pictures
        ]
        token = channel.token if channel else None
        data = self.admin.upload(_CREATE_ASSETS, [{} for _ in files], files, channel=token)
        return [asset["id"] for asset in data["createAssets"]]

    def product(
        self,
        channel: ShopChannel,
        name: str,
        pictures: Sequence[bytes] = (),
        *,
        skus: Sequence[str] = (),
        price: int = 100,
    ) -> str:
        """Return the id of a new product of a channel, with a variant for each SKU.

        Args:
            pictures: JPEG files.
            price: of every variant, in cents.
        """
        assets = self.pictures(pictures, channel)
        slug = f"{uuid.uuid4().hex}"
        words = [{"languageCode": "en", "name": name, "slug": slug, "description": ""}]
        shown = {"assetIds": assets, "featuredAssetId": assets[0]} if assets else {}
        product = self.ask(_CREATE_PRODUCT, channel.token, input={"translations": words, **shown})
        if skus:
            self.ask(
                _CREATE_VARIANTS,
                channel.token,
                input=[
                    {
                        "productId": product["id"],
                        "sku": sku,
                        "price": price,
                        "translations": [{"languageCode": "en", "name": f"{name} {sku}"}],
                    }
                    for sku in skus
                ],
            )
        return str(product["id"])

    def assign_products(self, products: Sequence[str], channel: ShopChannel) -> None:
        """Assign products of the default channel to another."""
        self.ask(_ASSIGN_PRODUCTS, input={"productIds": products, "channelId": channel.id})


def is_installed() -> bool:
    """Return whether Node and Vendure's packages are there."""
    return shutil.which("node") is not None and (PLUGIN / "node_modules" / "@vendure" / "core").is_dir()


def jpeg(color: tuple[int, int, int], size: int = 64) -> bytes:
    """Return a picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (size, size), color).save(out, "JPEG")
    return out.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a Vendure lives: what stays when it is started again."""

    database_url: str
    data: Path
    port: int


@contextmanager
def vendure_server(postgresql_url: str, settings: Mapping[str, str] | None = None) -> Iterator[VendureServer]:
    """Yield a running Vendure with a database of its own; nothing of it is left when the block ends.

    Args:
        postgresql_url: of a server's database `postgres`.
        settings: further variables of its environment, as the plugin's `dev-server/index.js` says.
    """
    with vendure_place(postgresql_url) as place, running(place, settings) as server:
        yield server


@contextmanager
def vendure_place(postgresql_url: str) -> Iterator[Place]:
    """Yield where a Vendure can live; nothing of it is left when the block ends."""
    name = f"vendure_{uuid.uuid4().hex[:12]}"
    _execute(postgresql_url, f"CREATE DATABASE {name}")
    data = Path(tempfile.mkdtemp(prefix="shelfsight-vendure-"))
    url = postgresql_url.replace("/postgres?", f"/{name}?")
    try:
        yield Place(database_url=url, data=data, port=_free_port())
    finally:
        shutil.rmtree(data, ignore_errors=True)
        _execute(postgresql_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running(place: Place, settings: Mapping[str, str] | None = None) -> Iterator[VendureServer]:
    """Yield the Vendure that lives there; it is killed when the block ends.

    Args:
        settings: as of `vendure_server`.
    """
    log = place.data / "log"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PG", "SHELFSIGHT_"))},
        "PORT": str(place.port),
        "DATABASE_URL": place.database_url,
        "DATA_DIR": str(place.data),
        "NODE_OPTIONS": "",
        **(settings or {}),
    }
    command = ["node", "-e", _CHILD, str(PLUGIN / "dev-server" / "index.js")]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, cwd=PLUGIN, env=environment
        )
    server = VendureServer(f"http://127.0.0.1:{place.port}", place.data)
    try:
        _wait_until_ready(process, log)
        yield server
    finally:
        server.close()
        process.kill()
        process.communicate()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + _READY_WITHIN_S
    while process.poll() is None and time.monotonic() < give_up_at:
        if b"READY\n" in log.read_bytes():
            return
        time.sleep(0.1)
    raise RuntimeError(f"Vendure did not start:\n{log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _execute(url: str, statement: str) -> None:
    server = open_database(url)
    with server.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(statement))
    server.close()
