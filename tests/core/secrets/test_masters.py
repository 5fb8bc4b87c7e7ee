"""Master keys: a file, the environment or a plugin, how to change from one to another, and databases of before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from alembic import command as alembic
from alembic.util import CommandError
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask
from sqlalchemy import text

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output
from tests.support.door import acting, behind
from tests.support.faults import Injected
from tests.support.secret_keys import fill_secrets, read_keys, read_secrets
from yoq_web import db, files, hookimpl
from yoq_web.database.migrations import find_lineage, make_configuration, upgrade
from yoq_web.database.rights import allow_commits
from yoq_web.secrets.keys import masters, rotation
from yoq_web.secrets.keys.encryption import compute_key_id
from yoq_web.secrets.operations import get_secret, set_secret
from yoq_web.settings import Settings, current_settings

MASTER = "5ec7e7" + "ab" * 29
OTHER = "5ec7e8" + "cd" * 29


class Kms:
    """A plugin that keeps a master key, and counts how often it is asked. `broken` it raises."""

    name = "kms"

    def __init__(self) -> None:
        self.broken = False
        self.asked = 0

    @hookimpl
    def yoq_wrap_key(self, key: bytes) -> bytes:
        """Wrap."""
        return self._turn(key)

    @hookimpl
    def yoq_unwrap_key(self, wrapped: bytes) -> bytes:
        """Unwrap."""
        return self._turn(wrapped)

    def _turn(self, content: bytes) -> bytes:
        self.asked += 1
        if self.broken:
            raise RuntimeError(content)
        return bytes(byte ^ 0x55 for byte in content)


def test_a_key_of_the_environment(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With YOQ_MASTER_KEY no key file is made; without it, or with another, nothing opens and nothing is changed."""
    values = fill_secrets(make_app(YOQ_MASTER_KEY=MASTER), 2)
    assert not (tmp_path / "secrets.key").exists()
    before = read_keys(database_url)
    for settings in ({}, {"YOQ_MASTER_KEY": OTHER}):
        for arguments in (("secret", "get", "s00001"), ("secret", "set", "n", "--value", "v"), ("keys", "rotate")):
            said = failure(make_app(**settings), *arguments)
            assert before[0]["master"] in said
            assert "nothing was changed" in said
    assert read_keys(database_url) == before
    assert not (tmp_path / "secrets.key").exists()
    assert read_secrets(make_app(YOQ_MASTER_KEY=MASTER)) == values


