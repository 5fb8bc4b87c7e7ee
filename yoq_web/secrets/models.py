"""The table of secrets."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database import Model


class Secret(Model):
    """A secret as stored: AES-256-GCM under the key `key_id`, bound to its name. Times are seconds since 1970."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str]
    nonce: Mapped[bytes]
    ciphertext: Mapped[bytes]
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<Secret {self.name}>"
