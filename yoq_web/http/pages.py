"""Lists over HTTP in pages: the parameters `limit` and `cursor`, and the Link header that leads to the next page."""

from __future__ import annotations

from flask import request
from pydantic import BaseModel, ConfigDict, Field

from yoq_web.database.pages import MOST, Key, Slice
from yoq_web.http.cursors import make_next_link, read_cursor, write_cursor
from yoq_web.problems import Problem

TEXT, NUMBER = "t", "n"
"""How the parts of a key begin in a cursor; between them is NUL, which no text of ours holds."""


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


def make_page_link(key: Key) -> str:
    """Make the value of the Link header that leads to the page behind the item with this key."""
    payload = "\0".join(f"{TEXT if isinstance(part, str) else NUMBER}{part}" for part in key).encode()
    return make_next_link(write_cursor(payload, _name_list()))


def _decode(cursor: str) -> Key:
    try:
        parts = [(part[:1], part[1:]) for part in read_cursor(cursor, _name_list()).decode().split("\0")]
        return tuple(text if kind == TEXT else int(text) for kind, text in parts)
    except ValueError:
        said = "take it from the Link header as it is, and for the same list"
        raise Problem(400, "invalid cursor", said) from None


def _name_list() -> bytes:
    # The path as well: a cursor of another list, or of another app's history, would lead astray.
    return b"yoq-web cursor\0" + request.path.encode()
