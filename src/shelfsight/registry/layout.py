"""Where everything of a channel's versions lies in storage; served under `/assets/`."""

from __future__ import annotations

ROOT = "ml-models"
BLOBS = f"{ROOT}/blobs"
"""Immutable parts, each under its hash; shared by versions and by channels."""

OBJECTS = "objects"
"""The folder of what clients have uploaded; never served with the models."""

SERVED_AT = "/assets"
"""Where the server shows the storage's `ml-models`; in URLs, before the paths below."""


def channel_folder(channel: str) -> str:
    """Return the folder of all versions of a channel."""
    return f"{ROOT}/{channel}"


def version_folder(channel: str, version: str) -> str:
    """Return the folder of one version, such as 1.4.2."""
    return f"{ROOT}/{channel}/v{version}"


def staging_folder(channel: str, version: str) -> str:
    """Return where a version is put together before it is moved to its own folder."""
    return f"{temp_folder(channel)}/v{version}"


def temp_folder(channel: str) -> str:
    """Return the folder of what is being put together; never served."""
    return f"{ROOT}/{channel}/temp"


def latest_pointer(channel: str) -> str:
    """Return the pointer that names the folder of the stable version."""
    return f"{ROOT}/{channel}/latest"


def blob(sha256: str) -> str:
    """Return where the blob with that hash lies."""
    return f"{BLOBS}/{sha256}.bin"


def phone_file(channel: str, version: str) -> str:
    """Return the second name of a version's ORT file, in the bucket for phones."""
    return f"models/{channel}_v{version}.ort"


def objects_folder(channel: str) -> str:
    """Return the folder of what clients have uploaded to a channel."""
    return f"{OBJECTS}/{channel}"


def object_file(channel: str, sha256: str) -> str:
    """Return where the bytes of uploaded objects with that hash lie."""
    return f"{objects_folder(channel)}/{sha256}"
