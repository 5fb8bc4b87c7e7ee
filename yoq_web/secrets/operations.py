"""What can be done with secrets; routes and commands both come here."""

from __future__ import annotations

import hmac
import time

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from yoq_web.database.pages import WHOLE, Page, Slice, by_bytes, read_page
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details
from yoq_web.problems import NotFound
from yoq_web.secrets.keys.keyring import current_keyring
from yoq_web.secrets.models import Secret

VERSION = ("version",)

secret_set = Operation(
    "secret_set", "Set a secret", "secrets:write", ("version", "before", "origin"), activity="update"
)
secret_get = Operation("secret_get", "Read a secret's value at the command line", "*", VERSION, activity="read")
secret_list = Operation("secret_list", "List the names of the secrets", "secrets:read", activity="read")
secret_delete = Operation("secret_delete", "Delete a secret", "secrets:write", ("before",), activity="delete")
secret_rotate = Operation("secret_rotate", "Encrypt a secret anew", "secrets:write", VERSION, activity="update")

OPERATIONS = (secret_set, secret_get, secret_list, secret_delete, secret_rotate)


def set_secret(name: str, value: str, *, origin: str | None = None) -> None:
    """Create or replace a secret; a replaced one keeps its time of creation.

    `origin` is the file that an imported one comes from.
    """
    with secret_set.performed(name) as session:
        version = current_keyring().store(session, name, value)
        add_details(version=version, before=version - 1 or None)
        if origin is not None:
            add_details(origin=origin)


def compare_secret(session: Session, name: str, value: str) -> bool | None:
    """Tell, inside a unit of work, whether a secret has this value; None if there is no such secret.

    Raises a Problem for one that cannot be read.
    """
    secret = session.get(Secret, name)
    return None if secret is None else hmac.compare_digest(_decrypt(session, secret).encode(), value.encode())


def get_secret(name: str) -> str:
    """Return a secret's value. Raises NotFound."""
    with secret_get.performed(name) as session:
        secret = _find(session, name)
        add_details(version=secret.version)
        return _decrypt(session, secret)


def list_secrets(part: Slice = WHOLE) -> Page[str]:
    """List the names of the secrets, in the order of their bytes."""
    with secret_list.performed() as session:
        names = read_page(session, select(Secret.name), (by_bytes(Secret.name, session),), part)
        return names.convert(lambda row: row.name)


def delete_secret(name: str) -> None:
    """Delete a secret. Raises NotFound."""
    with secret_delete.performed(name) as session:
        version = session.scalar(delete(Secret).where(Secret.name == name).returning(Secret.version))
        if version is None:
            raise NotFound("not found", f"there is no secret {name!r}")
        add_details(before=version)


def rotate_secret(name: str) -> None:
    """Encrypt a secret anew, under a fresh nonce. Raises NotFound."""
    with secret_rotate.performed(name) as session:
        cipher = current_keyring().find_newest(session)
        secret = _find(session, name, lock=True)
        add_details(version=secret.version)
        nonce, ciphertext = cipher.encrypt(name, _decrypt(session, secret))
        change = {"key_id": cipher.key_id, "nonce": nonce, "ciphertext": ciphertext, "updated_at": int(time.time())}
        session.execute(update(Secret).where(Secret.name == name).values(change))


def _find(session: Session, name: str, *, lock: bool = False) -> Secret:
    secret = session.get(Secret, name, with_for_update=lock)
    if secret is None:
        raise NotFound("not found", f"there is no secret {name!r}")
    return secret


def _decrypt(session: Session, secret: Secret) -> str:
    cipher = current_keyring().find_cipher(session, secret.key_id)
    if cipher is None:
        # Its key was dropped since it was read: it is encrypted with the newest one by now.
        session.refresh(secret)
        cipher = current_keyring().find_newest(session)
    return cipher.decrypt(secret)
