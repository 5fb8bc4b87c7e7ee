"""The group of the trail's commands."""

from __future__ import annotations

from yoq_web import CommandGroup

group = CommandGroup("audit", help="Read the audit trail.")
