"""Logs: structured lines on standard error through Python's logging, as JSON unless a terminal reads them."""

from __future__ import annotations

import logging
import sys

import structlog


def configure() -> None:
    """Set up structlog and a handler for the logger `yoq_web`, once a process; operators may add handlers as usual."""
    logger = logging.getLogger("yoq_web")
    if logger.handlers:
        return
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: the pretty ones show local variables, and those may be secret. Values as Python writes them: a
    # request's path must not draw on the terminal.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, repr_native_str=True)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    finish: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _ordered]
    if not sys.stderr.isatty():
        finish.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[*finish, renderer], foreign_pre_chain=shared))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)


def _ordered(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = {name: line.pop(name) for name in ("timestamp", "level", "event") if name in line}
    return {**first, **line}
