"""Routes of rollouts: how it stands, what was, start, advance, hold, resume, roll back."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, model_validator

from shelfsight.api.documents import ApiDocument, Page
from shelfsight.api.guards import ReaderCaller, WriterCaller
from shelfsight.api.pages import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, page_of
from shelfsight.api.preconditions import IfMatch, etag
from shelfsight.api.problems import address_of
from shelfsight.api.services import Services, ServicesOf
from shelfsight.registry.publish import Registry
from shelfsight.registry.store import release_policy
from shelfsight.rollout import moves, store
from shelfsight.rollout.decisions import Running, Standing
from shelfsight.rollout.moves import Operator
from shelfsight.rollout.rules import (
    FIRST,
    STAGES_BP,
    Offer,
    Outcome,
    Plan,
    Platform,
    Rollout,
    Stage,
    State,
    Tier,
    basis_points,
    state_of,
)

router = APIRouter(prefix="/api/v1/channels/{channel_id}", tags=["rollouts"])

Percentage = Annotated[float, Field(gt=0, le=100, description="Of the devices; to a hundredth")]

_REASON = Field(default="", max_length=500, description="Why, for whoever reads the history")
_WHOSE = "Whose devices get it; none: everybody's"


class StageDocument(ApiDocument):
    """Which share of the devices has a version."""

    shadow: bool = Field(description="It runs beside the stable one; its answers are reported, never shown")
    percentage: float

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Return the document of a stage."""
        return cls(shadow=stage.is_shadow, percentage=stage.share_bp / 100)


class OfferDocument(ApiDocument):
    """A version that some devices get."""

    version: str
    percentage: float = Field(description="Of the devices")

    @classmethod
    def of(cls, offer: Offer) -> Self:
        """Return the document of what some devices get."""
        return cls(version=offer.version.version, percentage=offer.share_bp / 100)


class RolloutDocument(ApiDocument):
    """How a version reaches devices, or did."""

    id: int
    version: str
    stages: list[float] = Field(description="Percentages on the way to everybody")
    platforms: list[str] = Field(description=_WHOSE)
    tiers: list[str] = Field(description=_WHOSE)
    started_at: datetime
    started_by: str
    stage_at: datetime = Field(description="When the share last changed")
    held_at: datetime | None
    ended_at: datetime | None
    outcome: Outcome = Field(description="Empty while it runs")
    reason: str = Field(description="Of the last move")

    @classmethod
    def of(cls, rollout: Rollout) -> Self:
        """Return the document of a rollout."""
        own = {name: getattr(rollout, name) for name in cls.model_fields if name not in _LISTS}
        stages = [share_bp / 100 for share_bp in rollout.stages_bp]
        return cls(**own, stages=stages, platforms=list(rollout.platforms), tiers=list(rollout.tiers))


_LISTS = frozenset({"stages", "platforms", "tiers"})


class RunningDocument(ApiDocument):
    """The rollout that runs, and what comes next."""

    version: str
    state: State
    stage: StageDocument
    next_stage: StageDocument = Field(description="At 100 % the version becomes stable")
    rollback_threshold: float = Field(description="Error rate, 0 to 1, above which it is taken back")
    min_app_version: str | None
    rollout: RolloutDocument

    @classmethod
    def of(cls, running: Running) -> Self:
        """Return the document of a rollout that runs."""
        version = running.version
        return cls(
            version=version.version,
            state=state_of(version, running.rollout),
            stage=StageDocument.of(running.stage),
            next_stage=StageDocument.of(running.next_stage),
            rollback_threshold=version.rollback_threshold,
            min_app_version=version.min_app_version,
            rollout=RolloutDocument.of(running.rollout),
        )


