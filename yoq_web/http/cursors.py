"""Cursors: where a page of a list ended, as text that nobody who carries it need understand, and the link with it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

from flask import request

CHECK = 8
"""Bytes of a cursor's check sum. It finds mistakes; a forged one shows nothing that its bearer may not read anyway."""


def write_cursor(payload: bytes, of: bytes) -> str:
    """Write what a list needs to go on as a cursor of that list, which `of` tells from all others."""
    return _to_text(_compute_check(payload, of) + payload)


def read_cursor(text: str, of: bytes) -> bytes:
    """Read what write_cursor() was given. Raises ValueError for a cursor of another list, and for what is none."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    payload = raw[CHECK:]
    if raw[:CHECK] != _compute_check(payload, of) or _to_text(raw) != text:
        raise ValueError("it is not a cursor of this list")
    return payload


def make_next_link(cursor: str, exact: Mapping[str, str | None] | None = None) -> str:
    """Make the value of the Link header that leads from this request's page to the next one.

    The parameters are the request's; `exact` has other values for some. It is relative: a proxy may have taken a prefix
    of the path away.
    """
    given = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    kept = [(name, (exact or {}).get(name, value)) for name, value in given]
    return f'<?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def _compute_check(payload: bytes, of: bytes) -> bytes:
    return hashlib.sha256(of + b"\0" + payload).digest()[:CHECK]


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
