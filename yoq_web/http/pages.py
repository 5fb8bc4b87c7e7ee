"""Lists over HTTP in pages: the parameters `limit` and `cursor`, and the Link header that leads to the next page."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import urlencode

from flask import request
from pydantic import BaseModel, ConfigDict, Field

from yoq_web.database.pages import MOST, Key, Slice
from yoq_web.problems import Problem

TEXT, NUMBER = "t", "n"
"""How the parts of a key begin in a cursor; between them is NUL, which no text of ours holds."""

CHECK = 8
"""Bytes of a cursor's check sum. It finds mistakes; a forged one shows nothing that its bearer may not read anyway."""


class PageQuery(BaseModel):
    """Which part of a list to answer."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(MOST, ge=1, le=MOST, description=f"How many, {MOST} at most; a Link header leads on")
    cursor: str | None = Field(
        None, max_length=1024, description="Where the page before ended: take it from its Link header as it is"
    )

    def find_slice(self) -> Slice:
        """Return the part that is meant. Raises a Problem (400) for a cursor that is not of this very list."""
        return Slice(None if self.cursor is None else _decode(self.cursor), self.limit)


def make_next_link(key: Key) -> str:
    """Make the value of the Link header that leads from this request's page to the next one.

    It is relative: a proxy may have taken a prefix of the path away.
    """
    payload = "\0".join(f"{TEXT if isinstance(part, str) else NUMBER}{part}" for part in key).encode()
    cursor = _to_text(_compute_check(payload) + payload)
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return f'<?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def _decode(cursor: str) -> Key:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        payload = raw[CHECK:]
        sound = raw[:CHECK] == _compute_check(payload) and _to_text(raw) == cursor
        parts = [(part[:1], part[1:]) for part in payload.decode().split("\0")]
        key = tuple(text if kind == TEXT else int(text) for kind, text in parts)
    except ValueError:
        sound = False
    if not sound:
        raise Problem(400, "invalid cursor", "take it from the Link header as it is, and for the same list")
    return key


def _compute_check(payload: bytes) -> bytes:
    # Of the path as well: a cursor of another list, or of another app's history, would lead astray.
    return hashlib.sha256(b"yoq-web cursor\0" + request.path.encode() + b"\0" + payload).digest()[:CHECK]


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
