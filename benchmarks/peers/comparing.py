"""Our audited write against that of django-auditlog and SQLAlchemy-Continuum: one thread, SQLite, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import plugin
from benchmarks.over_sqlite import TABLE
from benchmarks.plugin import Value, bench_set
from yoq_web import create_app, db
from yoq_web.actors import make_local_actor, set_actor
from yoq_web.database.migrations import upgrade
from yoq_web.database.rights import allow_commits
from yoq_web.database.session import upsert

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS = {"django-auditlog": "with_auditlog.py", "SQLAlchemy-Continuum": "with_continuum.py"}
WRITES = 400
ROUNDS = 9


def measure(folder: Path) -> float:
    """Our rate as a multiple of django-auditlog's: the median of the rounds."""
    app = create_app({"YOQ_DATA_DIR": str(folder)}, plugins=(plugin,))
    with app.app_context(), ExitStack() as stack:
        upgrade()
        set_actor(make_local_actor())
        db.session.connection().exec_driver_sql(TABLE)
        with allow_commits():
            db.session.commit()
        peers = {name: stack.enter_context(peer(file, folder / file)) for name, file in PEERS.items()}
        ratios: dict[str, list[float]] = {name: [] for name in PEERS}
        for number in range(ROUNDS + 1):
            mine = ours()
            for name, write in peers.items():
                seconds = write()
                if number:  # the first round warms up
                    ratios[name].append(seconds / mine)
        db.engine.dispose()
    for name, found in ratios.items():
        print(f"  {name}: {statistics.median(found):.2f} ({' '.join(f'{ratio:.2f}' for ratio in found)})")
    return statistics.median(ratios["django-auditlog"])


def ours() -> float:
    """The seconds that our writes take: each sets a value through the door, by one statement, and leaves an entry."""
    started = time.perf_counter()
    for number in range(WRITES):
        name = f"ours-{number % 20}"
        with bench_set.performed(name) as session:
            row = {"name": name, "text": f"a value of some length {number} {started}", "updated_at": int(time.time())}
            session.execute(upsert(Value, key=("name",), update=("text", "updated_at")), row)
    return time.perf_counter() - started


@contextmanager
def peer(file: str, database: Path) -> Iterator[Callable[[], float]]:
    """A peer in a process of its own; to be called for the seconds that its writes take."""
    if not PYTHON.exists():
        raise SystemExit("the peers are not installed: ./run bench peers")
    with subprocess.Popen(
        [PYTHON, "-W", "ignore", Path(__file__).parent / file, database.with_suffix(".db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    ) as process:

        def write() -> float:
            assert process.stdin  # noqa: S101 - as was asked for
            assert process.stdout  # noqa: S101 - as was asked for
            process.stdin.write(f"{WRITES}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield write
        if process.stdin:
            process.stdin.close()
