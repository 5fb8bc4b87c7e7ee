"""A data directory of another user, in which root runs commands: nothing in it becomes root's."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import ADMIN, Api, MakeApp
from tests.core.operations.test_failure_policy import no_audit_log
from tests.support.backup import restore, use_postgres_programs
from tests.support.commandline import output
from tests.support.served import command, serve
from yoq_audit.sealing import sealer

SERVICE = 10001
"""The user whose the data directory is."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")


def give(folder: Path) -> None:
    """Let the data directory be the service's, with all that is in it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, SERVICE, SERVICE)


def strays(folder: Path) -> list[str]:
    """What in the data directory is not the service's."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.lstat().st_uid != SERVICE)


def test_what_commands_make(
    make_app: MakeApp, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets, keys, sealing, the spool, backups, a restore: what root is the first to make is not root's."""
    use_postgres_programs(monkeypatch)
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir(mode=0o700)
    if database_url.startswith("sqlite"):
        (tmp_path / "yoq.db").rename(folder / "yoq.db")
        database_url = f"sqlite:///{folder / 'yoq.db'}"
    give(folder)
    app = make_app(YOQ_DATA_DIR=str(folder), YOQ_DATABASE_URL=database_url)
    taken = elsewhere / "taken.age"
    output(app, "secret", "set", "a", stdin="hunter2")
    output(app, "keys", "rotate")
    output(app, "keys", "rewrap", "--to", "new-file")
    with app.app_context():
        sealer.seal()
    output(app, "audit", "key", "rotate")
    answer = Api(app)("POST", "/v1/backups", json={})
    assert answer.status_code == 201, answer.text
    with no_audit_log(database_url):
        output(app, "secret", "set", "b", stdin="hunter2")
    output(app, "secret", "set", "c", stdin="hunter2")
    app.test_cli_runner().invoke(args=["backup", "--output", str(taken)], catch_exceptions=False)
    assert taken.stat().st_uid == 0  # what root takes elsewhere is root's
    restore(app, taken)
    assert {"secrets.key", "log.key", "log.head", "spool.key", "backup.key", "backups"} <= {
        path.name for path in folder.iterdir()
    }
    assert strays(folder) == []


@pytest.mark.program
def test_a_server_of_another_user_goes_on() -> None:
    """Root's commands come before it and beside it; it seals, keeps secrets and takes backups all the same."""
    with TemporaryDirectory() as name:  # the tests' own directories are closed to other users
        Path(name).chmod(0o755)
        folder = Path(name) / "data"
        folder.mkdir(mode=0o700)
        give(folder)
        assert command(folder, "secret", "set", "a", stdin="hunter2").returncode == 0
        with serve(folder, user=str(SERVICE), YOQ_API_TOKEN=ADMIN) as program:
            assert command(folder, "secret", "set", "b", stdin="hunter2", YOQ_API_TOKEN=ADMIN).returncode == 0
            assert program("POST", "/v1/secrets", json={"name": "c", "value": "hunter2"}).status_code == 200
            assert program("POST", "/v1/backups", json={}).status_code == 201
            assert program("GET", "/health").json() == {"status": "ok"}
            assert strays(folder) == [program.log.name]  # which the test made
        assert command(folder, "audit", "verify").returncode == 0
