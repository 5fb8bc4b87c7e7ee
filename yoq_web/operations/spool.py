"""Spool: events that the recorders could not store, kept in the data directory until they can.

One line of JSON an event, synced to disk before it counts. The event of a change that is about to commit is *prepared*
first and *settled* afterwards, so that what a crash between the two leaves is known for what it is.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.app_local import AppLocal
from yoq_web.jsontext import dumps
from yoq_web.settings import current_settings

log = get_logger("yoq_web")

Settlement = Literal["committed", "rolled back"]

FILE = "spool.jsonl"
SET_ASIDE = "spool.torn"
LOCK = "spool.lock"
REPLAY_LOCK = "spool.replay.lock"

UNSETTLED_SECONDS = 300.0
"""How long an event may wait for its settlement while its process lives."""

HELD = 10_000
"""So many lines are held in memory while the disk takes none."""

PROCESS = secrets.token_hex(8)
"""Tells this process from an earlier one with the same id, as every start of a container has."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event, as a JSON document, and the recorders that lack it."""

    event: dict[str, Any]
    recorders: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells the event from every other one that waits."""
        return key(self.event)

    def to_line(self) -> dict[str, Any]:
        """The event as a line of the file."""
        return {"event": self.event, "recorders": self.recorders}


@dataclass
class Content:
    """What the file holds: what waits, what is still under way, what cannot be read."""

    waiting: dict[str, Waiting] = field(default_factory=dict)
    under_way: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)


class Spool:
    """The spool of one data directory, shared by all processes that use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / FILE
        self._lock = threading.Lock()
        self._held: list[dict[str, Any]] = []
        self._held_lock = threading.Lock()
        self._taken: set[tuple[str, str]] = set()
        self.due = False
        """Whether this process spooled something since it last replayed."""
        self.writable = True
        """Whether the last line that was to be written is on disk."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all to do; costs one look at the file's size."""
        try:
            return not self._held and self._file.stat().st_size == 0
        except OSError:
            return not self._held

    @property
    def held(self) -> int:
        """How many events are only in memory, because the disk did not take them."""
        return len({_subject(line) for line in self._held}) if self._held else 0

    def keep(self, event: dict[str, Any], recorders: Iterable[str]) -> None:
        """Keep an event for these recorders. Raises OSError if it is not on disk; it is held in memory then."""
        self._append(Waiting(event, tuple(recorders)).to_line())

    def prepare(self, event: dict[str, Any], recorders: Iterable[str]) -> None:
        """Keep the event of a change that is about to commit; like keep(), but only its settlement makes it count."""
        process = {"pid": os.getpid(), "process": PROCESS, "prepared": time.time()}
        self._append(Waiting(event, tuple(recorders)).to_line() | process)

    def resolve(self, event_id: str, settlement: Settlement) -> None:
        """Say how the change of a prepared event ended. Raises OSError like keep()."""
        self._append({"settles": event_id, "as": settlement})

    def read_waiting(self) -> dict[str, Waiting]:
        """What waits, the oldest first, by the events' ids; that of an intent has ` started` behind it."""
        if self.empty:
            return {}
        content = b""
        with suppress(OSError):
            content = self._read()
        return _sorted_out(content + b"\n" + _encoded(self._held), self._taken).waiting

    def replay(self, store: Callable[[list[Waiting]], list[Waiting]]) -> None:
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

    def _replay(self, store: Callable[[list[Waiting]], list[Waiting]]) -> None:
        with files.lock(self._folder / REPLAY_LOCK, wait=False) as mine:
            if not mine:
                return
            self._flush()
            with files.lock(self._folder / LOCK):
                old = self._read()
            found = _sorted_out(old, self._taken)
            self.set_aside(found.unreadable)
            waiting = list(found.waiting.values())
            kept = store(waiting)
            lines = [*(line.to_line() for line in kept), *found.under_way]
            # Should the file not be replaced, what was stored is at least not handed over again by this process.
            self._taken |= _pairs(waiting) - _pairs(kept)
            if len(lines) < old.count(b"\n") or found.unreadable or _pairs(waiting) != _pairs(kept):
                with files.lock(self._folder / LOCK):
                    self._replace(_encoded(lines) + self._read()[len(old) :])
                self._taken.clear()

    def _replay_held(self, store: Callable[[list[Waiting]], list[Waiting]]) -> None:
        """Hand over what the disk does not take."""
        if not self._held_lock.acquire(blocking=False):
            return
        try:
            with self._lock:
                held = list(self._held)
            waiting = list(_sorted_out(_encoded(held), self._taken).waiting.values())
            if not waiting:
                return
            kept = store(waiting)
            done = {line.key for line in waiting} - {line.key for line in kept}
            with self._lock:
                self._taken |= _pairs(waiting) - _pairs(kept)
                self._held[: len(held)] = [line for line in held if _subject(line) not in done]
        finally:
            self._held_lock.release()

    def set_aside(self, lines: list[bytes]) -> None:
        """Put lines that nobody can use where a person can look at them. Raises OSError if that cannot be done."""
        if lines:
            log.error("lines of the spool are set aside", file=str(self._folder / SET_ASIDE), lines=len(lines))
            _append(self._folder / SET_ASIDE, b"".join(line + b"\n" for line in lines))

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            if len(self._held) < HELD:
                self._held.append(line)
        self.due = True
        self._flush()

    def _flush(self) -> None:
        """Write what is held: the new line, and those that the disk did not take before."""
        with self._lock:
            if not self._held:
                return
            try:
                with files.lock(self._folder / LOCK):
                    _append(self._file, _encoded(self._held))
            except OSError:
                self.writable = False
                raise
            self._held.clear()
            self.writable = True

    def _read(self) -> bytes:
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return b""

    def _replace(self, content: bytes) -> None:
        if not content:
            self._file.unlink(missing_ok=True)
            return
        files.replace(self._file, content)


