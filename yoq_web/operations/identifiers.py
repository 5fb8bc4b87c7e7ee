"""Identifiers made by us: time-ordered UUIDs (RFC 9562, version 7)."""

from __future__ import annotations

import os


def uuid7(time_ns: int) -> str:
    """A UUIDv7 for a time in nanoseconds since 1970: 48 bits of milliseconds, then random ones. Text, lower case."""
    milliseconds = time_ns // 1_000_000
    random = int.from_bytes(os.urandom(10)) >> 6
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
