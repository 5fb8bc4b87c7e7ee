"""Capacity: how many connections a serving process takes, and which go first when they run out.

Each connection takes a descriptor and, while it has a request, a thread: so no request waits for another's thread,
whatever that one waits for.
"""

from __future__ import annotations

import resource
import time

from yoq_web.http.connections import ESTABLISHED, list_connections

MOST = 512
"""Connections of one process at once; others wait until one of these ends."""

FEWEST = 64
"""With fewer there is no serving."""

OTHER_FILES = 64
"""Descriptors for the spool, keys, locks, the server's own and those of plugins."""

FULL = 0.75
"""The share of the connections beyond which those that do nothing are ended."""

SILENT_SECONDS = 1.0
"""How long a new connection may say nothing then."""

UNREAD_SECONDS = 30
"""How long a client may leave some of an answer unread then; and how long it may take none of it at any time."""


def raise_file_limit() -> int:
    """Let this process and its children open as many files as the system lets it; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # on macOS the hard limit may be one that the kernel does not grant
            return soft
    return hard


def count_connections(files: int, database_files: int) -> int:
    """Return how many connections there is room for beside the database's own files, of `files` in all."""
    if files == resource.RLIM_INFINITY:
        return MOST
    return min(MOST, files - database_files - OTHER_FILES)


class Shedder:
    """Ends connections that do nothing when there are few left: those that never sent a byte, or do not read."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread: dict[int, float] = {}

    def shed(self) -> None:
        """Look at the connections, and end what is to be ended."""
        found = [one for one in list_connections() if one.state == ESTABLISHED]
        now = time.monotonic()
        self._unread = {one.descriptor: self._unread.get(one.descriptor, now) for one in found if one.unsent}
        if len(found) < FULL * self._limit:
            return
        for one in found:
            silent = one.received == 0 and one.since_received >= SILENT_SECONDS
            unread = now - self._unread.get(one.descriptor, now) >= UNREAD_SECONDS
            if silent or unread:
                one.end()
