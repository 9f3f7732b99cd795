"""Structured logs for every process: one line an event, for people or as JSON."""

from __future__ import annotations

import logging
import sys

from tael.runtime.imports import without
from tael.runtime.settings import NodeSettings

with without("rich"):  # for coloured tracebacks: 4 MiB in every process
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
    """Other people's libraries put what they were sent into their messages; values are quoted by the renderers, a message is not."""
    said = event.get("event")
    if isinstance(said, str) and not said.isprintable():
        event["event"] = said.encode("unicode_escape").decode()
    return event


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines say which part of the process speaks."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger
