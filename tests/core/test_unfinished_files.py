"""What a killed process leaves unfinished: nothing where files can be without a name, else it is removed at a start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import MakeApp
from tests.support.commandline import output
from yoq_web import files
from yoq_web.database.data_dir import remove_unfinished
from yoq_web.settings import current_settings

AT_WORK = """
import os, sys
from pathlib import Path
from yoq_web import files
if sys.argv[3] == "named":
    del os.O_TMPFILE
path = Path(sys.argv[1])
work = files.open_atomic(path, replace=True) if sys.argv[2] == "file" else files.make_draft_folder(path.parent, "work")
with work as made:
    if sys.argv[2] == "file":
        made.write(b"half")
        made.flush()
    else:
        (made / "copy.db").write_bytes(b"half")
    print("at work", flush=True)
    sys.stdin.read()
"""


@contextmanager
def at_work(path: Path, kind: str, named: str = "named") -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of writing a file, or of filling a work folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(path), kind, named],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "at work\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def unfinished(folder: Path) -> list[str]:
    """What lies about, below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if files.DRAFT.fullmatch(path.name))


def has_files_without_names(folder: Path) -> bool:
    """Whether the file system of a folder has them."""
    try:
        os.close(os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600))
    except OSError:
        return False
    return True


def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    """Wherever the file was to go, nothing of it is left by kill -9, and what was there before is."""
    if not has_files_without_names(tmp_path):
        pytest.skip("this file system has no files without a name")
    path = tmp_path / "archive.tar"
    path.write_bytes(b"earlier")
    with at_work(path, "file", "unnamed") as process:
        assert list(tmp_path.iterdir()) == [path]
        process.kill()
    assert [(found, found.read_bytes()) for found in tmp_path.iterdir()] == [(path, b"earlier")]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_start_removes_what_the_dead_left_and_nothing_else(make_app: MakeApp, tmp_path: Path, kind: str) -> None:
    """A command that acts removes them in the data directory and its folders; of the living it removes nothing."""
    app = make_app()
    (tmp_path / "backups").mkdir()
    (tmp_path / ".yoq-work-0badcafe").mkdir()  # of an earlier version, which locked nothing
    (tmp_path / ".log.key.next.0badcafe").write_bytes(b"half of a key")
    kept = [tmp_path / ".hidden", tmp_path / "log.key.next", tmp_path / "x.0badcafe"]
    for path in kept:
        path.write_bytes(b"of somebody")
    with at_work(tmp_path / "backups" / "b", kind), at_work(tmp_path / "dead", kind) as process:
        process.kill()
        process.wait()
        assert len(unfinished(tmp_path)) == 4
        remove_unfinished(current_settings(app))
        [living] = unfinished(tmp_path)
        assert living.startswith("backups/")
    assert unfinished(tmp_path) == [living]
    output(app, "policy", "list")
    assert unfinished(tmp_path) == []
    assert all(path.exists() for path in kept)


def test_a_name_that_was_removed_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes between the making of a draft and its locking spoils nothing."""
    monkeypatch.delattr(os, "O_TMPFILE")
    lock = files.lock_handle
    removed: list[str] = []

    def come_between(handle: int, *, shared: bool = False, wait: bool = True) -> bool:
        if wait and not removed:
            removed.extend(unfinished(tmp_path))
            files.remove_drafts(tmp_path)
        return lock(handle, shared=shared, wait=wait)

    monkeypatch.setattr(files, "lock_handle", come_between)
    files.replace(tmp_path / "a", b"whole")
    assert removed
    removed.clear()
    with files.make_draft_folder(tmp_path, "work") as folder:
        (folder / "copy").write_bytes(b"whole")
    assert removed
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("replace", [True, False])
def test_without_files_that_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    """Where the system has none the promises are the same: whole, private, and nothing left by a block that raises."""
    monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "key"
    with suppress(ZeroDivisionError), files.open_atomic(path, replace=replace) as file:
        raise ZeroDivisionError
    assert file.closed
    assert list(tmp_path.iterdir()) == []
    with files.open_atomic(path, replace=replace) as file:
        file.write(b"whole")
        assert unfinished(tmp_path)
    assert (path.read_bytes(), path.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (b"whole", 0o600, [path])
