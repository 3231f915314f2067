"""How a process that runs for long writes its log: for a person at a terminal, as JSON lines anywhere else."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_REQUEST = ("address", "method", "path", "status")
"""What is logged of a request."""


def configure_logs(*, access: bool) -> None:
    """Send our log and that of the libraries to standard error.

    Args:
        access: whether to log every request.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(_REQUEST)],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering()],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("shelfsight").setLevel(logging.INFO)
    requests = logging.getLogger("uvicorn.access")
    requests.setLevel(logging.INFO if access else logging.WARNING)
    requests.addFilter(_as_facts)


def _rendering() -> list[Processor]:
    if sys.stderr.isatty():
        # The plain traceback: the one that rich draws shows variables, and so passwords.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, _event_first, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _event_first(_logger: WrappedLogger, _name: str, entry: EventDict) -> EventDict:
    """Return the entry in the order in which it is read."""
    first = {name: entry[name] for name in ("timestamp", "level", "event") if name in entry}
    return {**first, **entry}


def _as_facts(record: logging.LogRecord) -> bool:
    """Let uvicorn's line of a request be facts, and leave the query out: it may hold a token."""
    if isinstance(record.args, tuple) and len(record.args) == 5:
        address, method, path, _, status = record.args
        facts = (address, method, str(path).partition("?")[0], status)
        record.__dict__.update(msg="request", args=(), **dict(zip(_REQUEST, facts, strict=True)))
    return True
