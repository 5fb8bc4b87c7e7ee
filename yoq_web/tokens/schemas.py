"""What the routes of tokens take and answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from yoq_web.names import NewName
from yoq_web.scopes import SCOPE
from yoq_web.times import parse_duration

MAX_SCOPES = 16


def parse_ttl(ttl: str) -> int:
    """Read a time to live like `45s`, `30m`, `12h` or `7d` as seconds; raises ValueError for any other text."""
    with suppress(ValueError):
        if seconds := parse_duration(ttl, "smhd"):
            return seconds
    raise ValueError("a time to live is a positive number and s, m, h or d, like 12h")


def _check_ttl(ttl: str) -> str:
    parse_ttl(ttl)
    return ttl


TTL = "^(?!0+[smhd]$)[0-9]{1,9}[smhd]$"
"""The same rule for readers of the API's description."""


class TokenIn(BaseModel):
    """A token to create."""

    name: NewName = Field(
        description="Printable text in the letters of one script that does not begin with --, at most 256 bytes of"
        " UTF-8; not one that could be taken for another token's"
    )
    scopes: list[Annotated[str, Field(json_schema_extra={"format": SCOPE})]] = Field(
        min_length=1, max_length=MAX_SCOPES
    )
    ttl: Annotated[str, AfterValidator(_check_ttl), Field(json_schema_extra={"pattern": TTL})] | None = Field(
        None, description="How long it is good for, like 45s, 30m, 12h or 7d; for ever if absent"
    )


class TokenCreated(BaseModel):
    """A new token with its text, which is shown this once."""

    name: str
    scopes: list[str]
    token: str = Field(repr=False)
    expires_at: int | None


class TokenOut(BaseModel):
    """A token as listed; times are seconds since 1970."""

    name: str
    scopes: list[str]
    status: str
    created_at: int
    expires_at: int | None
