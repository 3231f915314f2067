"""`shelfsight images`: photos of products."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shelfsight.cli.parameters import ChannelArgument, JsonOption, ProductArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.catalog.rules import Image
    from shelfsight.cli.image_sources import AddedImages
    from shelfsight.database.engine import Database

_PAGE = 1000
_SHORTEST_PREFIX = 8
_MOST_NAMED = 5

group = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(group, name="images", help="Photos of products.")


@group.command()
def add(
    channel: ChannelArgument,
    product: Annotated[str | None, typer.Argument(metavar="[PRODUCT]", help="Id of the product.")] = None,
    sources: Annotated[list[str] | None, typer.Argument(metavar="[FILE|URL...]", help="Pictures.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Instead of a product: photos of many, a folder or CSV as for training.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Add products that are not there.")] = False,
) -> None:
    """Add photos to a product, or to many; exits with 1 if none could be used."""
    from shelfsight.cli.image_sources import add_folder, add_to_product
    from shelfsight.cli.output import progress_bars
    from shelfsight.cli.service import opened_service
    from shelfsight.errors import UsageError

    if (folder is None) == (product is None) or (folder is None and not sources):
        raise UsageError("name a product and its pictures, or photos of many products with --folder")
    with opened_service() as service, progress_bars() as bars:
        if folder is not None:
            added = add_folder(service, channel, folder, create=create, bars=bars)
        else:
            added = add_to_product(service, channel, product or "", sources or [], create=create, bars=bars)
    _tell(added)


@group.command("list")
def list_images(channel: ChannelArgument, product: ProductArgument, json: JsonOption = False) -> None:
    """List the photos of a product."""
    from shelfsight.cli.output import moment, print_documents, print_table
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        found = list(_all(service.database, channel, product))
    if json:
        from shelfsight.catalog.documents import ImageDocument

        print_documents(map(ImageDocument.of, found))
        return
    print_table(
        ("SHA-256", "Type", "Bytes", "Width", "Height", "Added"),
        (
            (
                image.sha256,
                image.media_type,
                str(image.size_bytes),
                str(image.width),
                str(image.height),
                moment(image.created_at),
            )
            for image in found
        ),
        right=("Bytes", "Width", "Height"),
    )


@group.command()
def remove(
    channel: ChannelArgument,
    product: ProductArgument,
    hashes: Annotated[
        list[str], typer.Argument(metavar="SHA256...", help="Of the photos; the first 8 digits will do.")
    ],
) -> None:
    """Remove photos from a product."""
    from shelfsight.catalog.store import images
    from shelfsight.cli.output import print_plain
    from shelfsight.cli.service import opened_service

    with opened_service() as service:
        known = [image.sha256 for image in _all(service.database, channel, product)]
        chosen = [_whole(prefix, known, product) for prefix in hashes]
        for sha256 in dict.fromkeys(chosen):
            with service.database.write(actor=service.caller.actor) as tx:
                images.remove(tx, channel, product, sha256, service.stamp())
            print_plain(f"Removed {sha256}")


def _all(database: Database, channel: str, product: str) -> Iterator[Image]:
    from shelfsight.catalog.store import channels, images, products

    after = None
    with database.read() as tx:
        channels.get(tx, channel)
        products.get(tx, channel, product)
        while found := images.page(tx, channel, product, after=after, limit=_PAGE):
            yield from found
            after = found[-1].sha256


def _whole(prefix: str, known: list[str], product: str) -> str:
    """Return the hash that begins with `prefix`.

    Raises:
        UsageError: it is too short, or several begin so.
        NotFoundError: none does.
    """
    from shelfsight.errors import NotFoundError, UsageError

    if len(prefix) < _SHORTEST_PREFIX:
        raise UsageError(f"{prefix!r} is too short: give at least {_SHORTEST_PREFIX} digits of the SHA-256")
    found = [sha256 for sha256 in known if sha256.startswith(prefix.lower())]
    if not found:
        raise NotFoundError(f"product {product!r} has no image {prefix}: `shelfsight images list` shows which it has")
    if len(found) > 1:
        raise UsageError(f"{len(found)} images of {product!r} begin with {prefix}: give more digits")
    return found[0]


def _tell(added: AddedImages) -> None:
    """Print what became of the pictures; exits with 1 if there were some and none can be used."""
    from rich.markup import escape

    from shelfsight.cli.output import print_line

    for name, reason in added.refused:
        print_line(f"[yellow]refused[/] {escape(name)}: {escape(reason)}")
    if added.homeless:
        print_line(f"[yellow]refused[/] {escape(_homeless(added.homeless))}")
    for name, others in added.shared:
        print_line(f"[yellow]![/] {escape(name)} is also a photo of {escape(', '.join(others))}")
    print_line(f"Added {added.new}, already there {added.known}, refused {added.refused_count}")
    if added.refused_count and not added.new and not added.known:
        raise typer.Exit(1)


def _homeless(photos: dict[str, int]) -> str:
    """Return what to say of photos whose products are not there."""
    names = ", ".join([*photos][:_MOST_NAMED]) + (", …" if len(photos) > _MOST_NAMED else "")
    count = sum(photos.values())
    if len(photos) == 1:
        return f"{count} photos of product {names}, which is not in the channel: --create adds it"
    return f"{count} photos of {len(photos)} products that are not in the channel ({names}): --create adds them"
