"""Attempts without valid credentials: counted per address and minute, so that no flood fills the trail."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from yoq_web.actors import UNAUTHENTICATED
from yoq_web.app_local import AppLocal
from yoq_web.operations import failure_policy
from yoq_web.operations.door import conclude
from yoq_web.operations.event import make_event
from yoq_web.operations.operation import ACCESS_DENIED

PER_MINUTE = 10
"""Failed authentications of one address in a minute that are answered 401; further ones are answered 429."""

ADDRESSES = 64
"""Addresses counted apart in one minute; all others share one count, so a minute adds at most 130 entries."""

OTHERS = "others"


@dataclass
class Window:
    """The failed attempts of one address in one minute."""

    minute: int
    count: int
    line: str


class LoginThrottle:
    """The failed attempts of this process.

    An address's first failure in a minute is recorded at once; how many followed is recorded in one more entry when the
    minute is over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}

    def count_failure(self, peer: str | None, method: str, path: str) -> int:
        """Count one failure. Returns 0, or the seconds to wait if there were too many."""
        now = self._clock()
        self.flush()
        line = f"{method} {path}"
        with self._lock:
            address = _find_bucket(peer)
            if address not in self._windows and len(self._windows) >= ADDRESSES:
                address = OTHERS
            window = self._windows.setdefault(address, Window(int(now // 60), 0, line))
            window.count += 1
            count = window.count
        if count == 1:
            _record(address, line, {"method": method, "path": path, "count": 1})
        return 0 if count <= PER_MINUTE else 60 - int(now % 60)

    def flush(self, *, everything: bool = False) -> None:
        """Record the counts of minutes that are over, or at the end of the process of all."""
        minute = int(self._clock() // 60)
        with self._lock:
            over = {
                address: window for address, window in self._windows.items() if everything or window.minute < minute
            }
            for address in over:
                del self._windows[address]
        for address, window in over.items():
            if window.count > 1:
                _record(address, window.line, {"count": window.count - 1, "seconds": 60})


current_throttle: AppLocal[LoginThrottle] = AppLocal("throttle", lambda _app: LoginThrottle())


def _record(address: str, line: str, details: dict[str, int | str]) -> None:
    event = make_event(ACCESS_DENIED, line, details, UNAUTHENTICATED)
    event = replace(event, peer=address, outcome="denied", reason="no valid credentials")
    failure_policy.record_alone(event)
    conclude(event)


def _find_bucket(peer: str | None) -> str:
    """Find the address to count by: an IPv6 network of 64 bits is one household, not 2^64 strangers."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return OTHERS
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:  # an IPv4 peer as a socket for both families shows it
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
