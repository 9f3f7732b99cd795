"""Structured logging for every process: one line per event, for people or as JSON."""

from __future__ import annotations

import logging
import sys

from tael.runtime.imports import without
from tael.runtime.settings import NodeSettings

with without("rich"):  # structlog would load it for coloured tracebacks, at 4 MiB per process
    import structlog


def configure_logging(settings: NodeSettings, target: str) -> None:
    """Send structlog's and the standard library's records to standard error in the format and level of the settings."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[structlog.typing.Processor] = [
        _one_line,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**({"service": target, "node": settings.node_id} if settings.log_format == "json" else {}))
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[plain], force=True)


def _one_line(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape unprintable characters of an event's message. Third-party libraries put input into their messages, and unlike values, which
    the renderers quote, a message would be written as it is.
    """
    message = event.get("event")
    if isinstance(message, str) and not message.isprintable():
        event["event"] = message.encode("unicode_escape").decode()
    return event


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines name the part of the process."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
