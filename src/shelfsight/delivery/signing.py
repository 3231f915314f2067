"""URLs with a token, by which whoever has them may load files of a private channel for a while."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from shelfsight.access import audit
from shelfsight.access.keys import url_secrets
from shelfsight.access.rules import may_more_than_devices
from shelfsight.access.url_tokens import issue
from shelfsight.delivery.grants import BUCKET, file_grant, version_grant
from shelfsight.delivery.rules import is_public_name
from shelfsight.delivery.store import find_channel
from shelfsight.errors import NotFoundError
from shelfsight.registry import files, layout, store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shelfsight.access.keys import UrlSecret
    from shelfsight.access.rules import Caller
    from shelfsight.access.url_tokens import Grant
    from shelfsight.delivery.store import ServedChannel
    from shelfsight.registry.publish import Registry

_PATH = re.compile(r"(?P<channel>[^/]+)/v(?P<version>[^/]+)/(?P<name>[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUrl:
    """A file's path in the bucket `ml-models`, and its URL."""

    path: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVersion:
    """Every file of a version, all with the one `token`, and the folder they are in as a URL."""

    base_url: str
    token: str = field(repr=False)
    urls: tuple[SignedUrl, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """In whose name URLs are signed, and when they end; `server` is what goes before their paths."""

    by: Caller
    expires_at: datetime
    address: str | None = None
    server: str = ""


def sign_version(registry: Registry, channel: str, version: str, terms: Terms) -> SignedVersion:
    """Return a version such as 1.4.2 with a token that is good for its files and for the blobs it uses.

    Raises:
        NotFoundError: there is no such channel or version.
        BundleError: its manifest is missing or damaged.
    """
    served, names = _version(registry, channel, version)
    folder = f"{channel}/v{version}"
    token = issue(_secret(registry), version_grant(served, version), expires_at=terms.expires_at)
    _note(registry, channel, [folder], terms)
    urls = tuple(_signed(f"{folder}/{name}", token, terms) for name in names)
    return SignedVersion(base_url=f"{_url(folder, terms)}/", token=token, urls=urls)


def sign_files(registry: Registry, channel: str, paths: Sequence[str], terms: Terms) -> tuple[SignedUrl, ...]:
    """Return a URL for each of the paths, `T_1/v1.4.2/model.ort` and the like; each is good for that file alone.

    Raises:
        NotFoundError: one is no file of a version of this channel.
        BundleError: a manifest is missing or damaged.
    """
    grants: list[Grant] = []
    versions: dict[str, tuple[ServedChannel, list[str]]] = {}
    for path in paths:
        found = _PATH.fullmatch(path)
        if found is None or found["channel"] != channel:
            raise _no_file(path, channel)
        version, name = found["version"], found["name"]
        if version not in versions:
            versions[version] = _version(registry, channel, version)
        served, names = versions[version]
        if name not in names:
            raise _no_file(path, channel)
        grants.append(file_grant(served, version, name))
    secret = _secret(registry)
    _note(registry, channel, paths, terms)
    return tuple(_signed(one.path, issue(secret, one, expires_at=terms.expires_at), terms) for one in grants)


def _version(registry: Registry, channel: str, version: str) -> tuple[ServedChannel, list[str]]:
    """Return the channel of a version, and the names of the version's files."""
    with registry.database.read() as tx:
        served = find_channel(tx, channel)
        if served is None:
            raise NotFoundError(f"there is no channel {channel!r}: create it first, or check the id")
        store.version(tx, channel, version)
    manifest = files.read_manifest(registry.storage, channel, version)
    return served, [name for name in files.public_names(manifest) if is_public_name(name)]


def _secret(registry: Registry) -> UrlSecret:
    return url_secrets(registry.database)[0]


def _note(registry: Registry, channel: str, paths: Sequence[str], terms: Terms) -> None:
    """Let the audit have it, unless a device asked, as it does whenever it loads a model."""
    if not may_more_than_devices(terms.by):
        return
    details = {"paths": list(paths), "expiresAt": terms.expires_at.isoformat()}
    with registry.database.write(actor=terms.by.actor) as tx:
        audit.record(
            tx, actor=terms.by.actor, action="urls_signed", channel=channel, address=terms.address, details=details
        )


def _signed(path: str, token: str, terms: Terms) -> SignedUrl:
    return SignedUrl(path=path, url=f"{_url(path, terms)}?token={token}")


def _url(path: str, terms: Terms) -> str:
    return f"{terms.server}{layout.SERVED_AT}/{BUCKET}/{quote(path)}"


def _no_file(path: str, channel: str) -> NotFoundError:
    return NotFoundError(
        f"{path[:200]!r} is no file of a version of {channel}: a path reads {channel}/v1.4.2/model.json and the like"
    )
