"""Vendure's channels, as who asks sees them, and the custom fields that say which model a channel has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shelfsight.errors import NotFoundError, VendureError
from shelfsight.partners.vendure import documents
from shelfsight.partners.vendure.answers import ENTITY_NOT_FOUND, result_of
from shelfsight.partners.vendure.records import ModelFields, VendureChannel

if TYPE_CHECKING:
    from shelfsight.partners.vendure.client import VendureClient

_READS, _WRITES = "ReadChannel", "UpdateChannel"


def seen_channels(client: VendureClient) -> tuple[VendureChannel, ...]:
    """Return the channels in which who asks has a role.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    me = client.query(documents.ME)["me"]
    return tuple(
        VendureChannel(
            id=str(found["id"]),
            code=found["code"],
            token=found["token"],
            permissions=frozenset(found["permissions"]),
        )
        for found in me["channels"]
    )


def active_channel(client: VendureClient, token: str | None) -> VendureChannel:
    """Return the channel with a token, None = the default channel.

    Raises:
        VendureError: there is none, or who asks is not known in it.
        UnavailableError: Vendure does not answer.
    """
    found = client.query(documents.ACTIVE_CHANNEL, channel=token)["activeChannel"]
    return VendureChannel(id=str(found["id"]), code=found["code"], token=found["token"], permissions=None)


def roles_in(client: VendureClient, channel: VendureChannel) -> tuple[str, ...]:
    """Return the codes of the roles that who asks has in a channel; of an API key, Vendure tells none.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    who = client.query(documents.OWN_ROLES, channel=channel.token)["activeAdministrator"]
    roles = who["user"]["roles"] if who else ()
    return tuple(role["code"] for role in roles if channel.id in {str(one["id"]) for one in role["channels"]})


def model_fields(client: VendureClient, channel: VendureChannel) -> ModelFields:
    """Return which model a channel has.

    Raises:
        NotFoundError: the channel is gone.
        VendureError: Vendure refuses; `reason` UNKNOWN_FIELD: the plugin is not installed there.
        UnavailableError: it does not answer.
    """
    answer = client.query(documents.CHANNEL_MODEL, {"id": channel.id}, channel=channel.token, needs=_READS)
    if answer["channel"] is None:
        raise _gone(channel)
    return _fields(answer["channel"]["customFields"])


def set_model_fields(
    client: VendureClient, channel: VendureChannel, fields: ModelFields, *, before: ModelFields | None = None
) -> ModelFields:
    """Let a channel's devices load another model, and return what Vendure says it is now.

    Args:
        before: what the fields were: the rest stays as it is by now. None = all are set.

    Raises:
        As of `model_fields`; UnavailableError: it may have been changed.
    """
    wanted, there = _written(fields), {} if before is None else _written(before)
    changed = {name: value for name, value in wanted.items() if name not in there or there[name] != value}
    if not changed:
        return fields
    changes = {"input": {"id": channel.id, "customFields": changed}}
    try:
        answer = client.mutate(documents.SET_CHANNEL_MODEL, changes, channel=channel.token, needs=_WRITES)
    except VendureError as exc:
        if exc.reason != ENTITY_NOT_FOUND:
            raise
        raise _gone(channel) from exc
    return _fields(result_of(answer["updateChannel"])["customFields"])


def _written(fields: ModelFields) -> dict[str, str | None]:
    return {
        "modelBaseUrl": fields.base_url,
        "modelVersion": fields.version,
        "modelLastTrained": None if fields.last_trained is None else _moment(fields.last_trained),
        "modelTrainingStatus": fields.status,
        "mlModelJsonId": fields.model_id,
        "mlModelBinId": fields.weights_id,
        "mlMetadataId": fields.metadata_id,
    }


def _fields(found: dict[str, Any]) -> ModelFields:
    trained = found["modelLastTrained"]
    return ModelFields(
        base_url=found["modelBaseUrl"],
        version=found["modelVersion"],
        last_trained=datetime.fromisoformat(trained) if trained else None,
        status=found["modelTrainingStatus"],
        model_id=found["mlModelJsonId"],
        weights_id=found["mlModelBinId"],
        metadata_id=found["mlMetadataId"],
    )


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _gone(channel: VendureChannel) -> NotFoundError:
    return NotFoundError(f"Vendure has no channel {channel.id} any more: check which channels it has")
