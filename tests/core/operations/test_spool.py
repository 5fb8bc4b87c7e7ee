"""The spool's file: what counts as kept stays kept, in order, whatever breaks and however many processes share it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from yoq_web.jsontext import dumps
from yoq_web.operations.spool import SET_ASIDE, SUSPECT, Spool
from yoq_web.operations.spool_file import FILE
from yoq_web.operations.spool_format import PROCESS, SpooledEvent
from yoq_web.operations.spool_lines import SpoolLines


def event(name: str, outcome: str = "ok") -> dict[str, Any]:
    """A document with as much of an event as the spool looks at."""
    return {"id": name, "outcome": outcome}


def ids(spool: Spool) -> list[str]:
    """What waits."""
    return list(spool.read_waiting())


def drained(spool: Spool) -> list[tuple[str, str, str]]:
    """(id, outcome, recorder) of everything that a replay hands over; all of it is taken."""
    seen: list[tuple[str, str, str]] = []

    def store(waiting: list[SpooledEvent]) -> list[SpooledEvent]:
        seen.extend((line.event["id"], line.event["outcome"], name) for line in waiting for name in line.recorders)
        return []

    spool.replay(store)
    return seen


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path)


def test_what_is_kept_outlives_the_process_in_order(spool: Spool, tmp_path: Path) -> None:
    """Events are found again by another process, the oldest first, and only their owner may read the file."""
    for name in ("a", "b", "c"):
        spool.keep(event(name), ["audit"])
    assert spool.due
    again = Spool(tmp_path)
    assert not again.empty
    assert ids(again) == ["a", "b", "c"]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert drained(again) == [("a", "ok", "audit"), ("b", "ok", "audit"), ("c", "ok", "audit")]
    assert Spool(tmp_path).empty
    assert ids(spool) == []
    assert drained(spool) == []


def test_only_recorders_that_lack_an_event_get_it_again(spool: Spool) -> None:
    """What one recorder took it does not see again; what another did not take waits for it."""
    spool.keep(event("a"), ["audit", "mirror"])
    spool.keep(event("b"), ["mirror"])
    spool.replay(lambda waiting: [SpooledEvent(line.event, ("mirror",)) for line in waiting])
    assert drained(spool) == [("a", "ok", "mirror"), ("b", "ok", "mirror")]


def test_a_torn_last_line_is_set_aside(spool: Spool, tmp_path: Path) -> None:
    """Half a line, as a power cut leaves it, swallows no other line: it is put aside and the log says so."""
    spool.keep(event("a"), ["audit"])
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"event":{"id":"to')
    again = Spool(tmp_path)
    again.keep(event("b"), ["audit"])
    with capture_logs() as logs:
        assert drained(again) == [("a", "ok", "audit"), ("b", "ok", "audit")]
    assert again.empty
    assert (tmp_path / SET_ASIDE).read_bytes() == b'{"event":{"id":"to\n'
    assert [(line["event"], line["lines"]) for line in logs] == [("lines of the spool are set aside", 1)]


TORN = [b"{", b"null", b"[]", b'"text"', b"\x00\x00\x00\x00", b"\xff\xfe", b"[" * 100_000]
UNUSABLE = [
    b"{}",
    b'{"event":null}',
    b'{"event":{},"recorders":[]}',
    b'{"event":{"id":1},"recorders":["audit"]}',
    b'{"event":{"id":"x"},"recorders":[1]}',
    b'{"event":{"id":"x"},"recorders":[]}',
    b'{"event":{"id":"x"}}',
    b'{"event":{"id":"x"},"recorders":["audit"],"prepared":"soon","pid":1}',
    b'{"event":{"id":"x"},"recorders":["audit"],"prepared":1}',
    b'{"settles":"x"}',
]


@pytest.mark.parametrize("nonsense", TORN + UNUSABLE)
def test_nonsense_harms_no_other_line(spool: Spool, tmp_path: Path, nonsense: bytes) -> None:
    """Whatever a line holds, those around it are handed over, and it is kept aside: as torn, or as somebody's."""
    spool.keep(event("a"), ["audit"])
    with (tmp_path / FILE).open("ab") as file:
        file.write(nonsense + b"\n")
    spool.keep(event("b"), ["audit"])
    assert ids(spool) == ["a", "b"]
    assert [found[0] for found in drained(spool)] == ["a", "b"]
    if nonsense in TORN:
        assert (tmp_path / SET_ASIDE).read_bytes() == nonsense + b"\n"
    else:
        assert json.loads((tmp_path / SUSPECT).read_text())["line"] == nonsense.decode()
    assert (spool.empty, spool.suspect) == (True, nonsense in UNUSABLE)


