"""The table of faults."""

from __future__ import annotations

from faults import commands, databases, files, limits, processes
from faults.fault import Fault
from faults.libraries import CLOCK, DISK, THREADS
from faults.site import Database

SQLITE: tuple[Database, ...] = ("sqlite",)
POSTGRESQL: tuple[Database, ...] = ("postgresql",)

FAULTS = (
    Fault("kill-server", "kill -9 of all processes of the server", processes.kill_server),
    Fault("kill-worker", "kill -9 of the serving process alone", processes.kill_worker),
    Fault("freeze-worker", "SIGSTOP of the serving process for up to four seconds", processes.freeze_worker),
    Fault("kill-command", "kill -9 of `secret set` and `backup` beside a serving server", commands.kill_command),
    Fault("kill-restore", "kill -9 of a restore, and all goes on behind it", commands.kill_restore),
    Fault("kill-first-start", "kill -9 of the first start, and of `db upgrade`", commands.kill_first_start, first=True),
    Fault("full-disk", "the disk of the data directory is full", files.full_disk, SQLITE, disk="96m"),
    Fault("full-disk-kill", "it is full, and the server is killed", files.full_disk_kill, SQLITE, disk="96m"),
    Fault("no-growth", "no file of the server may grow", files.no_growth, SQLITE),
    Fault(
        "failing-disk", "every write to the data directory is EIO, half of it arrives", files.failing_disk, library=DISK
    ),
    Fault(
        "faltering-disk", "one write in five is EIO or ENOSPC, half of it arrives", files.faltering_disk, library=DISK
    ),
    Fault("torn-write", "the process is killed in the middle of a write", files.torn_write, library=DISK),
    Fault("moved-database", "the database's file is moved away and back", files.moved_database, SQLITE),
    Fault("lost-log", "SQLite's write-ahead log is deleted or moved, and the server killed", files.lost_log, SQLITE),
    Fault("moved-keys", "a key, or the log's head, is moved away and back", files.moved_keys),
    Fault("removed-locks", "the files that are only locked are removed", files.removed_locks),
    Fault("no-descriptors", "the server comes to the end of its descriptors", limits.no_descriptors),
    Fault("no-threads", "no thread can be begun", limits.no_threads, library=THREADS),
    Fault("clock", "the clock jumps by seconds, a day or ten years, and back", limits.another_time, library=CLOCK),
    Fault("locked", "another program holds SQLite's lock, or one of PostgreSQL's tables", databases.locked),
    Fault("no-trail", "the trail's table takes no entry for a while", databases.no_trail),
    Fault("no-trail-kill", "it takes none, and the server is killed and started", databases.no_trail_kill),
    Fault(
        "no-trail-full-disk",
        "it takes none, and the disk under the spool is full",
        databases.no_trail_full_disk,
        disk="96m",
    ),
    Fault("terminated-sessions", "all sessions are terminated, five times", databases.terminated_sessions, POSTGRESQL),
    Fault("frozen-sessions", "all sessions are frozen for up to six seconds", databases.frozen_sessions, POSTGRESQL),
    Fault("crashed-database", "a session is killed, and PostgreSQL recovers", databases.crashed_database, POSTGRESQL),
)
