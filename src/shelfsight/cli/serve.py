"""`shelfsight serve`: the server of the API, the pages and the files."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import socket
    from contextlib import AbstractContextManager

    import uvicorn
    from fastapi import FastAPI

    from shelfsight.access.certificates import Certificate
    from shelfsight.api.services import Services
    from shelfsight.registry.publish import Registry
    from shelfsight.settings import ServiceSettings

_FINISH_WITHIN_S = 8  # Docker kills after 10


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    trainings: Annotated[
        int, typer.Option(min=0, max=64, help="Trainings at once here; 0 leaves them to `shelfsight worker`.")
    ] = 1,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve https, with a certificate of its own, for tills in this network.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(help="With --tls, another name or address by which tills reach this machine.", metavar="NAME"),
    ] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log every request.")] = False,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address or network of a proxy whose X-Forwarded headers are believed.", metavar="ADDRESS"),
    ] = None,
) -> None:
    """Serve the API, the pages and the published files, and train, until Ctrl-C or SIGTERM."""
    import structlog

    from shelfsight.app import build_app, open_services
    from shelfsight.cli.listening import address_of, listen
    from shelfsight.cli.logs import configure_logs
    from shelfsight.cli.tls import certificate_for
    from shelfsight.registry.follow import following
    from shelfsight.registry.publish import Registry
    from shelfsight.settings import service_settings
    from shelfsight.webhooks.sender import sending
    from shelfsight.webhooks.subscriptions import reach_of
    from shelfsight.worker import following_vendure

    proxies = _networks(trust_proxy or [])
    configure_logs(access=access_log)
    log = structlog.get_logger()
    settings = service_settings()
    certificate = certificate_for(name or []) if tls else None
    with listen(host, port) as listener:
        services = open_services(settings, authority=certificate.authority.read_bytes() if certificate else None)
        try:
            server = _prepare(build_app(services), certificate, access_log=access_log, proxies=proxies)
            address = address_of(listener, scheme="https" if tls else "http")
            _introduce(services, settings, address)
            if certificate:
                _tell_how_to_trust(certificate, listener)
            log.info("server_started", address=address)
            registry = Registry(database=services.database, storage=services.storage)
            webhooks = sending(services.database, reach_of(settings.webhook_networks))
            with following(registry), webhooks, following_vendure(registry), _training(registry, settings, trainings):
                _run(server, listener)
            log.info("server_stopped", address=address)
        finally:
            services.close()


def _training(registry: Registry, settings: ServiceSettings, concurrency: int) -> AbstractContextManager[object]:
    """Return what runs training jobs beside the server while a block lasts."""
    from contextlib import nullcontext

    from shelfsight.jobs.training import Trainer
    from shelfsight.worker import working

    if concurrency == 0:
        return nullcontext()
    trainer = Trainer(registry=registry, storage_url=settings.storage_url)
    return working(settings, trainer, concurrency=concurrency)


def _networks(proxies: list[str]) -> list[str]:
    from ipaddress import ip_network

    from shelfsight.errors import UsageError

    try:
        return [str(ip_network(proxy)) for proxy in proxies]
    except ValueError as exc:
        raise UsageError(
            f"--trust-proxy: {exc}: name an address such as 10.0.0.7, or a network, 10.0.0.0/24"
        ) from exc


def _introduce(services: Services, settings: ServiceSettings, address: str) -> None:
    """Print what a person wants to know of a server that starts, and how to log in where nobody can yet."""
    from shelfsight.access.administrators import issue_setup_link
    from shelfsight.cli.addresses import without_secrets
    from shelfsight.cli.output import print_facts, print_plain

    places = (("Database", settings.database_url), ("Storage", settings.storage_url))
    print_facts([("Address", address), *((name, without_secrets(url)) for name, url in places)])
    link = issue_setup_link(services.database)
    if link is not None:  # a line of its own, for a table would cut it
        print_plain(f"Open this link to choose a password: {address}/setup?token={link}")


def _tell_how_to_trust(certificate: Certificate, listener: socket.socket) -> None:
    """Print where tills find the server, and what they are to trust."""
    from shelfsight.cli.listening import is_for_others
    from shelfsight.cli.output import print_facts
    from shelfsight.cli.tls import own_addresses

    port = listener.getsockname()[1]
    tills = [f"https://{host}:{port}" for host in own_addresses()] if is_for_others(listener) else []
    facts = [("For tills", url) for url in tills] + [("To trust", f"{url}/authority.crt") for url in tills]
    print_facts([*facts, ("Certificate", str(certificate.authority)), ("SHA-256", certificate.fingerprint)])


def _prepare(
    app: FastAPI, certificate: Certificate | None, *, access_log: bool, proxies: list[str]
) -> uvicorn.Server:
    """Return a server that Ctrl-C and SIGTERM end well from now on, for that is how a server is meant to end."""
    import uvicorn

    from shelfsight.cli.http import HttpProtocol
    from shelfsight.jobs.events import end_streams

    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        log_config=None,
        access_log=access_log,
        lifespan="on",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=_FINISH_WITHIN_S,
        ssl_certfile=certificate.server if certificate else None,
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            end_streams(app)  # else an open page would be waited for
            await super().shutdown(sockets)

    server = Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    # uvicorn puts its own handlers in place of these while it runs, and raises the signal again afterwards.
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    return server


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until the end.

    Raises:
        UnavailableError: the application cannot start.
    """
    from shelfsight.errors import UnavailableError

    with suppress(SystemExit):  # with a code of uvicorn's own
        server.run(sockets=[listener])
    if server.lifespan.should_exit:
        raise UnavailableError("the server could not start: the log says why")
