"""The spool's file: one line of JSON an event, or about one, and what all the lines come to.

`{"event": …, "recorders": […]}` is an event that waits for these recorders. One with `prepared`, `pid` and `process` is
that of a change that is about to commit, until a line `{"settles": ID, "as": "committed" or "rolled back"}` follows.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from yoq_web.jsontext import dumps

Resolution = Literal["committed", "rolled back"]
"""How the change of a prepared event ended."""

UNRESOLVED_SECONDS = 300.0
"""How long an event may stay prepared while its process lives."""

PROCESS = secrets.token_hex(8)
"""Tells this process from an earlier one with the same id, as every start of a container has."""


@dataclass(frozen=True, slots=True)
class SpooledEvent:
    """An event, as a JSON document, and the recorders that lack it."""

    event: dict[str, Any]
    recorders: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells the event from every other one that waits."""
        return make_key(self.event)

    def to_line(self, *, prepared: bool = False) -> dict[str, Any]:
        """Return the event as a line of the file; `prepared` says that its change is about to commit."""
        line = {"event": self.event, "recorders": self.recorders}
        return line | {"pid": os.getpid(), "process": PROCESS, "prepared": time.time()} if prepared else line


@dataclass
class SpoolContent:
    """What the file comes to: the events that wait, by key, lines that may still be resolved, and unreadable ones."""

    waiting: dict[str, SpooledEvent] = field(default_factory=dict)
    prepared: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)


def encode_lines(lines: Iterable[dict[str, Any]]) -> bytes:
    """Return the lines as they stand in the file."""
    return b"".join(dumps(line).encode() + b"\n" for line in lines)


def make_key(event: Mapping[str, Any]) -> str:
    """Return what tells an event from others: its id; an intent is apart from the outcome with the same id."""
    return f"{event['id']} started" if event.get("outcome") == "started" else str(event["id"])


def find_subject(line: Mapping[str, Any]) -> str:
    """Return the key of the event that a line is about."""
    return make_key(line["event"]) if "event" in line else str(line["settles"])


def list_pairs(lines: Iterable[SpooledEvent]) -> set[tuple[str, str]]:
    """Return every event's key with each of the recorders that lack it."""
    return {(line.key, recorder) for line in lines for recorder in line.recorders}


def read_lines(content: bytes, taken: Collection[tuple[str, str]]) -> SpoolContent:
    """Read the file, but for the pairs of event and recorder that were `taken`."""
    found = SpoolContent()
    lines: dict[str, dict[str, Any]] = {}
    for raw in content.split(b"\n"):
        if not raw.strip():
            continue
        line = _parse_line(raw)
        if line is None:
            found.unreadable.append(raw)
        elif "event" in line:
            # A later line about an event is the truth about it: a change that was prepared and then failed.
            lines[make_key(line["event"])] = line
        elif "prepared" in lines.get(line["settles"], ()):
            if line["as"] == "committed":
                del lines[line["settles"]]["prepared"]
            else:
                del lines[line["settles"]]
    for about, line in lines.items():
        event = line["event"]
        if "prepared" in line:
            if _may_live(line):
                found.prepared.append(line)
                continue
            event = event | {"outcome": "interrupted", "doubtful": True}
        recorders = tuple(name for name in line["recorders"] if (about, name) not in taken)
        if recorders:
            found.waiting[about] = SpooledEvent(event, recorders)
    return found


def _parse_line(raw: bytes) -> dict[str, Any] | None:
    """Read one line; None for what is none."""
    try:
        line = json.loads(raw)
        if isinstance(line.get("settles"), str):
            return {"settles": line["settles"], "as": line["as"]}
        names = line["recorders"]
        if isinstance(line["event"]["id"], str) and names and all(isinstance(name, str) for name in names):
            if "prepared" in line:
                line |= {"prepared": float(line["prepared"]), "pid": int(line["pid"])}
            return dict(line)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return None


def _may_live(line: dict[str, Any]) -> bool:
    """Tell whether the process that prepared this event may still be at it."""
    if abs(time.time() - line["prepared"]) > UNRESOLVED_SECONDS:
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
