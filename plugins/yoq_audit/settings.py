"""The audit plugin's own settings: what the log is called, and how long its entries are kept."""

from __future__ import annotations

import re

from yoq_web import Setting, SettingsError, parse_duration


def parse_age(text: str) -> int:
    """Return the seconds in a retention like `400d`; raises ValueError for any other text.

    The least is an hour: of younger entries a spool may still be handing over a second copy.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,5}[hdw]", text, re.ASCII):
        raise ValueError("how long entries are kept is a number and h, d or w, like 400d")
    return parse_duration(text, "hdw")


def _parse_retention(text: str) -> str:
    try:
        parse_age(text)
    except ValueError:
        raise SettingsError("YOQ_AUDIT_RETENTION must be a number and h, d or w, like 400d") from None
    return text


def _parse_origin(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/-]{1,128}", name):
        raise SettingsError("YOQ_LOG_ORIGIN must be 1 to 128 letters, digits, dots, dashes, underscores or slashes")
    return name


LOG_ORIGIN = Setting[str](
    "YOQ_LOG_ORIGIN",
    "the provable log's name, the same on all machines of one database",
    _parse_origin,
    lambda settings: f"yoq-web/{settings.node}",
    "`yoq-web/` and the node",
)
RETENTION = Setting[str | None](
    "YOQ_AUDIT_RETENTION",
    "how long entries are kept, like `400d`: older ones are pruned",
    _parse_retention,
    lambda _settings: None,
    "for ever",
)
SETTINGS = (LOG_ORIGIN, RETENTION)
