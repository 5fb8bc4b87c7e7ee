"""The start under watch: a plugin that does not return from its turn is named, and again now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from structlog.stdlib import get_logger

log = get_logger("yoq_web")

PATIENCE = 5.0
"""After so many seconds of one turn it is told whose it is; then after twice as many, and so on."""


@dataclass
class Turn:
    """What the start waits for: a plugin and what it does, since when, and after how many seconds to say so next."""

    plugin: str
    doing: str
    began: float
    tell_after: float


class StartWatch:
    """Watches one start of the program, from a thread of its own. Turns do not nest."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._turn: Turn | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="start", daemon=True).start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._over.set()

    @contextmanager
    def take_turn(self, plugin: str, doing: str) -> Iterator[None]:
        """Hold it against `plugin` if what happens in the block takes long."""
        turn = self._turn = Turn(plugin, doing, time.monotonic(), PATIENCE)
        try:
            yield
        finally:
            self._turn = None
            if turn.tell_after > PATIENCE:
                log.warning("the start goes on", plugin=plugin, doing=doing, seconds=int(time.monotonic() - turn.began))

    def _watch(self) -> None:
        while not self._over.wait(PATIENCE / 5):
            turn = self._turn
            if turn is None:
                continue
            seconds = time.monotonic() - turn.began
            if seconds >= turn.tell_after:
                turn.tell_after *= 2
                log.warning("the start waits for a plugin", plugin=turn.plugin, doing=turn.doing, seconds=int(seconds))
