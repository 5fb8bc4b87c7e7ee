"""Identifiers made by us: time-ordered UUIDs (RFC 9562, version 7)."""

from __future__ import annotations

import secrets
import uuid


def uuid7(time_ns: int) -> str:
    """A UUIDv7 for a time in nanoseconds since 1970: 48 bits of milliseconds, then random ones. Text, lower case."""
    milliseconds = time_ns // 1_000_000
    random = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(uuid.UUID(int=value))
