"""The settings of backups: where the server keeps its own, how often it takes one by itself, how many of those stay."""

from __future__ import annotations

import re
from pathlib import Path

from yoq_web.settings import Setting, SettingsError, parse_path
from yoq_web.times import parse_duration

FOLDER = "backups"
"""Of the data directory: where backups are kept unless YOQ_BACKUP_DIR says otherwise."""
LIST = "scheduled.json"
"""Beside the backups: the list of those that the schedule took."""


def _parse_schedule(text: str) -> int:
    try:
        seconds = parse_duration(text, "mhdw")
    except ValueError:
        seconds = 0
    if not 60 <= seconds <= 366 * 86_400:
        raise SettingsError("YOQ_BACKUP_SCHEDULE must be a number and m, h, d or w, like 24h: how often, within a year")
    return seconds


def _parse_keep(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text, re.ASCII):
        raise SettingsError("YOQ_BACKUP_KEEP must be a number of backups, 1 to 9999")
    return int(text)


BACKUP_DIR = Setting[Path](
    "YOQ_BACKUP_DIR",
    "the directory of the backups that the server keeps; one that is named here must be there",
    parse_path,
    lambda settings: settings.data_dir / FOLDER,
    "`backups` in the data directory",
)
BACKUP_SCHEDULE = Setting[int | None](
    "YOQ_BACKUP_SCHEDULE",
    "how often the server takes a backup by itself, like `30m`, `6h`, `24h` or `7d`",
    _parse_schedule,
    lambda _settings: None,
    "never",
)
BACKUP_KEEP = Setting[int](
    "YOQ_BACKUP_KEEP",
    "how many of the backups that it took by itself stay",
    _parse_keep,
    lambda _settings: 7,
    "`7`",
)
SETTINGS = (BACKUP_DIR, BACKUP_SCHEDULE, BACKUP_KEEP)