current_spool: AppLocal[Spool] = AppLocal("spool", lambda app: Spool(current_settings(app).data_dir))


def _append(path: Path, content: bytes) -> None:
    """Write behind what is there and have it on disk, or leave the file as it was and raise OSError."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        # After a power cut the last line may be half there: it must not swallow this one.
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        left = memoryview(b"\n" + content if torn else content)
        try:
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
    if size == 0:
        files.sync_folder(path.parent)


def _encoded(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(dumps(line).encode() + b"\n" for line in lines)


def key(event: Mapping[str, Any]) -> str:
    """What tells an event from others: its id; an intent is apart from the outcome with the same id."""
    return f"{event['id']} started" if event.get("outcome") == "started" else str(event["id"])


def _subject(line: Mapping[str, Any]) -> str:
    """The key of the event that a line is about."""
    return key(line["event"]) if "event" in line else str(line["settles"])


def _pairs(lines: Iterable[Waiting]) -> set[tuple[str, str]]:
    return {(line.key, recorder) for line in lines for recorder in line.recorders}


def _sorted_out(content: bytes, taken: set[tuple[str, str]]) -> Content:
    """What the lines come to, without the pairs of event and recorder that were taken."""
    found = Content()
    lines: dict[str, dict[str, Any]] = {}
    for raw in content.split(b"\n"):
        if not raw.strip():
            continue
        line = _parsed(raw)
        if line is None:
            found.unreadable.append(raw)
        elif "event" in line:
            # A later line about an event is the truth about it: a change that was prepared and then failed.
            lines[key(line["event"])] = line
        elif "prepared" in lines.get(line["settles"], ()):
            if line["as"] == "committed":
                del lines[line["settles"]]["prepared"]
            else:
                del lines[line["settles"]]
    for about, line in lines.items():
        event = line["event"]
        if "prepared" in line:
            if _may_live(line):
                found.under_way.append(line)
                continue
            event = event | {"outcome": "interrupted", "doubtful": True}
        recorders = tuple(name for name in line["recorders"] if (about, name) not in taken)
        if recorders:
            found.waiting[about] = Waiting(event, recorders)
    return found


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """A line of the file, or None for what is none."""
    try:
        line = json.loads(raw)
        if isinstance(line.get("settles"), str):
            return {"settles": line["settles"], "as": line["as"]}
        if isinstance(line["event"]["id"], str) and all(isinstance(name, str) for name in line["recorders"]):
            if "prepared" in line:
                line |= {"prepared": float(line["prepared"]), "pid": int(line["pid"])}
            return dict(line)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return None


def _may_live(line: dict[str, Any]) -> bool:
    """Whether the process that prepared this event may still be at it."""
    if abs(time.time() - line["prepared"]) > UNSETTLED_SECONDS:
        return False
    if line["pid"] == os.getpid():
        return bool(line.get("process") == PROCESS)
    try:
        os.kill(line["pid"], 0)
    except PermissionError:
        return True  # another user's
    except (OSError, OverflowError):
        return False
    return True
