"""The table of policies."""

from __future__ import annotations

from sqlalchemy import BigInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database.session import Model


class Policy(Model):
    """One rule per source and target. `created_at` is in microseconds since 1970, so that it orders the rules."""

    __tablename__ = "policies"
    __table_args__ = (UniqueConstraint("source", "target"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    target: Mapped[str]
    action: Mapped[str]
    created_at: Mapped[int] = mapped_column(BigInteger)
