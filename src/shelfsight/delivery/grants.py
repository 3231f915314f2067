"""What the token of a signed URL grants of published files, and whether that is what somebody asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.access.url_tokens import Grant, Use
from shelfsight.errors import AccessError, AuthenticationError
from shelfsight.registry.layout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shelfsight.delivery.rules import VersionFile
    from shelfsight.delivery.store import ServedChannel

BUCKET = ROOT
"""The bucket that published files are in; paths within it are `T_1/v1.4.2/model.json`."""


def version_grant(channel: ServedChannel, version: str) -> Grant:
    """Return the grant of all files of a version such as 1.4.2, and of the blobs it uses."""
    path = _version_path(channel.id, version)
    return Grant(channel=channel.id, made_at=channel.created_at, bucket=BUCKET, path=path, use=Use.VERSION)


def file_grant(channel: ServedChannel, version: str, name: str) -> Grant:
    """Return the grant of one file of a version."""
    path = f"{_version_path(channel.id, version)}/{name}"
    return Grant(channel=channel.id, made_at=channel.created_at, bucket=BUCKET, path=path, use=Use.FILE)


def check_channel(grant: Grant, channels: Iterable[ServedChannel]) -> None:
    """Check that the channel of a grant is one of these, and not another that was made later with its id.

    Raises:
        AuthenticationError: it is not.
    """
    if (grant.channel, grant.made_at) not in {(one.id, one.created_at) for one in channels}:
        raise AuthenticationError("the signed URL's channel has been deleted since: ask for another URL")


def check_file(grant: Grant, wanted: VersionFile) -> None:
    """Check that a grant is for this file.

    Raises:
        AccessError: it is for something else.
    """
    if wanted.version is None:
        raise AccessError("a signed URL is for one version: ask for it as v1.4.2 and the like, not as latest")
    folder = _version_path(wanted.channel, wanted.version)
    fitting = ((Use.VERSION, folder), (Use.FILE, f"{folder}/{wanted.name}"))
    if (grant.channel, grant.bucket) != (wanted.channel, BUCKET) or (grant.use, grant.path) not in fitting:
        raise AccessError("this signed URL is for another file: sign this one, or the version for all of its files")


def check_blob(*, used: bool) -> None:
    """Check that the version of a grant uses the blob that somebody asks for.

    Raises:
        AccessError: it does not.
    """
    if not used:
        raise AccessError("this signed URL is for a version that does not use this blob")


def granted_version(grant: Grant) -> str:
    """Return the version, such as 1.4.2, whose files and blobs a grant is for.

    Raises:
        AccessError: it is for something else.
    """
    version = grant.path.removeprefix(f"{grant.channel}/v")
    if (grant.bucket, grant.use, grant.path) != (BUCKET, Use.VERSION, _version_path(grant.channel, version)):
        raise AccessError("this signed URL is not for a whole version: sign the version to load its blobs as well")
    return version


def _version_path(channel: str, version: str) -> str:
    return f"{channel}/v{version}"
