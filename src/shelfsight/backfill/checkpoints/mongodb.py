"""Checkpoints in a collection of MongoDB, one document each; what was refused lies in a second collection."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymongo import DeleteOne, ReplaceOne, ReturnDocument
from pymongo.errors import DuplicateKeyError

from shelfsight.backfill.checkpoints import Claim, never_run, taken_over
from shelfsight.backfill.rules import Record, Refused, checkpoint_of, document_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.backfill.checkpoints import Written
    from shelfsight.partners.mongo import Mongo


class MongoCheckpoints:
    """A store in MongoDB; every write is on the disks of a majority before it counts."""

    def __init__(self, mongo: Mongo, *, database: str, collection: str) -> None:
        """Keep checkpoints in `collection`, and what was refused in `{collection}_refused`."""
        self._mongo = mongo
        self._name = f"{database}.{collection}"
        self._checkpoints = mongo.collection(database, collection)
        self._refused = mongo.collection(database, f"{collection}_refused")

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self._name} of MongoDB at {self._mongo.hosts}"

    def read(self, name: str) -> Record | None:
        """Return what is kept under a name."""
        with self._mongo.translated():
            # One answer with the server's own time, by which leases end.
            steps: list[Mapping[str, Any]] = [{"$match": {"_id": name}}, {"$addFields": {"now": "$$NOW"}}]
            found = next(iter(self._checkpoints.aggregate(steps)), None)
        return None if found is None else _record(found)

    def claim(self, name: str, holder: str, *, lasts_s: float, instead_of: str | None = None) -> Claim | None:
        """Return a claim on a name, None while another holds it."""
        is_free = [
            {"lease.holder": None},
            {"$expr": {"$lte": ["$lease.expires_at", "$$NOW"]}},
            {"lease.holder": instead_of},
        ]
        token = {"$add": [{"$ifNull": ["$lease.token", 0]}, 1]}
        lease = {"token": token, "holder": {"$literal": holder}, "expires_at": _in(lasts_s)}
        with self._mongo.translated():
            with suppress(DuplicateKeyError):  # another has just added it
                self._checkpoints.update_one({"_id": name}, {"$setOnInsert": {"lease": None}}, upsert=True)
            found = self._updated({"_id": name, "$or": is_free}, [{"$set": {"lease": lease}}])
        if found is None:
            return None
        return Claim(name=name, holder=holder, token=found["lease"]["token"], lasts_s=lasts_s)

    def save(self, claim: Claim, written: Written) -> str | None:
        """Keep a checkpoint; return who has asked for a pause."""
        gone = [DeleteOne({"_id": _id(claim.name, one)}) for one in written.accepted]
        kept = [
            ReplaceOne(
                {"_id": _id(claim.name, one)},
                {"name": claim.name, "phase": one.phase, "key": one.key, "reason": one.reason},
                upsert=True,
            )
            for one in written.refused
        ]
        if gone or kept:
            self.renew(claim)  # who has lost the claim does not touch them
            with self._mongo.translated():
                self._refused.bulk_write([*gone, *kept])
        document = document_of(written.checkpoint)
        keeps = {"_id": "$_id", "lease": "$lease", "paused_by": {"$ifNull": ["$paused_by", None]}}
        return self._write(claim, [{"$replaceWith": {"$mergeObjects": [{"$literal": document}, keeps]}}])

    def renew(self, claim: Claim) -> str | None:
        """Hold the claim for another while; return who has asked for a pause."""
        return self._write(claim, [])

    def give_back(self, claim: Claim) -> None:
        """End the claim."""
        with self._mongo.translated():
            self._checkpoints.update_one(_held_by(claim), {"$set": {"lease.holder": None, "lease.expires_at": None}})

    def pause(self, name: str, by: str | None) -> None:
        """Ask whoever works on it to wait, or to go on."""
        with self._mongo.translated():
            done = self._checkpoints.update_one({"_id": name}, {"$set": {"paused_by": by}})
        if not done.matched_count:
            raise never_run(name, self.place)

    def refused(self, name: str) -> list[Refused]:
        """Return what could not be done."""
        with self._mongo.translated():
            found = list(self._refused.find({"name": name}).sort([("phase", 1), ("key", 1)]))
        return [Refused(key=one["key"], phase=one["phase"], reason=one["reason"]) for one in found]

    def close(self) -> None:
        """Close its connections."""
        self._mongo.close()

    def _write(self, claim: Claim, steps: list[dict[str, Any]]) -> str | None:
        with self._mongo.translated():
            found = self._updated(_held_by(claim), [*steps, {"$set": {"lease.expires_at": _in(claim.lasts_s)}}])
        if found is None:
            raise taken_over(claim.name)
        paused_by: str | None = found.get("paused_by")
        return paused_by

    def _updated(self, which: Mapping[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any] | None:
        return self._checkpoints.find_one_and_update(which, steps, return_document=ReturnDocument.AFTER)


def _held_by(claim: Claim) -> dict[str, Any]:
    return {"_id": claim.name, "lease.token": claim.token}


def _id(name: str, refused: Refused) -> str:
    return f"{name}:{refused.phase}:{refused.key}"


def _in(seconds: float) -> dict[str, Any]:
    """Return that time by the server's clock."""
    return {"$add": ["$$NOW", round(seconds * 1000)]}


def _record(document: dict[str, Any]) -> Record:
    now: datetime = document.pop("now")
    lease = document.get("lease") or {}
    expires_at = lease.get("expires_at")
    return Record(
        checkpoint=checkpoint_of(document),
        token=lease.get("token", 0),
        holder=lease.get("holder"),
        is_held=lease.get("holder") is not None and expires_at is not None and expires_at > now,
        expires_at=None if expires_at is None else expires_at.astimezone(UTC),
        paused_by=document.get("paused_by"),
    )