class StandingDocument(ApiDocument):
    """Which version is what to a channel's devices."""

    channel_id: str
    sequence: int = Field(description="Counted up by every change that devices see; also the ETag")
    stable: str | None
    candidate: OfferDocument | None
    shadow: OfferDocument | None
    running: RunningDocument | None = Field(description="null: nothing is being rolled out")

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Return the document of how a channel stands."""
        told, running = standing.assignment, standing.running
        return cls(
            channel_id=standing.channel,
            sequence=standing.sequence,
            stable=None if told.stable is None else told.stable.version,
            candidate=None if told.candidate is None else OfferDocument.of(told.candidate),
            shadow=None if told.shadow is None else OfferDocument.of(told.shadow),
            running=None if running is None else RunningDocument.of(running),
        )


class TargetDocument(ApiDocument):
    """A stage that somebody names."""

    percentage: Percentage | None = Field(default=None, description="Share of the devices that use it")
    shadow_percentage: Percentage | None = Field(
        default=None, description="Share of the devices that run it beside the stable one"
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.percentage is not None and self.shadow_percentage is not None:
            raise ValueError("percentage and shadowPercentage exclude each other: leave one out")
        return self

    def stage(self) -> Stage | None:
        """Return the stage, None where none is named."""
        return stage_named(self.percentage, self.shadow_percentage)


class StartDocument(TargetDocument):
    """What to roll out, and how; without a share it begins in shadow on 10 %."""

    version: Annotated[str, Field(max_length=64, examples=["1.4.2"])]
    stages: Annotated[tuple[Percentage, ...], Field(max_length=20, description="On the way to everybody")] = tuple(
        share_bp / 100 for share_bp in STAGES_BP
    )
    platforms: Annotated[tuple[Platform, ...], Field(max_length=5, description=_WHOSE)] = ()
    tiers: Annotated[tuple[Tier, ...], Field(max_length=4, description=_WHOSE)] = ()
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Error rate above which it is taken back; by default as the version has it",
    )
    min_app_version: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="The oldest app that may load it; empty: any; by default as the version has it"
    )
    reason: str = _REASON

    def plan(self) -> Plan:
        """Return the plan."""
        return Plan(
            first=self.stage() or FIRST,
            stages_bp=tuple(map(basis_points, self.stages)),
            platforms=tuple(dict.fromkeys(self.platforms)),
            tiers=tuple(dict.fromkeys(self.tiers)),
            threshold=self.threshold,
            min_app_version=self.min_app_version,
        )


class AdvanceDocument(TargetDocument):
    """Where to go; without a share to the next stage."""

    reason: str = _REASON


class WhyDocument(ApiDocument):
    """Why a move is made."""

    reason: str = _REASON


def stage_named(percentage: float | None, shadow_percentage: float | None) -> Stage | None:
    """Return the stage of one of two percentages, None without either."""
    if percentage is not None:
        return Stage(share_bp=basis_points(percentage))
    if shadow_percentage is not None:
        return Stage(share_bp=basis_points(shadow_percentage), is_shadow=True)
    return None


@router.get("/rollout")
def show_rollout(
    channel_id: str, services: ServicesOf, _caller: ReaderCaller, response: Response
) -> StandingDocument:
    """Show which version is what, and the rollout that runs."""
    with services.database.read() as tx:
        found = store.standing(tx, channel_id)
    return _shown(response, found)


@router.get("/rollouts")
def list_rollouts(
    channel_id: str,
    services: ServicesOf,
    _caller: ReaderCaller,
    request: Request,
    response: Response,
    *,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[RolloutDocument]:
    """List the rollouts of a channel, the newest first, with how they ended."""
    with services.database.read() as tx:
        release_policy(tx, channel_id)
        found, following = store.page(tx, channel_id, before=decode_cursor(cursor, int), limit=limit)
    return page_of(request, response, [RolloutDocument.of(one) for one in found], following)


def _operator(caller: WriterCaller, request: Request, if_match: IfMatch = None) -> Operator:
    return Operator(actor=caller.actor, address=address_of(request.scope), if_match=if_match)


OperatorOf = Annotated[Operator, Depends(_operator)]


@router.post("/rollout", status_code=201)
def start_rollout(
    channel_id: str, wanted: StartDocument, services: ServicesOf, operator: OperatorOf, response: Response
) -> StandingDocument:
    """Begin to roll out a version that is in testing, or deprecated."""
    by = replace(operator, reason=wanted.reason)
    begun = moves.start(_registry(services), channel_id, wanted.version, wanted.plan(), by=by)
    response.headers["location"] = f"/api/v1/channels/{channel_id}/rollout"
    return _shown(response, begun)


@router.post("/rollout/advance")
def advance_rollout(
    channel_id: str,
    services: ServicesOf,
    operator: OperatorOf,
    response: Response,
    wanted: AdvanceDocument | None = None,
) -> StandingDocument:
    """Let more devices have it, at last all of them, or fewer again; with If-Match, twice is not two stages."""
    wanted = wanted or AdvanceDocument()
    by = replace(operator, reason=wanted.reason)
    return _shown(response, moves.advance(_registry(services), channel_id, wanted.stage(), by=by))


@router.post("/rollout/hold")
def hold_rollout(
    channel_id: str,
    services: ServicesOf,
    operator: OperatorOf,
    response: Response,
    why: WhyDocument | None = None,
) -> StandingDocument:
    """Let it grow no further; devices see no difference."""
    return _shown(response, moves.hold(_registry(services), channel_id, by=_with(operator, why)))


@router.post("/rollout/resume")
def resume_rollout(
    channel_id: str,
    services: ServicesOf,
    operator: OperatorOf,
    response: Response,
    why: WhyDocument | None = None,
) -> StandingDocument:
    """End a hold."""
    return _shown(response, moves.resume(_registry(services), channel_id, by=_with(operator, why)))


@router.post("/rollout/rollback")
def roll_back_rollout(
    channel_id: str,
    services: ServicesOf,
    operator: OperatorOf,
    response: Response,
    why: WhyDocument | None = None,
) -> StandingDocument:
    """Take back what is being rolled out, or else the stable version; with If-Match, twice is not both."""
    return _shown(response, moves.roll_back(_registry(services), channel_id, by=_with(operator, why)))


def _with(operator: Operator, why: WhyDocument | None) -> Operator:
    return operator if why is None else replace(operator, reason=why.reason)


def _shown(response: Response, standing: Standing) -> StandingDocument:
    response.headers["etag"] = etag(standing.sequence)
    return StandingDocument.of(standing)


def _registry(services: Services) -> Registry:
    return Registry(database=services.database, storage=services.storage)
