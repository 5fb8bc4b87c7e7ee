"""The spool when the process, the disk or the power fails: at any step, nothing that counts as kept is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.operations.test_spool import drained, event, ids
from tests.support.limits import break_spool
from yoq_web.operations import spool as spool_module
from yoq_web.operations.spool import SET_ASIDE, SUSPECT, Spool
from yoq_web.operations.spool_file import FILE
from yoq_web.operations.spool_format import SpooledEvent, encode_lines


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path)


class Crash(BaseException):
    """The process is gone at this point."""


STEPS = ("open", "write", "pwrite", "fsync", "ftruncate", "replace", "link")


def crashing(monkeypatch: pytest.MonkeyPatch, at: int, action: Callable[[], object]) -> bool:
    """Do something that crashes at its call number `at` of the operating system; returns whether it came that far."""
    calls = 0
    with monkeypatch.context() as patched:

        def step(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at:
                    if name in ("write", "pwrite"):  # half of it is on disk
                        real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], *arguments[2:])
                    raise Crash
                return real(*arguments, **options)

            return call

        for name in STEPS:
            patched.setattr(os, name, step(name, getattr(os, name)))
        try:
            action()
        except Crash:
            return True
    return False


def test_a_crash_at_any_step_of_keeping_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it crashes, the lines before and after are there, in order, and the one under way is there or not."""
    for at in range(1, 50):
        folder = tmp_path / str(at)
        folder.mkdir()
        Spool(folder).keep(event("a"), ["audit"])
        crashed = crashing(monkeypatch, at, lambda: Spool(folder).keep(event("b"), ["audit"]))  # noqa: B023 - at once
        Spool(folder).keep(event("c"), ["audit"])
        assert [name for name in ids(Spool(folder)) if name != "b"] == ["a", "c"]
        assert [name for name, _, _ in drained(Spool(folder)) if name != "b"] == ["a", "c"]
        assert not (folder / SUSPECT).exists()
        if not crashed:
            break
    assert at > 3


@pytest.mark.parametrize("lines", [0, 2])
def test_a_crash_at_any_step_of_the_first_start_is_nobodys_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    """Wherever the key is made, and what an earlier version left is taken over, nothing is lost and nobody accused."""
    for at in range(1, 50):
        folder = tmp_path / str(at)
        folder.mkdir()
        left = [{"event": event(f"old{number}"), "recorders": ["audit"]} for number in range(lines)]
        (folder / FILE).write_bytes(encode_lines(left))
        crashed = crashing(monkeypatch, at, lambda: Spool(folder).open())  # noqa: B023 - at once
        Spool(folder).keep(event("new"), ["audit"])
        expected = [*(f"old{number}" for number in range(lines)), "new"]
        assert [name for name, _, _ in drained(Spool(folder))] == expected
        assert not (folder / SUSPECT).exists()
        if not crashed:
            break
    assert at > 5


@pytest.mark.parametrize("keep", [True, False])
def test_a_crash_at_any_step_of_a_replay_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    """Wherever it crashes, the next process hands over what was not taken, and perhaps again what was."""
    for at in range(1, 50):
        folder = tmp_path / str(at)
        folder.mkdir()
        first = Spool(folder)
        for name in ("a", "b"):
            first.keep(event(name), ["audit"])
        with (folder / FILE).open("ab") as file:
            file.write(b"torn")
        taken: list[str] = []

        def store(waiting: list[SpooledEvent], taken: list[str] = taken) -> list[SpooledEvent]:
            taken.append(waiting[0].event["id"])
            if not keep:
                taken.append(waiting[1].event["id"])
                return []
            return waiting[1:]

        crashed = crashing(monkeypatch, at, lambda: first.replay(store))  # noqa: B023 - at once
        first.close()
        later = [name for name, _, _ in drained(Spool(folder))]
        assert not (folder / SUSPECT).exists()
        assert later in (["a", "b"], ["b"], [])
        assert {"a", "b"} == {*taken, *later}
        assert b"torn" in (folder / SET_ASIDE).read_bytes()
        if not crashed:
            break
    assert at > 5


def test_a_disk_that_takes_nothing_is_said_and_what_is_held_is_not_forgotten(spool: Spool, tmp_path: Path) -> None:
    """What the disk does not take raises; what is held in memory is written, in order, as soon as it takes it."""
    broken = break_spool(tmp_path)
    assert _fails(lambda: spool.keep(event("a"), ["audit"]))
    assert _fails(lambda: spool.prepare(event("b"), ["audit"]))
    health = (spool.writable, spool.held)
    assert health == (False, 0)
    spool.hold(event("a"), ["audit"])
    spool.hold(event("b"), ["audit"], prepared=True)
    assert _fails(lambda: spool.resolve("b", "committed"))
    assert [spool.holds(name) for name in ("a", "b", "c")] == [True, True, False]
    assert ids(spool) == ["a", "b"]
    assert ids(Spool(tmp_path)) == []
    broken.rmdir()
    spool.keep(event("c"), ["audit"])
    assert spool.writable
    assert not spool.holds("a")
    assert ids(Spool(tmp_path)) == ["a", "b", "c"]


def test_what_is_held_while_a_replay_goes_on_is_not_forgotten(spool: Spool, tmp_path: Path) -> None:
    """A disk that takes lines again in the middle of a replay of what is held, and then none, loses no later one."""
    broken = break_spool(tmp_path)
    spool.hold(event("a"), ["audit"])

    def store(_waiting: list[SpooledEvent]) -> list[SpooledEvent]:
        broken.rmdir()
        spool.keep(event("b"), ["audit"])
        spool.hold(event("c"), ["audit"])
        return []

    assert _fails(lambda: spool.replay(store))
    assert spool.holds("c")
    assert [name for name, _, _ in drained(spool)] == ["b", "c"]


def test_a_memory_that_is_full_vouches_for_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no longer fits is not taken for something that is on disk."""
    monkeypatch.setattr(spool_module, "HELD", 2)
    for name in ("a", "b", "c"):
        spool.hold(event(name), ["audit"])
    assert (ids(spool), spool.holds("c")) == (["a", "b"], True)


def _fails(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return True
    return False


def test_a_disk_full_in_the_middle_of_a_line_keeps_the_lines_before(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that goes on the disk only in part is taken off again."""
    spool.keep(event("a"), ["audit"])
    before = (tmp_path / FILE).read_bytes()
    write = os.pwrite

    def half(handle: int, content: bytes, at: int) -> int:
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return write(handle, bytes(content)[: len(content) // 2], at)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="No space"):
        spool.keep(event("b"), ["audit"])
    assert (tmp_path / FILE).read_bytes() == before


def test_a_replay_that_cannot_shorten_the_file_hands_nothing_over_twice(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the file stays as it was; the process remembers what was taken until it can be written down."""
    spool.keep(event("a"), ["audit"])
    spool.keep(event("b"), ["audit"])

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="No space"):
            spool.replay(lambda waiting: waiting[1:])
    assert ids(spool) == ["b"]
    assert drained(spool) == [("b", "ok", "audit")]
    assert spool.empty
