"""A channel's versions on its page: which is live, how good each is, and the way back to the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, assert_never

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from shelfsight.api.preconditions import etag
from shelfsight.api.problems import address_of, note_refusal, problem_of
from shelfsight.api.services import Services, ServicesOf  # noqa: TC001 (FastAPI reads it)
from shelfsight.catalog.store import channels
from shelfsight.errors import BundleError, ConflictError, NotFoundError, StaleWriteError, StorageError
from shelfsight.registry import layout
from shelfsight.registry import store as registry
from shelfsight.registry.publish import Registry
from shelfsight.rollout import decisions, moves, store
from shelfsight.rollout.moves import Operator
from shelfsight.rollout.rules import State, stage_of, state_of
from shelfsight.web.headers import REPORT_POLICY
from shelfsight.web.pages import Administrator, Writer, page, refused

if TYPE_CHECKING:
    from collections.abc import Collection

    from shelfsight.access.rules import Caller
    from shelfsight.registry.rules import Version
    from shelfsight.rollout.decisions import Move, Standing
    from shelfsight.rollout.rules import Rollout

router = APIRouter(include_in_schema=False)

_SHOWN = 5
_HEADERS = {"cache-control": "no-store", "content-security-policy": REPORT_POLICY}

Sequence = Annotated[int, Form(ge=0)]


@dataclass(frozen=True, slots=True)
class Row:
    """A version as the page of its channel shows it; `state` is in words."""

    version: Version
    state: str


@router.get("/admin/channels/{channel_id}/versions/{version}/report")
def show_report(channel_id: str, version: str, services: ServicesOf, _caller: Writer, request: Request) -> Response:
    """Return the quality report that a version was published with."""
    try:
        return HTMLResponse(_report(services, channel_id, version), headers=_HEADERS)
    except NotFoundError as error:
        return refused(request, error)


@router.get("/admin/channels/{channel_id}/rollback")
def ask_to_roll_back(channel_id: str, services: ServicesOf, caller: Administrator, request: Request) -> Response:
    """Return the question whether to roll back, with what would happen."""
    return _question(services, caller, request, channel_id)


@router.post("/admin/channels/{channel_id}/rollback")
def roll_back(
    channel_id: str, services: ServicesOf, caller: Administrator, request: Request, sequence: Sequence
) -> Response:
    """Do what the question said, and show the channel; where that would be something else by now, ask again."""
    by = Operator(actor=caller.actor, address=address_of(request.scope), if_match=etag(sequence))
    try:
        moves.roll_back(Registry(database=services.database, storage=services.storage), channel_id, by=by)
    except StaleWriteError as error:
        return _question(services, caller, request, channel_id, late=error)
    except (BundleError, ConflictError, NotFoundError) as error:
        return refused(request, error)
    return RedirectResponse(f"/admin/channels/{channel_id}", status_code=303)


def facts(services: Services, standing: Standing, *, also: Collection[str]) -> dict[str, Any]:
    """Return what the page of a channel shows of its versions.

    Args:
        also: further versions that it names, of which some may be gone.
    """
    shown = rows(standing)
    named = {*also, *(row.version.version for row in shown)}
    return {
        "versions": shown,
        "reported": {one.version for one in standing.versions if one.version in named and _has_report(services, one)},
        "way_back": way_back(standing),
    }


def rows(standing: Standing) -> list[Row]:
    """Return the last versions, the last published first, and the live one wherever it is."""
    newest = standing.versions[: -_SHOWN - 1 : -1]
    live = [one for one in standing.versions[:-_SHOWN] if one.is_stable]
    running = {one.version: one for one in standing.rollouts}
    return [Row(one, state_in_words(one, running.get(one.version))) for one in (*newest, *live)]


def way_back(standing: Standing) -> Move | None:
    """Return what a roll-back would do, None where there is nothing to go back to."""
    try:
        return decisions.roll_back(standing)
    except (ConflictError, NotFoundError):
        return None


def state_in_words(version: Version, rollout: Rollout | None) -> str:
    """Return where a version is on its way."""
    state = state_of(version, rollout)
    match state:
        case State.STABLE:
            return "live"
        case State.TESTING:
            return "not released"
        case State.SHADOW | State.ROLLING:
            return f"rolling out: {stage_of(version)}"
        case State.HELD:
            return f"held: {stage_of(version)}"
        case State.DEPRECATED:
            return "deprecated"
    assert_never(state)


def _question(
    services: Services, caller: Caller, request: Request, channel_id: str, *, late: StaleWriteError | None = None
) -> Response:
    """Return the question; of who comes too late with an answer, another one."""
    try:
        with services.database.read() as tx:
            channel, standing = channels.get(tx, channel_id), store.standing(tx, channel_id)
        move = decisions.roll_back(standing)
    except (ConflictError, NotFoundError) as error:
        return refused(request, error)
    status = 200
    if late is not None:
        problem = problem_of(late, request.scope)
        note_refusal(problem, request.scope)
        status = problem.status
    return page(
        "rollback.html.j2",
        status=status,
        caller=caller,
        is_late=late is not None,
        channel=channel,
        move=move,
        stable=None if standing.assignment.stable is None else standing.assignment.stable.version,
        sequence=standing.sequence,
    )


def _report(services: Services, channel_id: str, version: str) -> bytes:
    """Return the quality report of a version, HTML.

    Raises:
        NotFoundError: there is no such channel or version, or it was published without one.
    """
    with services.database.read() as tx:
        found = registry.version(tx, channel_id, version)
    try:
        return services.storage.get(_report_of(found))
    except NotFoundError as exc:
        raise NotFoundError(f"version {version} of {channel_id} was published without a quality report") from exc


def _has_report(services: Services, version: Version) -> bool:
    try:
        return services.storage.exists(_report_of(version))
    except StorageError:  # the page is worth seeing without it
        return False


def _report_of(version: Version) -> str:
    return f"{layout.version_folder(version.channel, version.version)}/report.html"
