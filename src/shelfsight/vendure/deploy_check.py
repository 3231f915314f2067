"""Checks a model: before it is uploaded, and afterwards by what a page would be given."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shelfsight.bundle.check import check_in_child
from shelfsight.bundle.documents import parse_object
from shelfsight.errors import VendureError
from shelfsight.vendure.deploy_fetch import fetch_file
from shelfsight.vendure.deploy_rules import ModelFiles, Role, arranged, found_from, told_in, weight_paths
from shelfsight.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import Asset
    from shelfsight.vendure.deploy_rules import Arrangement

_ANY_CHANNEL, _ANY_VERSION = "vendure", "0.0.0"  # nothing of the check is kept


def check_loads(model: Arrangement, metadata: bytes) -> None:
    """Load a model and let it look at a picture: in a child process, for it may come from anywhere.

    Raises:
        BundleError: it does not load, or has not one output for each label.
        UnavailableError: too many models are being checked.
    """
    with workspace("vendure") as folder:
        (folder / "model.json").write_bytes(model.model_json("weights.bin"))
        (folder / "weights.bin").write_bytes(model.weights)
        (folder / "metadata.json").write_bytes(metadata)
        check_in_child(folder, channel=_ANY_CHANNEL, version=_ANY_VERSION)


def read_files(client: VendureClient, files: Mapping[Role, Asset]) -> ModelFiles:
    """Return a deployed model's files, read by the URLs that a page would use.

    Raises:
        BundleError: `model.json` is damaged.
        VendureError: a file cannot be read, is another than it was, or `model.json` does not lead to the weights.
        UnavailableError: the server does not answer.
    """
    data = {role: _read(client, asset) for role, asset in files.items()}
    document = parse_object(data[Role.MODEL], "model.json")
    leads_to = [found_from(files[Role.MODEL].source, path) for path in weight_paths(document)]
    if leads_to != [files[Role.WEIGHTS].source]:
        raise VendureError(f"model.json leads to other weights, {leads_to[0][:200]}: deploy again")
    told = told_in(document)
    if told is not None:
        for role, wanted in ((Role.METADATA, told.metadata_sha256), (Role.WEIGHTS, told.weights_sha256)):
            if hashlib.sha256(data[role]).hexdigest() != wanted:
                raise VendureError(f"{files[role].name} is not the file that model.json was deployed with")
        if found_from(files[Role.MODEL].source, told.metadata_path) != files[Role.METADATA].source:
            raise VendureError("model.json leads to another metadata.json: deploy again")
    return ModelFiles(
        model=data[Role.MODEL], weights={"weights.bin": data[Role.WEIGHTS]}, metadata=data[Role.METADATA]
    )


def check_deployed(client: VendureClient, files: Mapping[Role, Asset]) -> ModelFiles:
    """Return a deployed model's files, from which it loads.

    Raises:
        As of `read_files` and `check_loads`.
    """
    found = read_files(client, files)
    check_loads(arranged(found), found.metadata)
    return found


def _read(client: VendureClient, asset: Asset) -> bytes:
    data = fetch_file(asset.source, client.url)
    if len(data) != asset.size_bytes:
        raise VendureError(
            f"{asset.source} has {len(data):,} bytes of the {asset.size_bytes:,} uploaded: deploy again"
        )
    return data