def test_the_key_of_the_environment_is_shown_nowhere(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the settings, nor an answer, an entry, a metric or a log line has it."""
    app = make_app(YOQ_MASTER_KEY=MASTER)
    api = Api(app)
    api("POST", "/v1/secrets", json={"name": "db", "value": "v"})
    output(app, "keys", "rotate")
    shown = [api("GET", path).text for path in ("/v1/audit", "/health", "/metrics", "/openapi.json")]
    shown += [repr(current_settings(app)), repr(masters.Wrapper("x", bytes.fromhex(MASTER))), caplog.text]
    assert all(MASTER not in one and str(bytes.fromhex(MASTER)) not in one for one in shown)
    with pytest.raises(Exception, match="64 lower-case") as caught:
        Settings.load({"YOQ_MASTER_KEY": MASTER.upper()})
    assert MASTER[:6].upper() not in str(caught.value)


def test_from_the_file_to_the_environment_and_back(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With both keys present `keys rewrap` moves the data keys to the other, and then the old one is not needed."""
    values = fill_secrets(make_app(), 2)
    file = tmp_path / "secrets.key"
    output(make_app(YOQ_MASTER_KEY=MASTER), "keys", "rewrap")
    file.unlink()
    assert read_keys(database_url)[0]["master"] == compute_key_id(bytes.fromhex(MASTER))
    assert read_secrets(make_app(YOQ_MASTER_KEY=MASTER)) == values
    output(make_app(YOQ_MASTER_KEY=MASTER), "keys", "rewrap", "--to", "file")
    assert read_secrets(make_app()) == values
    assert read_keys(database_url)[0]["master"] == compute_key_id(file.read_bytes())
    entry = Api(make_app()).entries(1)[0]
    assert (entry["action"], entry["outcome"], entry["details"]["after"]) == (
        "key_rewrap",
        "ok",
        compute_key_id(file.read_bytes()),
    )


def test_to_a_new_file(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """A new file takes the place of the old one, which is kept under its id; both are private."""
    values = fill_secrets(make_app(), 2)
    old = (tmp_path / "secrets.key").read_bytes()
    output(make_app(), "keys", "rewrap", "--to", "new-file")
    new = (tmp_path / "secrets.key").read_bytes()
    kept = tmp_path / f"secrets.key.{compute_key_id(old)}"
    assert new != old == kept.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in (kept, tmp_path / "secrets.key")} == {0o600}
    kept.unlink()
    assert read_secrets(make_app()) == values
    assert sorted(path.name for path in tmp_path.glob("secrets.key*")) == ["secrets.key"]


@pytest.mark.parametrize("step", ["replace", "promote", "commit"])
def test_a_new_file_after_a_crash(
    make_app: MakeApp, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever wrapping with a new file is cut off, everything opens afterwards, and the next change puts it right."""
    values = fill_secrets(make_app(), 2)
    app = make_app()

    def fail(*_arguments: object) -> None:
        raise Injected(step)

    with monkeypatch.context() as patch:
        if step == "commit":
            patch.setattr(masters.Wrapper, "wrap", fail)
        else:
            patch.setattr(*{"replace": (files, "replace"), "promote": (masters, "promote")}[step], fail)
        with acting(app), pytest.raises(Injected):
            rotation.rewrap_keys("new-file")
    assert read_secrets(make_app()) == values
    with acting(make_app()):
        rotation.rotate_keys()
    assert read_secrets(make_app()) == values
    master = read_keys(database_url)[0]["master"]
    assert compute_key_id((tmp_path / "secrets.key").read_bytes()) == master


def test_a_kms(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """A plugin's master key: adopted by `keys rewrap`, asked seldom, and nothing takes its place while it is broken."""
    kms = Kms()
    values = fill_secrets(make_app(), 3)
    app = make_app(kms)
    output(app, "keys", "rewrap", "--to", "plugin")
    (tmp_path / "secrets.key").unlink()
    assert read_keys(database_url)[0]["master"] == "plugin:kms"
    assert read_secrets(app) == values
    kms.asked = 0
    with acting(app):
        for _ in range(5):
            set_secret("s00001", "again")
            assert get_secret("s00001") == "again"
    assert kms.asked <= 1
    output(app, "keys", "rotate")
    assert read_secrets(app) == values | {"s00001": "again"}
    before = read_keys(database_url)
    kms.broken = True
    for arguments in (("keys", "rotate"), ("keys", "rewrap"), ("secret", "get", "s00002")):
        assert "the master key cannot be used" in failure(make_app(kms), *arguments)
    assert failure(make_app(), "secret", "get", "s00002").startswith("the secrets key is missing\nthe plugin kms ")
    assert read_keys(database_url) == before
    assert not (tmp_path / "secrets.key").exists()
    kms.broken = False
    output(make_app(kms), "keys", "rewrap", "--to", "file")
    assert read_secrets(make_app()) == values | {"s00001": "again"}


def test_a_place_that_is_not_there(app: Flask) -> None:
    """To wrap with what is not there fails in words."""
    fill_secrets(app, 1)
    assert failure(app, "keys", "rewrap", "--to", "plugin").startswith("no plugin wraps keys")
    assert failure(app, "keys", "rewrap", "--to", "environment").startswith("there is no master key in the environment")


def legacy(app: Flask, url: str, folder: Path) -> bytes:
    """Take the core back to its first revision and store secrets as that version did; returns the file's content."""
    key = os.urandom(32)
    (folder / "secrets.key").write_bytes(key)
    (folder / "secrets.key").chmod(0o600)
    with app.app_context():
        alembic.downgrade(make_configuration(find_lineage("core")), "core001")
        with allow_commits(), db.engine.begin() as connection:
            mark = "?" if url.startswith("sqlite") else "%s"
            for number in range(3):
                name, nonce = f"old{number}", os.urandom(12)
                sealed = AESGCM(key).encrypt(nonce, f"value {number}".encode(), b"yoq-web secret\0" + name.encode())
                marks = ", ".join([mark] * 6)
                row = (name, compute_key_id(key), nonce, sealed, 1, 1)
                connection.exec_driver_sql(f"INSERT INTO secrets VALUES ({marks})", row)
        db.engine.dispose()
    return key


def test_an_older_database_is_adopted(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """Secrets of the first version open after the upgrade, with their file only, and a rotation parts the keys."""
    app = make_app()
    key = legacy(app, database_url, tmp_path)
    with app.app_context():
        upgrade()
    values = {f"old{number}": f"value {number}" for number in range(3)}
    (tmp_path / "secrets.key").write_bytes(b"x" * 32)
    assert compute_key_id(key) in failure(make_app(), "secret", "get", "old1")
    assert failure(make_app(), "secret", "set", "old1", "--value", "v").startswith("wrong key")
    (tmp_path / "secrets.key").write_bytes(key)
    assert output(make_app(), "secret", "get", "old1") == "value 1\n"
    assert read_keys(database_url)[0]["wrapped"] is not None
    # What was only adopted can go back to the older version and up again.
    with app.app_context():
        alembic.downgrade(make_configuration(find_lineage("core")), "core001")
        upgrade()
    assert read_secrets(make_app()) == values
    output(make_app(), "keys", "rotate")
    assert read_secrets(make_app()) == values
    with app.app_context(), pytest.raises(CommandError, match="the older version cannot read 3 of the secrets"):
        alembic.downgrade(make_configuration(find_lineage("core")), "core001")
    assert behind(database_url, "SELECT count(*) AS n FROM secrets")[0]["n"] == 3


def test_a_key_in_use_cannot_be_removed(app: Flask, database_url: str) -> None:
    """The database itself refuses to lose a data key that a secret needs."""
    fill_secrets(app, 1)
    with app.app_context(), db.engine.connect() as connection, pytest.raises(Exception, match=r"(?i)foreign key"):
        connection.execute(text("DELETE FROM secret_keys"))
