"""`./run faults`: rounds of load and faults, each on a site of its own, each judged; exits 1 if the rule was broken."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import NoReturn

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from faults.examination import examine
from faults.fault import Fault, Scene
from faults.judge import Finding
from faults.libraries import preload
from faults.load import Load
from faults.site import Broken, Database, Site, make_template
from faults.table import FAULTS
from faults.tally import SHOWN, Tally
from tests.support import postgres as postgres_server
from tests.support.limits import small_disk
from tests.support.postgres import Postgres

STRIKES = 2
"""How often a fault strikes in a round."""

MOST_ROUNDS = 1000


def main() -> None:
    """Run a round of each chosen fault on each of its databases, or rounds until the time is over."""
    chosen = _parse()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)  # what was started is stopped on the way out
    seed = chosen.seed if chosen.seed is not None else random.randrange(1 << 32)
    generator = random.Random(seed)
    order = _order(chosen, generator)
    print(f"seed {seed}; the order is chosen by it, the moments depend on the machine, too")
    total = Tally()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="yoq-faults-") as made, ExitStack() as stack:
        folder = Path(made)
        databases = Databases(folder, stack)
        for number, (fault, database) in enumerate(order):
            if number >= MOST_ROUNDS or (chosen.minutes and time.monotonic() - started > chosen.minutes * 60):
                break
            if obstacle := fault.find_obstacle():
                print(f"{fault.name} on {database} is left out: {obstacle}")
                continue
            place = folder / f"{number}"
            place.mkdir()
            settings = preload(fault.library, place) if fault.library else {}
            disk = small_disk(place / "data", fault.disk) if fault.disk else nullcontext()
            with disk, databases.make(database, empty=fault.first) as url:
                site = Site(place, url, settings)
                if _run_round(fault, site, generator, total):
                    kept = Path(tempfile.mkdtemp(prefix=f"yoq-fault-{fault.name}-"))
                    shutil.copytree(place, kept, dirs_exist_ok=True)
                    print(f"    what is left of it is kept in {kept}")
            shutil.rmtree(place)
    print(f"{time.monotonic() - started:.0f} seconds")
    total.print()
    sys.exit(1 if total.breaches else 0)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run faults", description="Hurt the program under load, and judge it.")
    names = [fault.name for fault in FAULTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"faults, all unless named: {', '.join(names)}")
    parser.add_argument("--minutes", type=float, default=0, help="begin rounds for so long; each once unless told")
    parser.add_argument("--on", choices=("sqlite", "postgresql"), help="this database only")
    parser.add_argument("--seed", type=int, help="choose as in an earlier run")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(names):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return chosen


def _order(chosen: argparse.Namespace, generator: random.Random) -> Iterator[tuple[Fault, Database]]:
    """Yield every chosen fault on each of its databases, once; again and again where there are minutes to fill."""
    rounds = [
        (fault, database)
        for fault in FAULTS
        for database in fault.on
        if (not chosen.names or fault.name in chosen.names) and chosen.on in (None, database)
    ]
    if not rounds:
        sys.exit("none of these faults is there on this database")
    generator.shuffle(rounds)
    return cycle(rounds) if chosen.minutes else iter(rounds)


class Databases:
    """The databases that sites are given; PostgreSQL is started when the first site asks for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._server: Postgres | None = None
        self._template = ""

    @contextmanager
    def make(self, database: Database, *, empty: bool) -> Iterator[str | None]:
        """Make a PostgreSQL database, migrated unless `empty`, and yield its URL; None for SQLite, which needs none."""
        if database == "sqlite":
            yield None
            return
        if self._server is None:
            self._server = self._stack.enter_context(postgres_server.running())
            place = self._folder / "template"
            place.mkdir()
            self._template = make_template(self._server, place)
        name = self._server.create(*([] if empty else [self._template]))
        yield self._server.url(name)
        self._server.drop(name)


def _run_round(fault: Fault, site: Site, generator: random.Random, total: Tally) -> list[Finding]:
    """Run one round, and print and count how it went."""
    print(f"{fault.name} on {site.database}: {fault.what}", flush=True)
    strikes = 0
    load = Load(site, generator)
    scene = Scene(site, load, generator)
    try:
        if not fault.first:
            site.start()
            load.begin()
        for _ in range(STRIKES):
            scene.wait(0.3, 1.2)
            with fault.strike(scene):
                strikes += 1
                scene.wait(0.2, 2.0)
            if not fault.first:
                site.start()
        if fault.first:
            scene.site.prepare()
            site.start()
            load.begin()
            scene.wait(1.0, 2.0)
        scene.wait(0.2, 0.6)
        site.kill()  # what is in memory only is gone
        load.end()
        findings = examine(site, load.history, scene.undone, generator)
    except (Broken, OSError, SQLAlchemyError, psycopg.Error, sqlite3.Error) as error:  # nor could it be undone
        findings = [Finding("not recovered", f"{type(error).__name__}: {error}")]
    finally:
        site.kill()
        load.end()
    round_ = Tally()
    for tally in (round_, total):
        tally.add(strikes, load.history, findings)
    counts = round_.counts
    print(f"  {', '.join(f'{counts[name]} {name}' for name in list(counts)[1:])}; {len(findings)} findings", flush=True)
    for finding in findings[:SHOWN]:
        print(f"  {finding.breach.upper()}: {finding.text}")
    return findings


if __name__ == "__main__":
    main()
