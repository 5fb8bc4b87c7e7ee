"""`keys rotate`: every secret under a new key, while others read and write, whatever fails in between."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.commandline import failure, output, run
from tests.support.door import acting, behind
from tests.support.faults import Injected, failing_at
from tests.support.secret_keys import fill_secrets, read_keys, read_secrets
from yoq_web import Problem
from yoq_web.secrets.keys import rotation
from yoq_web.secrets.keys.masters import unwrap_key
from yoq_web.secrets.models import SecretKey
from yoq_web.secrets.operations import get_secret, rotate_secret, set_secret


def rotate(app: Flask) -> rotation.Rotation:
    """Rotate as the administrator."""
    with acting(app):
        return rotation.rotate_keys()


def test_everything_is_under_the_new_key(app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value changes, the old key is gone, and the trail has one entry that says so, without any key."""
    monkeypatch.setattr(rotation, "BATCH", 10)
    values = fill_secrets(app, 35)
    (before,) = read_keys(database_url)
    told: list[tuple[int, int]] = []
    with acting(app):
        done = rotation.rotate_keys(lambda count, of: told.append((count, of)))
    (after,) = read_keys(database_url)
    assert (done.key, done.secrets, done.dropped, done.unreadable) == (after["id"], 35, [before["id"]], [])
    assert after["id"] != before["id"]
    assert [count for count, _ in told] == sorted(count for count, _ in told)
    assert told[-1] == (35, 35)
    assert {row["key_id"] for row in behind(database_url, "SELECT key_id FROM secrets")} == {after["id"]}
    assert read_secrets(app) == values
    entry = Api(app).entries(1)[0]
    assert (entry["action"], entry["outcome"]) == ("key_rotate", "ok")
    assert entry["details"] == {"key": after["id"], "dropped": [before["id"]], "secrets": 35, "unreadable": 0}


def test_other_processes_notice_by_themselves(make_app: MakeApp, database_url: str) -> None:
    """Processes that had the old key read what is under the new one, and write under it, without a restart."""
    here, there = make_app(), make_app()
    fill_secrets(here, 3)
    with acting(there):
        assert get_secret("s00001") == "value 1"
        set_secret("s00002", "changed")
    rotate(here)
    with acting(there):
        assert get_secret("s00001") == "value 1"
        set_secret("new", "v")
        rotate_secret("s00002")
        assert get_secret("s00002") == "changed"
    (key,) = read_keys(database_url)
    assert {row["key_id"] for row in behind(database_url, "SELECT key_id FROM secrets")} == {key["id"]}


