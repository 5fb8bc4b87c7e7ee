"""The table of named tokens."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database.session import Model


class Token(Model):
    """A named token. A name is never given twice, not even after revocation. Times are seconds since 1970."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    # What the trail shows: unique as well, so that two long names are not one actor.
    label: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<Token {self.name}>"

    def compute_status(self, now: int) -> str:
        """Return `active`, `revoked` or `expired`; a revoked token stays so after its expiry."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"
