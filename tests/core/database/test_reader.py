"""Connections for reading: threads may share one, and nothing is written over it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from flask import Flask

from tests.support.served import environment
from yoq_web import db, open_reader

SHARE = """
from threading import Thread
from yoq_web import create_app, open_reader

with create_app().app_context(), open_reader() as connection:
    connection.execute("BEGIN")

    def ask(thread):
        for number in range(1000):  # each is prepared, and each has values that are bound
            connection.cursor().execute(f"SELECT {number}, ? FROM secrets, audit_log", (thread,)).fetchall()

    threads = [Thread(target=ask, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("done")
"""


@pytest.mark.parametrize("backend", ["sqlite"])
def test_threads_share_a_reader(app: Flask, tmp_path: Path, database_url: str) -> None:
    """Neither waits for the other with the interpreter, which nothing in the process could end: so it has its own."""
    done = subprocess.run(
        [sys.executable, "-c", SHARE],
        env=environment(tmp_path, YOQ_DATABASE_URL=database_url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_a_reader_writes_nothing(app: Flask) -> None:
    """Whatever is executed: and the next one who gets a connection may write."""
    with app.app_context():
        with open_reader() as connection, pytest.raises((sqlite3.Error, psycopg.Error), match=r"read-?only"):
            connection.execute("DELETE FROM secrets")
        with db.engine.connect() as other:
            assert other.exec_driver_sql("SELECT count(*) FROM secrets").scalar() == 0
    done = app.test_cli_runner().invoke(args=["secret", "set", "db"], input="value")
    assert done.exit_code == 0, done.output
