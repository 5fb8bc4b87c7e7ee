"""The tables of secrets and of the keys that they are encrypted with."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web.database.session import Model


class Secret(Model):
    """A secret as stored: AES-256-GCM under the data key `key_id`, bound to its name. Times are seconds since 1970.

    `version` counts how often it was set since it was created.
    """

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("secret_keys.id"))
    nonce: Mapped[bytes]
    ciphertext: Mapped[bytes]
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(server_default="1")

    def __repr__(self) -> str:
        return f"<Secret {self.name}>"


class SecretKey(Model):
    """A data key, wrapped by the master key that `master` names. The one with the highest number is in use.

    `wrapped` is None for the key of an older version, whose key file was the data key itself, until it is used next.
    """

    __tablename__ = "secret_keys"

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    master: Mapped[str]
    wrapped: Mapped[bytes | None]
    created_at: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"<SecretKey {self.id}>"
