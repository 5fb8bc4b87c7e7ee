"""What the tests of secrets' keys share: many secrets, and what is stored of them."""

from __future__ import annotations

from typing import Any

from flask import Flask
from sqlalchemy import insert, select

from tests.support.door import acting, behind
from yoq_web import db
from yoq_web.database.session import unit_of_work
from yoq_web.secrets.keys.keyring import Keyring, current_keyring
from yoq_web.secrets.models import Secret
from yoq_web.secrets.operations import set_secret


def fill_secrets(app: Flask, count: int) -> dict[str, str]:
    """Store so many secrets, all but the first behind the door; returns their values."""
    values = {f"s{number:05}": f"value {number}" for number in range(count)}
    with acting(app):
        set_secret("s00000", values["s00000"])
        with unit_of_work() as session:
            cipher = current_keyring().find_newest(session)
            rows = []
            for name, value in list(values.items())[1:]:
                nonce, ciphertext = cipher.encrypt(name, value)
                row = {"name": name, "key_id": cipher.key_id, "nonce": nonce, "ciphertext": ciphertext}
                rows.append(row | {"created_at": 1, "updated_at": 1})
            if rows:
                session.execute(insert(Secret), rows)
    return values


def read_secrets(app: Flask) -> dict[str, str]:
    """The values of all secrets, as a process that has just started decrypts them."""
    current_keyring.put(app, Keyring())
    found = {}
    with app.app_context():
        for secret in db.session.scalars(select(Secret)):
            cipher = current_keyring().find_cipher(db.session(), secret.key_id)
            assert cipher is not None
            found[secret.name] = cipher.decrypt(secret)
        db.session.rollback()
    return found


def read_keys(url: str) -> list[dict[str, Any]]:
    """The data keys as stored, the newest last."""
    return behind(url, "SELECT * FROM secret_keys ORDER BY number")
