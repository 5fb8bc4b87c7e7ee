"""A served program at the end of its descriptors: what it acknowledges is recorded, and outlives kill -9."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from itertools import count
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN
from tests.core.database.test_temporary_files import GROWN
from tests.core.operations.test_failure_policy import no_audit_log
from tests.program.test_outage import await_health, kill, on_record, workers
from tests.support.door import behind
from tests.support.served import Served, serve

pytestmark = [pytest.mark.program, pytest.mark.parametrize("backend", ["sqlite"])]

IDLE = 428
CLIENTS = 4


class Clients:
    """Clients whose connections were made while there was room for them."""

    def __init__(self, program: Served) -> None:
        self._program = program
        self._sessions = [requests.Session() for _ in range(CLIENTS)]
        for session in self._sessions:
            assert self._send(session, "before").status_code == 200

    def _send(self, session: requests.Session, name: str) -> requests.Response:
        return session.post(
            f"{self._program.url}/v1/secrets",
            json={"name": name, "value": "hunter2"},
            headers={"Authorization": f"Bearer {ADMIN}"},
            timeout=30,
        )

    def put(self, number: int) -> list[requests.Response]:
        """Set so many secrets; returns the answers of those that were acknowledged."""
        answers = [self._send(self._sessions[index % CLIENTS], f"n{index}") for index in range(number)]
        assert {answer.status_code for answer in answers} <= {200, 503}
        return [answer for answer in answers if answer.status_code == 200]

    def close(self) -> None:
        """Let go of the connections."""
        for session in self._sessions:
            session.close()


@contextmanager
def idle_connections(program: Served) -> Iterator[None]:
    """Connections without a token that take all the descriptors that the program may have."""
    [worker] = workers(program)
    address = ("127.0.0.1", int(program.url.rpartition(":")[2]))
    with ExitStack() as connections:
        for _ in range(IDLE):
            connections.enter_context(socket.create_connection(address))
        # Those that it closes after a while give none back: what is open by now is all there is.
        taken = {int(path.name) for path in Path(f"/proc/{worker}/fd").iterdir()}
        limit = next(number for number in count() if number not in taken)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))
        yield


@pytest.mark.parametrize("trail", ["grown", "away"])
def test_idle_connections_take_no_record_away(database_url: str, tmp_path: Path, trail: str) -> None:
    """A large log takes entries, and where none can be stored the spool takes them; every answer tells the truth."""
    behind(database_url, GROWN)
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN}
    with (
        serve(tmp_path, **settings) as program,
        closing(Clients(program)) as clients,
        idle_connections(program),
        no_audit_log(database_url) if trail == "away" else nullcontext(),
    ):
        acknowledged = clients.put(60 if trail == "away" else 200)
        kill(program)
    assert len(acknowledged) > 50
    with serve(tmp_path, **settings) as program:
        await_health(program, status="ok")
        assert set(on_record(database_url, acknowledged)) == {"ok"}
