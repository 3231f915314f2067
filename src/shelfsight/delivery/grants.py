"""What the token of a signed URL grants of published files, and whether that is what somebody asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.access.url_tokens import Grant, Use
from shelfsight.errors import AccessError
from shelfsight.registry.layout import ROOT

if TYPE_CHECKING:
    from shelfsight.delivery.rules import VersionFile

BUCKET = ROOT
"""The bucket that published files are in; paths within it are `T_1/v1.4.2/model.json`."""


def version_grant(channel: str, version: str) -> Grant:
    """Return the grant of all files of a version such as 1.4.2, and of the blobs it uses."""
    return Grant(channel=channel, bucket=BUCKET, path=f"{channel}/v{version}", use=Use.VERSION)


def file_grant(channel: str, version: str, name: str) -> Grant:
    """Return the grant of one file of a version."""
    return Grant(channel=channel, bucket=BUCKET, path=f"{channel}/v{version}/{name}", use=Use.FILE)


def check_file(grant: Grant, wanted: VersionFile) -> None:
    """Check that a grant is for this file.

    Raises:
        AccessError: it is for something else.
    """
    if wanted.version is None:
        raise AccessError("a signed URL is for one version: ask for it as v1.4.2 and the like, not as latest")
    fitting = (
        version_grant(wanted.channel, wanted.version),
        file_grant(wanted.channel, wanted.version, wanted.name),
    )
    if grant not in fitting:
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
    if grant != version_grant(grant.channel, version):
        raise AccessError("this signed URL is not for a whole version: sign the version to load its blobs as well")
    return version
