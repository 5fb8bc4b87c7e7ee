"""Watching the sealer: seals when told to, and says once, and in /health, why it cannot."""

from __future__ import annotations

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError
from structlog.stdlib import get_logger

from yoq_audit.sealing import sealer, signer
from yoq_audit.sealing.retired import end_replaced_log
from yoq_audit.tlog.errors import LogError
from yoq_web import SettingsError

log = get_logger("yoq_web")

_TROUBLE = "yoq_audit_trouble"


def seal() -> None:
    """Seal; what stands in the way is remembered, and logged when it is new."""
    before = trouble()
    try:
        end_replaced_log()
        sealer.seal(check=_TROUBLE not in current_app.extensions or before is not None)
        now = None
    except (signer.Rewound, signer.HeadMissing, signer.CannotSign, SettingsError, LogError) as error:
        now = f"nothing is sealed: {error}"
    except SQLAlchemyError as error:
        now = f"nothing is sealed: the database refuses ({type(error).__name__})"
    current_app.extensions[_TROUBLE] = now
    if now and now != before:
        log.error("the log cannot be sealed", reason=now)
    elif before and not now:
        log.warning("the log is sealed again")


def trouble() -> str | None:
    """Why nothing is sealed, as far as this process knows."""
    found: str | None = current_app.extensions.get(_TROUBLE)
    return found
