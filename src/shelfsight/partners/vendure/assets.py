"""Vendure's assets: files with tags, which belong to channels."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from shelfsight.errors import VendureAccessError, VendureError
from shelfsight.partners.vendure import documents
from shelfsight.partners.vendure.answers import result_of
from shelfsight.partners.vendure.records import Asset

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shelfsight.partners.vendure.client import UploadFile, VendureClient

_DELETED = "DELETED"


def create(client: VendureClient, file: UploadFile, *, tags: Sequence[str], channel: str) -> Asset:
    """Return the new asset of a file; it belongs to the channel, and to the default channel as all assets do.

    One file at a time: Vendure keeps the first of several when the second is refused, and mixes up equal names.

    Raises:
        VendureError: Vendure refuses the file; `reason` says why.
        UnavailableError: it does not answer, and may have taken the file.
    """
    answer = client.upload(
        documents.CREATE_ASSETS, [{"tags": list(tags)}], [file], channel=channel, needs="CreateAsset"
    )
    (made,) = answer["createAssets"]
    return _asset(result_of(made, file=file.name))


def tagged(client: VendureClient, tags: Collection[str], *, channel: str) -> tuple[Asset, ...]:
    """Return the channel's assets that have all these tags, the newest first.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    options = {"tags": sorted(tags), "tagsOperator": "AND", "sort": {"createdAt": "DESC", "id": "DESC"}}
    return _listed(client, options, channel)


def named(client: VendureClient, part: str, *, channel: str) -> tuple[Asset, ...]:
    """Return the channel's assets with that part in their names.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    return _listed(client, {"filter": {"name": {"contains": part}}, "sort": {"id": "ASC"}}, channel)


def missing(client: VendureClient, ids: Collection[str], *, channel: str) -> set[str]:
    """Return which of these assets the channel does not have.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    found = _listed(client, {"filter": {"id": {"in": sorted(ids)}}, "sort": {"id": "ASC"}}, channel)
    return set(ids) - {asset.id for asset in found}


def assign(client: VendureClient, ids: Sequence[str], *, channel_id: str, channel: str) -> None:
    """Assign assets that one channel has to another, which may be the same.

    Args:
        channel: token of the channel that has them.

    Raises:
        VendureError: Vendure refuses, or does not find all of them.
        UnavailableError: it does not answer.
    """
    wanted = {"assetIds": list(ids), "channelId": channel_id}
    answer = client.mutate(documents.ASSIGN_ASSETS, {"input": wanted}, channel=channel, needs="UpdateCatalog")
    missing = set(ids) - {str(asset["id"]) for asset in answer["assignAssetsToChannel"]}
    if missing:
        raise VendureError(f"Vendure does not find the asset {min(missing)} in the channel: deploy again")


def delete(client: VendureClient, ids: Sequence[str], *, channel: str) -> bool:
    """Delete assets of a channel, everywhere if we may; else they leave the channel, and False is returned.

    Vendure says `DELETED` of what it does not see: only what was listed in the channel should be given.

    Raises:
        VendureError: Vendure refuses: we may not, or a product shows one of them.
        UnavailableError: it does not answer.
    """
    everywhere = {"assetIds": list(ids), "deleteFromAllChannels": True}
    try:
        _delete(client, everywhere, channel)
    except VendureAccessError:
        # An asset is in the default channel, too, where whoever looks after one channel may delete nothing.
        _delete(client, {"assetIds": list(ids)}, channel)
        return False
    return True


def _delete(client: VendureClient, wanted: dict[str, Any], channel: str) -> None:
    answer = client.mutate(documents.DELETE_ASSETS, {"input": wanted}, channel=channel, needs="DeleteAsset")
    result = answer["deleteAssets"]
    if result["result"] != _DELETED:
        raise VendureError(f"Vendure does not delete the assets: {str(result.get('message'))[:200]}")


def _listed(client: VendureClient, options: dict[str, Any], channel: str) -> tuple[Asset, ...]:
    pages = client.pages(documents.ASSETS, "assets", options, channel=channel, needs="ReadAsset")
    return tuple(_asset(item) for page in pages for item in page.items)


def _asset(found: dict[str, Any]) -> Asset:
    return Asset(
        id=str(found["id"]),
        name=found["name"],
        size_bytes=found["fileSize"],
        source=found["source"],
        created_at=datetime.fromisoformat(found["createdAt"]),
        tags=frozenset(tag["value"] for tag in found["tags"]),
    )