@pytest.mark.parametrize("nonsense", TORN + UNUSABLE)
def test_nonsense_of_an_earlier_version_harms_no_other_line(tmp_path: Path, nonsense: bytes) -> None:
    """What was written before lines were signed is taken, but for what nobody can use, which is set aside."""
    lines = [dumps({"event": event(name), "recorders": ["audit"]}).encode() for name in ("a", "b")]
    (tmp_path / FILE).write_bytes(b"\n".join([lines[0], nonsense, lines[1], b""]))
    spool = Spool(tmp_path)
    assert ids(spool) == ["a", "b"]
    with capture_logs() as logs:
        assert [found[0] for found in drained(spool)] == ["a", "b"]
    assert logs[0]["event"] == "the spool of an earlier version is taken as it is"
    assert (tmp_path / SET_ASIDE).read_bytes().startswith(nonsense.removesuffix(b"}"))
    assert (spool.empty, spool.suspect, list(tmp_path.glob(SUSPECT))) == (True, 0, [])


def test_a_settled_change_is_what_it_was_settled_as(spool: Spool) -> None:
    """A prepared event counts once it is committed, is gone once it is rolled back, and yields to its failure."""
    for name in ("committed", "back", "failed"):
        spool.prepare(event(name), ["audit"])
    assert ids(spool) == []
    assert drained(spool) == []
    spool.resolve("committed", "committed")
    spool.resolve("back", "rolled back")
    spool.keep(event("failed", "failed"), ["audit", "mirror"])
    spool.resolve("failed", "rolled back")
    assert drained(spool) == [
        ("committed", "ok", "audit"),
        ("failed", "failed", "audit"),
        ("failed", "failed", "mirror"),
    ]
    assert spool.empty


def test_a_settlement_after_a_replay_still_counts(spool: Spool) -> None:
    """A replay in the middle of an operation leaves its prepared event where its settlement finds it."""
    spool.prepare(event("slow"), ["audit"])
    spool.keep(event("other"), ["audit"])
    assert drained(spool) == [("other", "ok", "audit")]
    spool.resolve("slow", "committed")
    assert drained(spool) == [("slow", "ok", "audit")]


def lines_of(tmp_path: Path, **changed: object) -> None:
    """Have one prepared line in the spool, with some of its members changed."""
    line = {"event": event("x"), "recorders": ["audit"], "prepared": time.time(), "pid": os.getpid()}
    lines = SpoolLines(tmp_path)
    lines.rewrite([line | {"process": PROCESS} | changed], lines.examine())


def test_what_a_dead_process_left_open_was_interrupted(spool: Spool, tmp_path: Path) -> None:
    """Nobody knows how the change of a dead process ended: neither `ok` nor `failed` is claimed."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for changed in (
        {"pid": int(ended.stdout)},  # no such process any more
        {"process": "another"},  # this process's id was another's, as in a container that was started again
        {"prepared": time.time() - 301, "pid": 1},  # somebody with that id lives, but not this long at one commit
        {"pid": 2**70},
    ):
        lines_of(tmp_path, **changed)
        assert drained(spool) == [("x", "interrupted", "audit")], changed
    lines_of(tmp_path, pid=1)
    assert drained(spool) == []
    assert not spool.empty


def test_what_comes_during_a_replay_is_not_lost(spool: Spool, tmp_path: Path) -> None:
    """Others go on spooling while one replays, even where it keeps some lines; and only one replays at a time."""
    spool.keep(event("a"), ["audit"])
    spool.keep(event("b"), ["audit"])
    other = Spool(tmp_path)

    def store(waiting: list[SpooledEvent]) -> list[SpooledEvent]:
        other.keep(event("c"), ["audit"])
        assert drained(other) == []
        return waiting[1:]

    spool.replay(store)
    assert ids(spool) == ["b", "c"]


def test_a_failing_replay_changes_nothing(spool: Spool, tmp_path: Path) -> None:
    """Where nothing is taken the file stays as it is, to the byte."""
    spool.keep(event("a"), ["audit"])
    before = (tmp_path / FILE).read_bytes(), (tmp_path / FILE).stat().st_ino
    spool.replay(lambda waiting: waiting)
    assert ((tmp_path / FILE).read_bytes(), (tmp_path / FILE).stat().st_ino) == before


WRITER = """
import sys
from pathlib import Path
from yoq_web.operations.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(100):
    name = f"{sys.argv[2]}-{number}"
    if number % 2:
        spool.keep({"id": name, "outcome": "ok"}, ["audit"])
    else:
        spool.prepare({"id": name, "outcome": "ok"}, ["audit"])
        spool.resolve(name, "committed")
"""


def test_several_processes_share_it(spool: Spool, tmp_path: Path) -> None:
    """Lines of many writers neither mix nor get lost while another process replays; each writer's keep their order."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in ("one", "two", "three")
    ]
    seen: list[tuple[str, str, str]] = []
    while any(writer.poll() is None for writer in writers):
        seen += drained(spool)
    seen += drained(spool)
    assert {writer.returncode for writer in writers} == {0}
    assert len(seen) == len(set(seen)) == 300
    assert spool.suspect == 0
    assert {outcome for _, outcome, _ in seen} == {"ok"}
    for name in ("one", "two", "three"):
        odd = [found for found, _, _ in seen if found.startswith(f"{name}-") and int(found.split("-")[1]) % 2]
        assert odd == [f"{name}-{number}" for number in range(1, 100, 2)]
