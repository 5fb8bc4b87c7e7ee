"""One apply of an app at a time: whoever comes second is told so at once, in whichever process or on whichever node."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from yoq_web import files
from yoq_web.database.locks import advisory_lock
from yoq_web.settings import current_settings

FOLDER = "apply-locks"


@contextmanager
def lock_app_file(app: str) -> Iterator[bool]:
    """Hold the app for as long as the block lasts; yields whether nobody else on this machine does.

    A database on this machine takes one writer after the other, so that only the file tells that there were two. The
    lock goes with its process, however that ends.
    """
    if not current_settings().on_sqlite:
        yield True
        return
    folder = current_settings().data_dir / FOLDER
    files.make_folder(folder)
    name = hashlib.sha256(app.encode(errors="surrogatepass")).hexdigest()[:32]
    with files.lock(folder / f"app-{name}.lock", wait=False) as held:
        yield held


def try_lock_app(session: Session, app: str) -> bool:
    """Hold the app until this transaction ends; returns whether nobody else who shares the database does."""
    return advisory_lock(session, f"app {app}", wait=False)
