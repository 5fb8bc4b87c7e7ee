"""What the routes of policies take and answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from yoq_web.names import Name, NewName

Action = Literal["deny", "allow"]


class PolicyIn(BaseModel):
    """A rule to add, or to put in the place of the one for the same source and target."""

    source: NewName
    target: NewName
    action: Action


class PairQuery(BaseModel):
    """Which rule is meant."""

    source: Name
    target: Name


class PolicyOut(BaseModel):
    """A rule as listed."""

    source: str
    target: str
    action: Action
