"""Spool: events that the recorders could not store, kept in the data directory until they can.

Each is synced to disk before it counts. The event of a change that is about to commit is *prepared* first and
*resolved* afterwards, so that what a crash between the two leaves is known for what it is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.app_local import AppLocal
from yoq_web.operations.mac import MacKey
from yoq_web.operations.spool_chain import Finding
from yoq_web.operations.spool_file import SPARE
from yoq_web.operations.spool_format import (
    Resolution,
    SpooledEvent,
    encode_lines,
    find_subject,
    list_pairs,
    read_lines,
)
from yoq_web.operations.spool_lines import SpoolLines
from yoq_web.settings import current_settings

log = get_logger("yoq_web")

SET_ASIDE = "spool.torn"
SUSPECT = "spool.suspect"
REPLAY_LOCK = "spool.replay.lock"

HELD = 10_000
"""So many lines are held in memory while the disk takes none."""

SHOWN = 1024 * 1024
"""Bytes of what is suspect that are looked through to count it."""


class Spool:
    """The spool of one data directory, shared by all processes that use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = SpoolLines(folder)
        self._lock = threading.Lock()
        self._held: list[dict[str, Any]] = []
        self._held_lock = threading.Lock()
        self._taken: set[tuple[str, str]] = set()
        self._reported: dict[Finding, bool] = {}
        self.due = False
        """Whether this process spooled something since it last replayed."""
        self.writable = True
        """Whether the last line that was to be written is on disk, and there is room for another one."""

    def open(self) -> None:
        """Take the spool into use: its files are open from now on, and room is set aside. What fails is logged."""
        try:
            self._lines.open()
        except OSError as error:
            if self.writable:
                log.error("the spool cannot be written", error=str(error))  # noqa: TRY400 - its text says all
            self.writable = False
        else:
            self.writable = not self._held

    def load_key(self) -> MacKey:
        """Return the key that the spool is signed with. Raises OSError."""
        return self._lines.load_key()

    def report(self, finding: Finding) -> None:
        """Say that somebody edited what is signed with the key, and set it aside. Raises OSError."""
        self._report([finding])
        del self._reported[finding]

    def recover(self) -> None:
        """Look whether what could not be written can be by now."""
        if not self.writable:
            self.open()

    def close(self) -> None:
        """Let go of the files; whatever is done next opens them again."""
        self._lines.close()

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all to do."""
        return not self._held and self._lines.empty

    @property
    def suspect(self) -> int:
        """How many things a person should look at, because somebody without the key edited the spool."""
        try:
            return (self._folder / SUSPECT).read_bytes()[:SHOWN].count(b"\n")
        except OSError:
            return 0

    @property
    def held(self) -> int:
        """How many events are only in memory, because the disk did not take them."""
        return len({find_subject(line) for line in self._held}) if self._held else 0

    def holds(self, event_id: str) -> bool:
        """Tell whether something about this event is only in memory. When that is full, it may be."""
        return len(self._held) >= HELD or any(_find_id(line) == event_id for line in self._held)

    def keep(self, event: dict[str, Any], recorders: Iterable[str]) -> None:
        """Keep an event for these recorders, on disk. Raises OSError if the disk does not take it."""
        self._write(SpooledEvent(event, tuple(recorders)).to_line(), spare=SPARE)

    def prepare(self, event: dict[str, Any], recorders: Iterable[str]) -> None:
        """Keep the event of a change that is about to commit; like keep(), but it counts only once it is resolved."""
        self._write(SpooledEvent(event, tuple(recorders)).to_line(prepared=True), spare=SPARE)

    def resolve(self, event_id: str, resolution: Resolution) -> None:
        """Say how the change of a prepared event ended; there is room for that.

        Raises OSError if the disk does not take it all the same; it is held in memory then.
        """
        line = {"settles": event_id, "as": resolution}
        try:
            self._write(line, spare=0)
        except OSError:
            self._hold(line)
            raise

    def hold(self, event: dict[str, Any], recorders: Iterable[str], *, prepared: bool = False) -> None:
        """Hold in memory what the disk does not take, until it does, or the recorders do."""
        self._hold(SpooledEvent(event, tuple(recorders)).to_line(prepared=prepared))

    def read_waiting(self) -> dict[str, SpooledEvent]:
        """Read what waits, the oldest first, by the events' ids; that of an intent has ` started` behind it."""
        if self.empty:
            return {}
        content = b"\n".join(self._lines.peek())
        return read_lines(content + b"\n" + encode_lines(self._held), self._taken).waiting

    def replay(self, store: Callable[[list[SpooledEvent]], list[SpooledEvent]]) -> None:
        """Hand what waits to `store`, the oldest first, and keep what that returns: what waits still.

        One process replays at a time; others go on spooling meanwhile. After a crash, what was stored already is
        handed over again. Raises OSError if the file cannot be read or replaced; what is only in memory is handed over
        all the same.
        """
        try:
            self._replay(store)
        except OSError:
            self._replay_held(store)
            raise

    def _replay(self, store: Callable[[list[SpooledEvent]], list[SpooledEvent]]) -> None:
        with files.lock(self._folder / REPLAY_LOCK, wait=False) as mine:
            if not mine:
                return
            self._flush()
            seen = self._lines.examine()
            self._report(seen.findings)
            found = read_lines(b"\n".join(link.raw for link in seen.lines), self._taken)
            self.set_aside([*seen.torn, *found.unreadable])
            waiting = list(found.waiting.values())
            kept = store(waiting)
            lines = [*(line.to_line() for line in kept), *found.prepared]
            # Should the file not be replaced, what was stored is at least not handed over again by this process.
            self._taken |= list_pairs(waiting) - list_pairs(kept)
            if not seen.clean or len(lines) < len(seen.lines) or list_pairs(waiting) != list_pairs(kept):
                if self._lines.rewrite(lines, seen):
                    self._taken.clear()
                    self._reported.clear()
                self.open()  # an emptied file has given up its room

    def _report(self, findings: Iterable[Finding]) -> None:
        """Say what somebody did to the lines, once, and put it where a person can look at it. Raises OSError."""
        path = self._folder / SUSPECT
        for finding in findings:
            if finding not in self._reported:
                log.error("the spool was edited", why=finding.why, file=str(path))
                self._reported[finding] = False
            if not self._reported[finding]:
                line = {"found": int(time.time()), "why": finding.why, "line": finding.line.decode(errors="replace")}
                _append(path, encode_lines([line]))
                self._reported[finding] = True

    def _replay_held(self, store: Callable[[list[SpooledEvent]], list[SpooledEvent]]) -> None:
        """Hand over what the disk does not take."""
        if not self._held_lock.acquire(blocking=False):
            return
        try:
            with self._lock:
                held = list(self._held)
            waiting = list(read_lines(encode_lines(held), self._taken).waiting.values())
            if not waiting:
                return
            kept = store(waiting)
            done = {line.key for line in waiting} - {line.key for line in kept}
            with self._lock:
                self._taken |= list_pairs(waiting) - list_pairs(kept)
                # By name, not by place: meanwhile the disk may have taken all of them, and others be held.
                self._held[:] = [line for line in self._held if find_subject(line) not in done]
        finally:
            self._held_lock.release()

    def set_aside(self, lines: list[bytes]) -> None:
        """Put lines that nobody can use where a person can look at them. Raises OSError if that cannot be done."""
        if lines:
            log.error("lines of the spool are set aside", file=str(self._folder / SET_ASIDE), lines=len(lines))
            _append(self._folder / SET_ASIDE, b"".join(line + b"\n" for line in lines))

    def _hold(self, line: dict[str, Any]) -> None:
        with self._lock:
            if len(self._held) < HELD:
                self._held.append(line)
        self.due = True

    def _flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._write(spare=0)

    def _write(self, *lines: dict[str, Any], spare: int) -> None:
        """Write lines behind those that are held, which come first."""
        with self._lock:
            try:
                self._lines.append([*self._held, *lines], spare=spare)
            except OSError:
                self.writable = False
                raise
            self._held.clear()
            self.writable = True
        self.due = True
        if self._lines.findings:
            with suppress(OSError):  # then the next replay does
                self._report(self._lines.findings)
                self._lines.findings.clear()


current_spool: AppLocal[Spool] = AppLocal("spool", lambda app: Spool(current_settings(app).data_dir))
"""The events that wait on this machine until the recorders take them."""


def _find_id(line: dict[str, Any]) -> object:
    return line["event"]["id"] if "event" in line else line["settles"]


def _append(path: Path, content: bytes) -> None:
    """Write behind what is there and have it on disk. Raises OSError."""
    with os.fdopen(files.open_private(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    files.sync_folder(path.parent)
