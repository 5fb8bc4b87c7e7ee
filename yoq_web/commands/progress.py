"""Progress: the bar on standard error of whatever takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

ProgressCallback = Callable[[int, int], object]
"""Told how much is done, and of how much."""

StepCallback = Callable[[str, int, int], object]
"""Told what is being done, how much of it is done and of how much."""

SLOW_SECONDS = 1
"""What is done sooner needs no bar."""


class Progress:
    """A progress bar, once it has taken long enough; none where nobody looks, or if it is `silent`."""

    def __init__(self, label: str = "", *, silent: bool = False) -> None:
        self._label = label
        self._silent = silent or not sys.stderr.isatty()
        self._started = time.monotonic()
        self._bar: ProgressBar[Any] | None = None
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.finish()

    def step(self, label: str, done: int, of: int) -> None:
        """Show that so much of the step that is called `label` is done; another one has a bar of its own."""
        if label != self._label:
            self.finish()
            self._label, self._done = label, 0
        self.show(done, of)

    def show(self, done: int, of: int) -> None:
        """Show that so much is done."""
        if self._bar is None:
            if self._silent or time.monotonic() - self._started < SLOW_SECONDS:
                return
            # A hundredth at a time: drawing the bar must not take longer than the work.
            self._bar = click.progressbar(
                length=of, label=f"{self._label:8}", file=sys.stderr, update_min_steps=max(1, of // 100)
            )
            self._bar.render_progress()
        self._bar.update(done - self._done)
        self._done = done

    def finish(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None