def test_nothing_written_meanwhile_is_lost(
    make_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While keys are rotated again and again, other processes set and read secrets: each finds what it set last."""
    monkeypatch.setattr(rotation, "BATCH", 3)
    here = make_app()
    fill_secrets(here, 10)
    stop = threading.Event()
    errors: list[BaseException] = []
    last: dict[str, str] = {}

    def work(app: Flask, own: list[str]) -> None:
        number = 0
        try:
            while not stop.is_set():
                name, number = own[number % len(own)], number + 1
                with acting(app):
                    set_secret(name, f"{name} {number}")
                    last[name] = f"{name} {number}"
                    assert get_secret(name) == last[name]
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    mine = [["s00001", "s00004", "a"], ["s00002", "s00009", "z"]]
    threads = [threading.Thread(target=work, args=(make_app(), names)) for names in mine]
    for thread in threads:
        thread.start()
    for _ in range(6):
        rotate(here)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    rotate(here)
    assert len(read_keys(database_url)) == 1
    assert {name: value for name, value in read_secrets(here).items() if name in last} == last
    # On a busy machine one of them may not come to its third name.
    assert len(read_secrets(here)) == 10 + len({"a", "z"} & last.keys())


def test_two_rotations_at_once_help_each_other(make_app: MakeApp, database_url: str) -> None:
    """Both end, one key is left, and every secret opens."""
    apps = [make_app(), make_app()]
    values = fill_secrets(apps[0], 300)
    errors: list[BaseException] = []

    def work(app: Flask) -> None:
        try:
            rotate(app)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(read_keys(database_url)) == 1
    assert read_secrets(apps[0]) == values


def test_a_fault_at_any_statement_loses_nothing(app: Flask, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever statement fails, every secret still opens, and the next rotation finishes what was begun."""
    monkeypatch.setattr(rotation, "BATCH", 2)
    values = fill_secrets(app, 5)
    resumed = False
    for number in range(1, 200):
        with failing_at(app, number) as executed:
            try:
                done = rotate(app)
            except Injected:
                done = None
        assert read_secrets(app) == values
        if len(executed) < number:
            break
        pending = len(read_keys(database_url)) > 1
        if done is None and pending:
            done = rotate(app)
            assert done.resumed
            resumed = True
            assert len(read_keys(database_url)) == 1
    else:
        pytest.fail("rotating never ended")
    assert resumed
    assert len(read_keys(database_url)) == 1


def test_a_secret_that_does_not_open_is_left_alone(app: Flask, database_url: str) -> None:
    """It is named, it keeps its key, the others go on, and the next rotation is a rotation all the same."""
    fill_secrets(app, 4)
    (first,) = read_keys(database_url)
    other = "(SELECT nonce FROM secrets WHERE name = 's00001') AS o"
    behind(database_url, f"UPDATE secrets SET nonce = o.nonce FROM {other} WHERE name = 's00002'")
    done = run(app, "keys", "rotate")
    assert done.exit_code == 1
    assert "left as they are, with their key: s00002" in done.stderr
    assert "3 secrets encrypted" in done.stdout
    assert read_keys(database_url)[0]["id"] == first["id"]
    assert rotate(app).secrets == 3
    with acting(app):
        set_secret("s00002", "again")
    done = run(app, "keys", "rotate")
    assert (done.exit_code, done.stderr) == (0, "")
    assert len(read_keys(database_url)) == 1


def test_a_moved_row_does_not_open_under_another_name(app: Flask, database_url: str) -> None:
    """A row given another name fails to decrypt, before and after a rotation."""
    fill_secrets(app, 2)
    behind(database_url, "UPDATE secrets SET name = 'moved' WHERE name = 's00001'")
    assert rotate(app).unreadable == ["moved"]
    with acting(app), pytest.raises(Problem, match="cannot be decrypted"):
        get_secret("moved")


def test_a_wrong_master_key_rotates_nothing(make_app: MakeApp, database_url: str, tmp_path: Path) -> None:
    """With another or no master key the rotation fails before it makes a key."""
    values = fill_secrets(make_app(), 3)
    before = read_keys(database_url)
    key = (tmp_path / "secrets.key").read_bytes()
    for content in (b"x" * 32, None):
        (tmp_path / "secrets.key").unlink()
        if content:
            (tmp_path / "secrets.key").write_bytes(content)
            (tmp_path / "secrets.key").chmod(0o600)
        said = failure(make_app(), "keys", "rotate")
        assert before[0]["master"] in said
        assert "nothing was changed" in said
        assert read_keys(database_url) == before
        assert (tmp_path / "secrets.key").exists() == (content is not None)
        (tmp_path / "secrets.key").write_bytes(key)
        (tmp_path / "secrets.key").chmod(0o600)
    assert read_secrets(make_app()) == values


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_keys_are_listed(app: Flask) -> None:
    """`keys list` shows each data key with its master key and how many secrets need it."""
    fill_secrets(app, 2)
    assert output(app, "keys", "list").splitlines()[1].split()[-1] == "2"
    assert '"secrets":2' in output(app, "keys", "list", "--json")


@pytest.mark.parametrize("backend", ["postgresql"])  # on SQLite one thread at a time writes
def test_a_key_is_known_when_it_can_be_used(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread stores a secret at the moment at which a process unwraps its first key."""
    with acting(make_app()):
        set_secret("first", "v")
    app, others = make_app(), []

    def store_another() -> None:
        with acting(app):
            set_secret("another", "w")
        others.append("stored")

    def slow(row: SecretKey) -> bytes:
        if not others:
            others.append("begun")
            thread = threading.Thread(target=store_another)
            thread.start()
            thread.join(30)
        return unwrap_key(row)

    monkeypatch.setattr("yoq_web.secrets.keys.keyring.unwrap_key", slow)
    with acting(app):
        set_secret("first", "again")
    assert others == ["begun", "stored"]
    assert read_secrets(app) == {"first": "again", "another": "w"}
