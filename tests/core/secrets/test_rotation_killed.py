"""`yoq-web keys rotate` as a real process, killed at random moments while a server serves."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ADMIN, MakeApp
from tests.support.door import behind
from tests.support.secret_keys import fill_secrets, read_keys, read_secrets
from tests.support.served import PROGRAM, command, environment, serve
from tests.support.tampering import make_log, verify_log

pytestmark = pytest.mark.program

SECRETS = 2000
ROUNDS = 1
"""A process takes seconds to start; each run of the test has moments of its own."""
WAIT_SECONDS = 60


def moved(url: str) -> int:
    """How many secrets are under the newest of several keys, or -1 while there is one key."""
    found = behind(
        url,
        "SELECT (SELECT count(*) FROM secret_keys) AS keys, (SELECT count(*) FROM secrets WHERE key_id = "
        "(SELECT id FROM secret_keys ORDER BY number DESC LIMIT 1)) AS moved",
    )[0]
    return found["moved"] if found["keys"] > 1 else -1


def test_a_rotation_that_is_killed_loses_nothing(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Killed with kill -9 at random moments, every secret opens; what the server was told meanwhile is there."""
    app = make_app()
    values = fill_secrets(app, SECRETS)
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN}
    interrupted = 0
    with serve(tmp_path, **settings) as program:
        for number in range(ROUNDS):
            # Not in the last half: it may be at its end before it is killed.
            until = random.randrange(max(moved(database_url), 0) + 1, SECRETS // 2)  # noqa: S311 - a moment, no secret
            process = subprocess.Popen(
                [PROGRAM, "keys", "rotate"], env=environment(tmp_path, **settings), stdout=subprocess.DEVNULL
            )
            deadline = time.monotonic() + WAIT_SECONDS
            while process.poll() is None and moved(database_url) < until:
                assert time.monotonic() < deadline
            process.kill()
            interrupted += process.wait() != 0
            name = f"s{SECRETS - 1 - number:05}"
            values[name] = f"set while killed {number}"
            assert program("POST", "/v1/secrets", json={"name": name, "value": values[name]}).status_code == 200
            assert read_secrets(app) == values
        done = command(tmp_path, "keys", "rotate", **settings)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(read_keys(database_url)) == 1
        assert read_secrets(app) == values
        assert program("GET", "/v1/secrets").status_code == 200
        outcomes = [
            row["outcome"]
            for row in behind(database_url, "SELECT outcome FROM audit_log WHERE action = 'key_rotate' ORDER BY id")
        ]
    # Killed before it said that it begins, a rotation leaves no entry; after it said how it ended, it has one.
    assert outcomes.count("started") == outcomes.count("ok") + outcomes.count("interrupted")
    assert outcomes[-1] == "ok"
    assert 0 < interrupted <= ROUNDS


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_rotation_of_the_log_key_that_is_killed(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Killed whenever, the log goes on and verifies, with the old key or the new one."""
    app = make_app()
    fill_secrets(app, 1)
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN}
    for _ in range(ROUNDS):
        process = subprocess.Popen(
            [PROGRAM, "audit", "key", "rotate"], env=environment(tmp_path, **settings), stdout=subprocess.DEVNULL
        )
        moments: list[Callable[[], bool]] = [
            (tmp_path / "log.key.next").exists,
            lambda: len(_log_keys(database_url)) > 1,
        ]
        moment, deadline = random.choice(moments), time.monotonic() + WAIT_SECONDS  # noqa: S311 - as above
        while process.poll() is None and not moment():
            assert time.monotonic() < deadline
        process.kill()
        process.wait()
        make_log(app, 1)
        assert verify_log(app)["ok"]


def _log_keys(url: str) -> list[str]:
    return [row["vkey"] for row in behind(url, "SELECT vkey FROM audit_key")]
