"""What the routes of backups take and answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

Recipient = Annotated[str, StringConstraints(pattern=r"^age1[0-9a-z]{20,100}$")]


class BackupIn(BaseModel):
    """How to take a backup. Without recipients it is encrypted with the key of the server's data directory."""

    recipients: Annotated[list[Recipient], Field(min_length=1, max_length=16)] | None = Field(
        None, description="age keys (age1…) that are to open it"
    )


class BackupOut(BaseModel):
    """A backup that the server keeps. `size` is in bytes, `created_at` in seconds since 1970."""

    name: str
    size: int
    created_at: int
