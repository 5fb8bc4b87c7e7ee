"""Logs: structured lines on standard error through Python's logging, as JSON unless a terminal reads them."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import structlog
from sqlalchemy import exc

from yoq_web.app_local import ContextLocal
from yoq_web.settings import Setting, Settings, SettingsError

current_request_id: ContextLocal[str] = ContextLocal("request_id", "")
"""Finds the log lines of a request; empty where there is none."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("json", "text")


def _parse_level(word: str) -> int:
    if word not in LEVELS:
        raise SettingsError("YOQ_LOG_LEVEL must be debug, info, warning or error")
    return LEVELS[word]


def _parse_format(word: str) -> str:
    if word not in FORMATS:
        raise SettingsError("YOQ_LOG_FORMAT must be json or text")
    return word


LOG_LEVEL = Setting[int | None](
    "YOQ_LOG_LEVEL",
    "which lines are logged: `debug` (what monitoring asks, too), `info` (each request), `warning` or `error`",
    _parse_level,
    lambda _settings: None,
    "`info` while serving, `warning` for commands",
)
LOG_FORMAT = Setting[str](
    "YOQ_LOG_FORMAT",
    "how: `json`, a document a line, or `text`, for people",
    _parse_format,
    lambda _settings: "text" if sys.stderr.isatty() else "json",
    "`text` where standard error is a terminal, else `json`",
)
SETTINGS: tuple[Setting[Any], ...] = (LOG_LEVEL, LOG_FORMAT)

DEPTH = 40
"""How many frames of an exception are shown, the innermost ones."""

TELLING = (exc.OperationalError, exc.ProgrammingError, exc.InternalError, exc.TimeoutError, exc.DisconnectionError)
"""Errors of the database whose text names statements and tables. The others' quotes values: of a row, of a key."""


def render_exception(error: BaseException) -> str:
    """Write an exception for the log: where and of what types, with its causes; messages may hold secret values."""
    return "\n".join(_render_chain(error, set()))


def _render_chain(error: BaseException, seen: set[int]) -> list[str]:
    lines: list[str] = []
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        lines += [f"{'caused by ' if lines else ''}{_render_headline(found)}", *_render_frames(found)]
        if isinstance(found, BaseExceptionGroup):
            for member in found.exceptions:
                lines += [f"  | {line}" for line in _render_chain(member, seen)]
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return lines


def _render_headline(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    # Exactly what the system says; a library's OSError without a number may say anything.
    from_system = kind.__module__ == "builtins" and isinstance(error, OSError) and error.errno is not None
    return f"{name}: {' '.join(str(error).split())}" if from_system or isinstance(error, TELLING) else name


def _render_frames(error: BaseException) -> list[str]:
    # Without the lines of source: those may hold the message.
    walked = list(traceback.walk_tb(error.__traceback__))[-DEPTH:]
    return [f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}' for frame, line in walked]


def configure(settings: Settings) -> None:
    """Set up structlog and a handler for the logger `yoq_web`, once a process; operators may add handlers as usual.

    Raises SettingsError for a level or a format of no use.
    """
    logger = logging.getLogger("yoq_web")
    level, chosen = settings[LOG_LEVEL], settings[LOG_FORMAT]
    if logger.handlers:
        return
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Values as Python writes them: a request's path must not draw on the terminal.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, repr_native_str=True
        )
        if chosen == "text"
        else structlog.processors.JSONRenderer()
    )
    # Who logs to `yoq_web` without render_exception(), as Flask and plugins may, shows no message either.
    finish: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _order_members,
        structlog.processors.ExceptionRenderer(_render_info),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[*finish, renderer], foreign_pre_chain=shared))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if level is None else level)


def log_requests(settings: Settings) -> None:
    """Log each request from now on, unless the operator chose a level: this process serves."""
    if settings[LOG_LEVEL] is None:
        logging.getLogger("yoq_web").setLevel(logging.INFO)


def _render_info(exc_info: structlog.typing.ExcInfo) -> str:
    return render_exception(exc_info[1])


def _order_members(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = {name: line.pop(name) for name in ("timestamp", "level", "event") if name in line}
    return {**first, **line}
