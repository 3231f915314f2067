"""A channel of Vendure's: finding it, what we may do there, and which model its devices load."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from shelfsight.bundle.documents import parse_object
from shelfsight.errors import NotFoundError, ShelfsightError, VendureAccessError, VendureError
from shelfsight.partners.vendure import assets
from shelfsight.partners.vendure.channels import (
    active_channel,
    model_fields,
    seen_channels,
    set_model_fields,
)
from shelfsight.partners.vendure.records import ModelFields
from shelfsight.vendure import deploy_rules as rules
from shelfsight.vendure.deploy_rules import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import Asset, VendureChannel

UPLOAD, ASSIGNMENT, ACTIVATION = "Upload failed", "Assignment failed", "Activation failed"
"""How the messages of errors begin: operators know these words."""

_READY = "ready"
TO_DEPLOY = (
    (UPLOAD, ("CreateAsset", "CreateCatalog")),
    (UPLOAD, ("ReadAsset", "ReadCatalog")),
    (UPLOAD, ("DeleteAsset", "DeleteCatalog")),  # what was uploaded is removed when the rest fails
    (ASSIGNMENT, ("UpdateCatalog",)),
    (ACTIVATION, ("ReadChannel", "ReadSettings")),
    (ACTIVATION, ("UpdateChannel",)),
)
"""Permissions, one of each line, and what fails without."""


@contextmanager
def failing(beginning: str) -> Iterator[None]:
    """Let the message of an error in the block begin with what failed."""
    try:
        yield
    except ShelfsightError as exc:
        exc.args = (f"{beginning}: {exc}", *exc.args[1:])
        raise


def find_channel(client: VendureClient, wanted: str, *, key_token: str | None = None) -> VendureChannel:
    """Return the channel with an id or code.

    Args:
        key_token: token of the channel that the client's API key is of: such a key sees only that one.

    Raises:
        NotFoundError: there is none, or who asks has no role in it.
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    seen = (active_channel(client, key_token),) if client.has_key else seen_channels(client)
    found = [channel for channel in seen if channel.id == wanted]
    found += [channel for channel in seen if channel.code == wanted]
    if found:
        return found[0]
    there = ", ".join(f"{channel.id} ({channel.code})" for channel in seen) or "none"
    raise NotFoundError(f"Vendure shows us no channel {wanted[:80]!r}: it shows {there}; check its id and our role")


def check_permissions(channel: VendureChannel) -> None:
    """Check that we may do in a channel all that a deployment needs, as far as Vendure says.

    Raises:
        VendureAccessError: we may not.
    """
    if channel.permissions is None:
        return
    for failed, names in TO_DEPLOY:
        if not channel.permissions.intersection(names):
            raise VendureAccessError(
                f"{failed}: we may not do this in Vendure's channel {channel.id}: "
                f"give our role there the permission {' or '.join(names)}"
            )


def fields_of(version: str, files: Mapping[Role, Asset], trained_at: datetime) -> ModelFields:
    """Return the fields of a channel whose devices load these files."""
    return ModelFields(
        base_url=files[Role.MODEL].source,
        version=version,
        last_trained=trained_at.replace(microsecond=0),
        status=_READY,
        model_id=files[Role.MODEL].id,
        weights_id=files[Role.WEIGHTS].id,
        metadata_id=files[Role.METADATA].id,
    )


def trained_at_of(metadata: bytes, files: Mapping[Role, Asset]) -> datetime | None:
    """Return when a model was trained, as its `metadata.json` says, else when its files were uploaded, if any."""
    said = rules.trained_at_of(parse_object(metadata, "metadata.json"))
    return said or max((asset.created_at for asset in files.values()), default=None)


def activate(client: VendureClient, channel: VendureChannel, wanted: ModelFields) -> None:
    """Let a channel's devices load another model; if that fails, those of before are set again.

    Raises:
        ShelfsightError: it failed; the message begins with `Activation failed`.
    """
    with failing(ACTIVATION):
        before = model_fields(client, channel)
        try:
            set_model_fields(client, channel, wanted)
            _check(client, channel, wanted)
        except BaseException:
            restore(client, channel, before, wanted.ids)
            raise


def _check(client: VendureClient, channel: VendureChannel, wanted: ModelFields) -> None:
    if model_fields(client, channel) != wanted:
        raise VendureError("Vendure has other values than were set: somebody else changes them, too; try again")
    if assets.missing(client, wanted.ids, channel=channel.token):  # a clean-up that saw them not yet active
        raise VendureError("somebody has removed its files meanwhile: deploy it again")


def restore(client: VendureClient, channel: VendureChannel, before: ModelFields, ours: Collection[str]) -> None:
    """Set a channel's fields as they were, if they name one of these assets by now.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: it does not answer.
    """
    if model_fields(client, channel).ids.intersection(ours):
        set_model_fields(client, channel, before)
