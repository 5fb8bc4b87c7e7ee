"""A start that waits for a plugin says for whom."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import Api, MakeApp
from tests.support.hooks import set_secret
from tests.support.plugins import Made, distribution
from tests.support.served import PROGRAM, environment
from yoq_web import Contribution

ONE = pytest.mark.parametrize("backend", ["sqlite"])


TURNS = ("import", "yoq_contribute", "yoq_ready")


@ONE
@pytest.mark.parametrize("turn", TURNS)
def test_a_start_that_waits_says_for_whom(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: str
) -> None:
    """It names the plugin and what it does, again and again, and goes on when the plugin returns."""
    monkeypatch.setattr("yoq_web.hooks.start_watch.PATIENCE", 0.05)

    def wait() -> Contribution:
        deadline = time.monotonic() + 30
        while sum(line["plugin"] == "slow" for line in waiting(lines)) < 2:
            assert time.monotonic() < deadline, "nothing was said"
            time.sleep(0.01)
        return Contribution()

    class Slow(Made):
        """A plugin that takes long in one of its turns."""

        def __getattr__(self, name: str) -> object:
            if name == "yoq_ready" and turn == "import":  # as pluggy looks at it
                wait()
            raise AttributeError(name)

    with capture_logs() as lines:
        app = make_app(Slow("slow", **({} if turn == "import" else {turn: wait}), yoq_health=lambda: None))
    # So little patience has a busy machine wait for plugins that are not slow, too.
    of_slow = [line for line in lines if line["plugin"] == "slow"]
    assert {line["doing"] for line in of_slow} == {turn}
    assert of_slow[-1]["event"] == "the start goes on"
    assert waiting(of_slow)[0]["log_level"] == "warning"
    assert set_secret(Api(app)) == 200


def waiting(lines: list[Any]) -> list[Any]:
    """The lines that say for whom the start waits."""
    return [line for line in lines if line["event"] == "the start waits for a plugin"]


@ONE
def test_a_start_that_does_not_wait_says_nothing(make_app: MakeApp) -> None:
    """Neither does it leave a thread behind."""
    with capture_logs() as lines:
        make_app()
    assert lines == []
    for thread in threading.enumerate():
        if thread.name == "start":
            thread.join(30)


HANGING = """
import time
import yoq_web

@yoq_web.hookimpl
def yoq_contribute():
    time.sleep(600)
"""


@pytest.mark.program
def test_a_start_that_hangs_can_be_interrupted(tmp_path: Path) -> None:
    """The program says on standard error for whom it waits, and Ctrl-C ends it, without a traceback."""
    distribution(tmp_path, "hanging", HANGING)
    started = subprocess.Popen(
        [PROGRAM, "policy", "list"],
        env=environment(tmp_path / "data", PYTHONPATH=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has what it runs in the background ignore this signal, the tests as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    )
    assert started.stderr is not None
    said = started.stderr.readline()
    assert ("the start waits for a plugin" in said, "hanging" in said, "yoq_contribute" in said) == (True, True, True)
    started.send_signal(signal.SIGINT)
    _, rest = started.communicate(timeout=30)
    assert (started.returncode, rest.splitlines()[-1]) == (1, "aborted")
    assert "Traceback" not in rest
