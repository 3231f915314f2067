"""Where files live: a local folder by default, S3, Google Cloud Storage or Azure by address."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from shelfsight.errors import UsageError
from shelfsight.storage.local import FolderStorage
from shelfsight.storage.port import Storage, StoredFile, check_path

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Storage", "StoredFile", "check_path", "open_storage"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OBJECTS = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory")


def open_storage(url_or_path: str | Path, *, options: Mapping[str, str] | None = None) -> Storage:
    """Return the storage at an address; a local folder is made when missing, and nothing is connected yet.

    Args:
        url_or_path: a local folder, `file://…`, `s3://bucket/prefix`, `gs://…`, `az://…`, or `memory://` for tests.
        options: how to reach an object store, in obstore's names, such as aws_endpoint, aws_access_key_id and
            aws_secret_access_key. What is missing comes from the usual variables of the environment, such as
            AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. An endpoint that begins with
            http:// is taken at its word; `allow_http` "false" refuses it.

    Raises:
        UsageError: the address or an option is not one, or a file is where the folder should be.
        StorageError: the folder cannot be made.
    """
    scheme = _SCHEME.match(str(url_or_path))
    if isinstance(url_or_path, Path) or scheme is None:
        if not str(url_or_path):
            raise UsageError("the address of the storage is empty: give a folder, or an address such as s3://bucket")
        return FolderStorage.open(Path(url_or_path))
    if scheme[1].lower() == "file":
        return FolderStorage.open(_file_path(url_or_path))
    if scheme[1].lower() in _OBJECTS:
        from shelfsight.storage.objects import ObjectStorage  # noqa: PLC0415 (a local folder needs no obstore)

        return ObjectStorage.open(url_or_path, options or {})
    known = ", ".join(f"{name}://" for name in ("s3", "gs", "az", "file"))
    raise UsageError(f"storage cannot be at {scheme[0]}: give a local folder, or an address that begins with {known}")


def _file_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(f"{url} names another machine: give file:/// and the whole path of a local folder")
    path = unquote(parts.path)
    return Path(path.lstrip("/") if os.name == "nt" else path)
