"""The spool at an end: of descriptors, of the disk. Taken into use before, it takes records all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.operations.test_spool import drained, event, ids
from tests.support.limits import fill, no_descriptors, small_disk
from yoq_web.operations import spool_file
from yoq_web.operations.spool import Spool
from yoq_web.operations.spool_file import FILE, LOCK, ROOM


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool that was taken into use."""
    made = Spool(tmp_path)
    made.open()
    yield made
    made.close()


def allocated(folder: Path) -> int:
    """Bytes of the disk that the file has, whatever it holds."""
    return (folder / FILE).stat().st_blocks * 512


def takes_more(spool: Spool) -> bool:
    """Whether the spool says that it can be written."""
    return spool.writable


def test_it_needs_no_descriptor(spool: Spool, tmp_path: Path) -> None:
    """Where no file can be opened records are kept, settled, found and handed over once there is one again."""
    with no_descriptors():
        spool.keep(event("a"), ["audit"])
        spool.prepare(event("b"), ["audit"])
        spool.resolve("b", "committed")
        assert takes_more(spool)
    assert ids(Spool(tmp_path)) == ["a", "b"]
    assert [name for name, _, _ in drained(spool)] == ["a", "b"]
    assert (spool.empty, Spool(tmp_path).empty) == (True, True)


def test_room_is_set_aside_from_the_start_and_again(spool: Spool, tmp_path: Path) -> None:
    """The file has its room while it is empty, holds lines, and is emptied; what is read of it is only the lines."""
    if spool_file._fallocate is None:
        pytest.skip("this system sets no room aside")
    for number in range(3):
        assert allocated(tmp_path) >= ROOM
        assert (tmp_path / FILE).stat().st_size == 0
        spool.keep(event(f"a{number}"), ["audit"])
        assert allocated(tmp_path) >= ROOM
        assert (tmp_path / FILE).read_bytes().count(b"\n") == 1
        assert len(drained(spool)) == 1


def test_a_full_disk_takes_records(tmp_path: Path) -> None:
    """With the disk filled to the last byte hundreds of records are kept; what is prepared can be settled, always."""
    with small_disk(tmp_path / "disk", "4m") as folder:
        spool = Spool(folder)
        spool.open()
        filler = fill(folder)
        kept: list[str] = []

        def prepare_without_end() -> None:
            for number in range(100_000):
                spool.prepare(event(f"n{number}") | {"details": "x" * 500}, ["audit"])
                kept.append(f"n{number}")

        with pytest.raises(OSError, match="No space left"):
            prepare_without_end()
        assert len(kept) > 1000
        assert not takes_more(spool)
        for name in kept[-300:]:
            spool.resolve(name, "committed")
        assert ids(Spool(folder)) == kept[-300:]
        filler.unlink()
        spool.recover()
        assert takes_more(spool)
        assert [name for name, _, _ in drained(spool)] == kept[-300:]
        spool.close()


def test_a_start_on_a_full_disk_is_said(tmp_path: Path) -> None:
    """Where there is no room from the start the spool says that it cannot be written, until there is."""
    with small_disk(tmp_path / "disk", "4m") as folder:
        filler = fill(folder)
        spool = Spool(folder)
        spool.open()
        assert not takes_more(spool)
        filler.unlink()
        spool.recover()
        assert takes_more(spool)
        spool.close()


def test_where_no_room_can_be_set_aside_it_goes_on_without(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system, or a system, that does not know how is no hindrance."""
    monkeypatch.setattr(spool_file, "_fallocate", None)
    spool.keep(event("a"), ["audit"])
    assert [name for name, _, _ in drained(spool)] == ["a"]
    assert takes_more(spool)


@pytest.mark.parametrize("name", [FILE, LOCK])
def test_a_file_that_was_moved_away_is_noticed(spool: Spool, tmp_path: Path, name: str) -> None:
    """What is kept is in the file that bears the name, and under the lock that others take."""
    spool.keep(event("a"), ["audit"])
    (tmp_path / name).rename(tmp_path / "away")
    other = Spool(tmp_path)
    other.keep(event("b"), ["audit"])
    spool.keep(event("c"), ["audit"])
    other.keep(event("d"), ["audit"])
    assert ids(Spool(tmp_path))[-3:] == ["b", "c", "d"]
    assert ids(spool) == ids(other) == ids(Spool(tmp_path))


FORKING = """
import os, sys
from pathlib import Path
from yoq_web.operations.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.keep({"id": "before", "outcome": "ok"}, ["audit"])
me = "parent"
for name in ("one", "two", "three"):
    if me == "parent" and os.fork() == 0:
        me = name
for number in range(50):
    spool.keep({"id": f"{me}-{number}", "outcome": "ok"}, ["audit"])
if me == "parent":
    sys.exit(any(os.wait()[1] for _ in range(3)))
"""


def test_forked_processes_do_not_share_the_lock(tmp_path: Path) -> None:
    """A process that forks, as servers do, and its children keep each other out: no line is lost or torn."""
    subprocess.run([sys.executable, "-c", FORKING, tmp_path], check=True)
    assert len(set(ids(Spool(tmp_path)))) == (tmp_path / FILE).read_bytes().count(b"\n")
    assert len(drained(Spool(tmp_path))) == 1 + 4 * 50
    assert Spool(tmp_path).suspect == 0
