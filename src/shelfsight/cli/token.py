"""`shelfsight token`: who may use the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.access.store import Token
    from shelfsight.database.engine import Database

_PAGE = 1000

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="token", help="Who may use the API.")


@group.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str], typer.Option(help="admin, channel:ID:read, channel:ID:write or device; may come several times.")
    ],
    channel: Annotated[str | None, typer.Option(help="Of the device, for the scope device.")] = None,
    expires: Annotated[int | None, typer.Option(min=1, max=36500, help="In how many days; by default never.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a token and print it, this once."""
    from datetime import UTC, datetime, timedelta

    from shelfsight.access.tokens import NewToken, create_token
    from shelfsight.cli.output import messages, print_document, print_plain
    from shelfsight.cli.service import opened_service

    ends_at = None if expires is None else datetime.now(UTC) + timedelta(days=expires)
    new = NewToken(name=name, scopes=scope, channel=channel, expires_at=ends_at)
    with opened_service() as service:
        issued = create_token(service.database, new, by=service.caller)
    if json:
        from shelfsight.api.access_routes import IssuedTokenDocument

        print_document(IssuedTokenDocument.of(issued.token, token=issued.text))
        return
    print_plain(issued.text)
    messages.print(f"Token {issued.token.id}: keep it, it is not shown again.")


@group.command("list")
def list_tokens(json: JsonOption = False) -> None:
    """List tokens, revoked ones too, newest first."""
    from shelfsight.cli.output import moment, print_documents, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        found = list(_all(service.database))
    if json:
        from shelfsight.api.access_routes import TokenDocument

        print_documents(TokenDocument.of(token) for token in found)
        return
    print_table(
        ("Id", "Name", "Scopes", "Channel", "Made by", "Made", "Expires", "Revoked", "Last used"),
        (
            (
                token.id,
                token.name,
                ", ".join(token.scopes),
                token.channel or "",
                token.created_by,
                *map(moment, (token.created_at, token.expires_at, token.revoked_at, token.last_used_at)),
            )
            for token in found
        ),
    )


@group.command()
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.")]) -> None:
    """Make a token worth nothing from now on."""
    from shelfsight.access.tokens import revoke_token
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        revoke_token(service.database, token_id, by=service.caller)
    print_plain(f"Revoked {token_id}")


@group.command("setup-link")
def setup_link(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of a new administrator, where there is one already.")
    ] = None,
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
) -> None:
    """Print a link that works once, to choose a password: when nobody can log in."""
    from shelfsight.access.administrators import invite, issue_setup_link
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import UsageError

    with opened_service() as service:
        if name is not None:
            link: str | None = invite(service.database, name, by=service.caller).text
        else:
            link = issue_setup_link(service.database)
    if link is None:
        raise UsageError("there is an administrator already: name a new one, who may then replace the other")
    print_plain(f"{url.rstrip('/')}/setup?token={link}")


def _all(database: Database) -> Iterator[Token]:
    from shelfsight.access.tokens import list_tokens

    after = None
    while found := list_tokens(database, after=after, limit=_PAGE):
        yield from found
        after = (found[-1].created_at, found[-1].id)
