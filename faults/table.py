"""The table of faults."""

from __future__ import annotations

from faults import processes
from faults.fault import Fault

FAULTS = (
    Fault("kill-server", "kill -9 of all processes of the server", processes.kill_server),
    Fault("kill-worker", "kill -9 of the serving process alone", processes.kill_worker),
    Fault("freeze-worker", "SIGSTOP of the serving process for up to four seconds", processes.freeze_worker),
)
