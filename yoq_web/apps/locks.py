"""One apply of an app at a time: whoever comes second is told so at once, in whichever process or on whichever node."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from yoq_web.apps.store import on_postgresql
from yoq_web.settings import current_settings

FOLDER = "apply-locks"


@contextmanager
def applying(app: str) -> Iterator[bool]:
    """Hold the app for as long as the block lasts; yields whether nobody else on this machine does.

    A database on this machine takes one writer after the other, so that only the file tells that there were two. The
    lock goes with its process, however that ends.
    """
    if not current_settings().on_sqlite:
        yield True
        return
    folder = current_settings().data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(app.encode(errors="surrogatepass")).hexdigest()[:32]
    handle = os.open(folder / f"app-{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def alone(session: Session, app: str) -> bool:
    """Hold the app until this transaction ends; returns whether nobody else who shares the database does."""
    if not on_postgresql(session):
        return True
    key = int.from_bytes(hashlib.sha256(b"yoq-web app\0" + app.encode()).digest()[:8], signed=True)
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}))
