"""`shelfsight keys`: what devices and signed URLs are trusted by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.access.key_store import Key
    from shelfsight.access.signatures import Accepted

_GROUP = 8

KindOption = Annotated[Literal["config", "url"], typer.Option(help="What the key signs.")]

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="keys", help="Keys that sign configs and URLs.")


@group.command()
def create(kind: KindOption = "config") -> None:
    """Make the first key and print its id; the service does so by itself when it first needs one."""
    from shelfsight.access import keys
    from shelfsight.access.key_store import KeyKind
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        made = keys.create(service.database, KeyKind(kind), by=service.caller)
    print_plain(made.id)


@group.command()
def rotate(
    now: Annotated[
        bool, typer.Option("--now", help="Retire all older keys at once; devices must then be paired again.")
    ] = False,
    kind: KindOption = "config",
) -> None:
    """Make a new key and print its id; the one before stays valid beside it until it is retired."""
    from shelfsight.access import keys
    from shelfsight.access.key_store import KeyKind
    from shelfsight.cli.output import messages, print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        made = keys.rotate(service.database, KeyKind(kind), by=service.caller, now_only=now)
    print_plain(made.id)
    messages.print(_NEXT[kind, now], soft_wrap=True)


@group.command()
def retire(
    kind: KindOption = "config",
    yes: Annotated[
        bool, typer.Option("--yes", help="Also within half an hour of `rotate`; devices must be paired again then.")
    ] = False,
) -> None:
    """Make replaced keys worth nothing, and print their ids; it cannot be undone."""
    from shelfsight.access import keys
    from shelfsight.access.key_store import KeyKind
    from shelfsight.cli.output import messages, moment, print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        retired = keys.retire(service.database, KeyKind(kind), by=service.caller, early=yes)
    for key in retired:
        print_plain(key.id)
        if kind == "config":
            since = moment(key.replaced_at)
            messages.print(f"Devices that were off since {since} UTC must be paired again.", soft_wrap=True)


@group.command()
def show(
    pem: Annotated[bool, typer.Option("--pem", help="Print the public keys that are valid as PEM, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all keys, retired ones too, the newest first; never what they sign with."""
    from shelfsight.access import keys
    from shelfsight.access.key_store import KeyState
    from shelfsight.cli.output import messages, moment, print_documents, print_plain, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        found = keys.show(service.database)
    if json:
        from shelfsight.api.key_routes import KeyDocument

        print_documents(map(KeyDocument.of, found))
        return
    if not found:
        messages.print("No key yet: the first is made when it is needed, or by `shelfsight keys create`.")
    print_table(
        ("Id", "Kind", "State", "Made", "Made by"),
        ((_grouped(key.id), key.kind, _state(key), moment(key.created_at), key.created_by) for key in found),
    )
    if pem:
        for key in found:
            if key.public_key is not None and key.state is not KeyState.RETIRED:
                print_plain(f"\n{keys.pem_of(key.public_key)}".rstrip())


@group.command()
def verify(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(metavar="FILE", help="A config as it was sent; - for standard input.")
    ],
    channel: Annotated[str | None, typer.Option(help="Of the device; by default the config's own.")] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(metavar="KEYID", help="A key that the device trusts; by default those of this service."),
    ] = None,
) -> None:
    """Say whether a device would accept a config; exits with 1 and the reason if not."""
    from datetime import UTC, datetime

    from shelfsight.access.signatures import MAX_BODY_BYTES, Trust, accept
    from shelfsight.cli.output import print_facts

    body = file.read(MAX_BODY_BYTES + 1)
    trusted = frozenset(map(_key_id, trust)) if trust else _own_keys()
    state = Trust(channel=_channel_of(body) if channel is None else channel, keys=trusted)
    print_facts(_facts(accept(body, state, datetime.now(UTC))))


_BESIDE = "The key before signs too. Once every device has asked for its config: `shelfsight keys retire`."
_NEXT = {
    ("config", False): _BESIDE,
    ("config", True): "Devices must be paired again: those that trust older keys only accept nothing new.",
    ("url", False): "URLs that the secret before has signed work until they expire.",
    ("url", True): "URLs that were signed before are worth nothing any more.",
}
"""What a person has to know after a change."""


def _grouped(key_id: str) -> str:
    """Return a key id as people compare it: eight groups of eight."""
    return " ".join(key_id[start : start + _GROUP] for start in range(0, len(key_id), _GROUP))


def _key_id(text: str) -> str:
    """Return the key id that somebody typed or copied, also in groups."""
    from shelfsight.errors import UsageError

    plain = text.translate(str.maketrans("", "", " :-")).lower()
    if len(plain) != 64 or set(plain) - set("0123456789abcdef"):
        raise UsageError(
            f"{text[:80]!r} is no key id: it has 64 hexadecimal digits, as `shelfsight keys show` prints"
        )
    return plain


def _own_keys() -> frozenset[str]:
    from shelfsight.access import keys
    from shelfsight.access.key_store import KeyKind, KeyState
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import NotFoundError

    with opened_service() as service:
        found = keys.show(service.database)
    own = frozenset(key.id for key in found if key.kind is KeyKind.CONFIG and key.state is not KeyState.RETIRED)
    if not own:
        raise NotFoundError("this service has no config key yet: name with --trust whom the device trusts")
    return own


def _channel_of(body: bytes) -> str:
    """Return the channel that a config names, empty where it names none."""
    from json import loads

    try:
        found = loads(body)
    except (ValueError, RecursionError):
        return ""
    channel = found.get("channelId") if isinstance(found, dict) else None
    return channel if isinstance(channel, str) else ""


def _state(key: Key) -> str:
    from shelfsight.access.keys import accepted_until
    from shelfsight.cli.output import moment

    until = accepted_until(key)
    return key.state if until is None else f"{key.state}, accepted until {moment(until)}"


def _facts(accepted: Accepted) -> Sequence[tuple[str, str]]:
    from shelfsight.cli.output import moment

    then = " and ".join(_grouped(key_id) for key_id in sorted(accepted.trust.keys))
    return (
        ("Accepted", "yes"),
        ("Channel", accepted.trust.channel),
        ("Stable version", str(accepted.document.get("activeModelVersion", "–"))),
        ("Sequence", str(accepted.trust.sequence)),
        ("Signed by", _grouped(accepted.signed_by)),
        ("Expires", moment(accepted.expires_at)),
        ("Trusted from then on", then),
    )
