"""Numbers and base64 with exactly one spelling for each value.

What is signed or proved must not have a second spelling: a decoder that forgives lets a changed text pass unnoticed.
"""

from __future__ import annotations

import base64
import re

MAX_SIZE = 2**64 - 1
"""The largest tree size: a uint64, as in the other implementations."""

_DECIMAL = re.compile("0|[1-9][0-9]{0,19}")


def parse_decimal(text: str) -> int:
    """Read an ASCII decimal number without sign, spaces or leading zeros, at most MAX_SIZE; else ValueError."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a canonical decimal number: {text[:40]!r}")
    number = int(text)
    if number > MAX_SIZE:
        raise ValueError(f"beyond 64 bits: {text}")
    return number


def encode_base64(data: bytes) -> str:
    """Encode as base64 of RFC 4648 section 4: the standard alphabet, with padding."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes:
    """Decode base64 as encode_base64() writes it; any other spelling, such as stray bits, is a ValueError."""
    data = base64.b64decode(text, validate=True)
    if encode_base64(data) != text:
        raise ValueError("not canonical base64")
    return data
