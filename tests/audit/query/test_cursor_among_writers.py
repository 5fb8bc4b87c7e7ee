"""Cursors among writers: walks that go on while others begin, commit and roll back in any order."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from flask import Flask
from sqlalchemy import Connection

from tests.audit.query.test_cursor import Numbers, numbers, seal, transaction
from tests.conftest import Api
from tests.support.trail import (
    find_next,
    insert,
    make_entry,
    make_url,
    read_ids,
)


class Walk:
    """A walk through the pages that goes on while others write."""

    def __init__(self, api: Api, order: str, expected: set[int]) -> None:
        self.api = api
        self.expected = expected
        self.address: str | None = make_url({"limit": 3, "order": order})
        self.pages: list[tuple[str, bytes]] = []
        self.seen: Numbers = []

    def go_on(self) -> None:
        """Read the next page."""
        if self.address:
            answer = self.api("GET", self.address)
            assert answer.status_code == 200
            self.pages.append((self.address, answer.data))
            self.seen += numbers(read_ids(answer))
            self.address = find_next(answer)

    def read_again(self, chance: random.Random) -> None:
        """Fetch one of the pages behind the first again."""
        if len(self.pages) > 1:
            address, data = chance.choice(self.pages[1:])
            assert self.api("GET", address).data == data

    def finish(self) -> None:
        """Read to the end: every entry that was there at the beginning, once, and no other."""
        while self.address:
            self.go_on()
        assert len(self.seen) == len(self.expected)
        assert set(self.seen) == self.expected


@pytest.mark.parametrize("seed", [1, 2])
def test_walks_among_writers(api: Api, app: Flask, database_url: str, backend: str, seed: int) -> None:
    """Writers that begin, commit and roll back in any order, sealing in between, and walks that go on all the while."""
    chance = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    committed: set[int] = set()
    walks: list[Walk] = []
    fresh = iter(range(1, 10_000))
    with ExitStack() as stack:
        free = [stack.enter_context(transaction(database_url)) for _ in range(1 if backend == "sqlite" else 4)]
        held: dict[Connection, Numbers] = {}

        def write() -> None:
            """Begin a transaction, or store another entry in one."""
            if backend == "sqlite":  # which has one writer at a time, and none waits here for another
                end()
            connection = chance.choice(free)
            number = next(fresh)
            insert(connection, [make_entry(number)])
            held.setdefault(connection, []).append(number)

        def end() -> None:
            """End a transaction, mostly by a commit."""
            for connection in chance.sample(list(held), min(1, len(held))):
                written = held.pop(connection)
                if chance.random() < 0.8:
                    connection.commit()
                    committed.update(written)
                else:
                    connection.rollback()

        def begin_walk() -> None:
            """Read a first page."""
            walks.append(Walk(api, chance.choice(["asc", "desc"]), set(committed)))
            walks[-1].go_on()

        def seal_all() -> None:
            """Seal what is committed; on SQLite the writer must be done."""
            if backend == "sqlite":
                end()
            seal(app)

        def go_on() -> None:
            """Read another page of some walk."""
            if walks:
                chance.choice(walks).go_on()

        def read_again() -> None:
            """Fetch a page again."""
            if walks:
                chance.choice(walks).read_again(chance)

        steps: list[Callable[[], None]] = [write, end, begin_walk, seal_all, go_on, read_again]
        for step in chance.choices(steps, weights=[40, 25, 4, 4, 20, 7], k=200):
            step()
        for walk in walks:
            walk.finish()
            walk.read_again(chance)
    assert len(walks) > 3
    assert len(committed) > 20
