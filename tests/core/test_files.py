"""Files and locks: written whole or not at all, held by one, and each mechanism in one place of the source."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from flask import Flask

from yoq_web import advisory_lock, create_app, db, files
from yoq_web.database.data_dir import make_data_dir
from yoq_web.settings import SettingsError

ROOT = Path(__file__).parents[2]

ONE_OF_EACH = {
    "file locks": (r"\bfcntl\b", "yoq_web/files.py"),
    "advisory locks": (r"pg_(try_)?advisory", "yoq_web/database/locks.py"),
    "files that appear whole": (r"O_EXCL", "yoq_web/files.py"),
}


@pytest.mark.parametrize("what", ONE_OF_EACH)
def test_there_is_one_of_each(what: str) -> None:
    """What has to be right once is written once."""
    pattern, home = ONE_OF_EACH[what]
    sources = [file for folder in ("yoq_web", "plugins", "migrations") for file in (ROOT / folder).rglob("*.py")]
    assert [str(file.relative_to(ROOT)) for file in sources if re.search(pattern, file.read_text())] == [home]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """A block that raises leaves what was there, and no draft; what is there is replaced only when told so."""
    path = tmp_path / "key"
    files.create(path, b"first")

    def fail_half_way() -> None:
        with files.open_atomic(path, replace=True) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_bytes() == b"first"
    with pytest.raises(FileExistsError):
        files.create(path, b"second")
    files.replace(path, b"second")
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_comes_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Of two that make the same file, the first one wins."""
    path = tmp_path / "key"

    def come_late() -> None:
        with files.open_atomic(path, replace=False) as file:
            file.write(b"late")
            path.write_bytes(b"first")

    with pytest.raises(FileExistsError):
        come_late()
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_by_one_or_by_many(tmp_path: Path) -> None:
    """Alone or shared; who does not wait is told."""
    path = tmp_path / "lock"
    with files.lock(path) as held:
        assert held
        assert files.open_lock(path, wait=False) is None
        assert files.open_lock(path, shared=True, wait=False) is None
    with files.lock(path, shared=True), files.lock(path, shared=True, wait=False) as both:
        assert both
        assert files.open_lock(path, wait=False) is None


@pytest.mark.parametrize("backend", ["postgresql"])
def test_an_advisory_lock_is_its_names_own(app: Flask) -> None:
    """Two names never stand in each other's way; one name is held until its transaction ends."""
    with app.app_context(), db.engine.connect() as first, db.engine.connect() as second:
        assert advisory_lock(first, "retention")
        assert advisory_lock(second, "keys", wait=False)
        assert not advisory_lock(second, "retention", wait=False)
        first.rollback()
        assert advisory_lock(second, "retention", wait=False)


@contextmanager
def nobody() -> Iterator[None]:
    """This process without root's rights, as who owns nothing."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("open_mode", [0o777, 0o770, 0o702, 0o1777, 0o2775], ids=oct)
def test_a_data_directory_is_closed_to_who_may_write(
    tmp_path: Path, open_mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A start lets nobody else write to it or to a folder of it, and says so once; who may read may go on."""
    data_dir = tmp_path / "data"
    within = data_dir / "backups"
    within.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (data_dir / "link").symlink_to(tmp_path / "elsewhere")
    for folder in (data_dir, within, tmp_path / "elsewhere"):
        folder.chmod(open_mode)
    for _ in range(2):
        create_app({"TESTING": True, "YOQ_DATA_DIR": str(data_dir), "YOQ_API_TOKEN": "a" * 64})
    for folder in (data_dir, within):
        assert stat.S_IMODE(folder.stat().st_mode) == open_mode & ~0o022
        assert caplog.text.count(f"'{folder}'") == 1
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == open_mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that is somebody else's")
def test_a_data_directory_that_cannot_be_closed_is_refused() -> None:
    """One that is another user's, and open to this one, is not used; the error says what to do."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with nobody(), pytest.raises(SettingsError, match=f"chmod go-w {folder}$"):
            make_data_dir(Path(folder))
