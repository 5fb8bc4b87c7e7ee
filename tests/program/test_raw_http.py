"""The HTTP contract over a real connection: what a client that writes its own bytes gets from the served program."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ADMIN
from tests.support.served import Served, command, serve

pytestmark = pytest.mark.program

AUTHORIZED = f"Authorization: Bearer {ADMIN}"
BODY = b'{"name":"db","value":"v"}'


def exchange(program: Served, start: str, *headers: str, body: bytes = b"") -> tuple[int, str, bytes]:
    """Send a request as written; returns the status, the answer's headers in lower case and its body, to the end."""
    where = urlsplit(program.url)
    head = "\r\n".join([start, "Host: localhost", "Connection: close", *headers, "", ""])
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        received = b""
        while part := connection.recv(65536):
            received += part
    top, _, rest = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode("latin-1").lower(), rest


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_client_that_writes_its_own_bytes(served: Served) -> None:
    """Methods, paths, credentials and bodies are read from the wire as the contract says; the connection is closed."""
    status, headers, body = exchange(served, "GET /v1/secrets HTTP/1.1", AUTHORIZED)
    assert (status, body) == (200, b"[]")
    assert "content-type: application/json\r\n" in headers
    assert "content-length: 2\r\n" in headers
    assert "connection: close" in headers
    assert "transfer-encoding" not in headers

    for name in ("Authorization:", "AUTHORIZATION:    ", "authorization: "):
        assert exchange(served, "GET /v1/secrets HTTP/1.0", f"{name}Bearer {ADMIN}")[0] == 200
    for line in (f"Authorization: basic {ADMIN}", f"Authorization: Bearer  {ADMIN}", "X: y"):
        assert exchange(served, "GET /v1/secrets HTTP/1.1", line)[0] == 401
    assert exchange(served, "GET /v1/secrets HTTP/1.1", "Authorization: Bearer x", AUTHORIZED)[0] == 401

    assert exchange(served, "get /v1/secrets HTTP/1.1", AUTHORIZED)[0] == 400
    assert exchange(served, "OPTIONS /v1/secrets HTTP/1.1", AUTHORIZED)[0] == 400
    assert exchange(served, "GET //v1/secrets HTTP/1.1", AUTHORIZED)[0] == 404
    assert exchange(served, "GET //health HTTP/1.1")[0] == 401
    assert exchange(served, f"GET /{'x' * 2048} HTTP/1.1")[0] == 400
    status, headers, body = exchange(served, "HEAD /v1/secrets HTTP/1.1", AUTHORIZED)
    assert (status, body) == (405, b"")
    assert "allow: get, post\r\n" in headers
    status, headers, body = exchange(served, "HEAD /v1/policies HTTP/1.1", AUTHORIZED)
    assert (status, body) == (200, b"")
    assert "content-length: 2\r\n" in headers

    length = f"Content-Length: {len(BODY)}"
    assert exchange(served, "POST /v1/secrets HTTP/1.1", AUTHORIZED, length, body=BODY)[2] == b'{"status":"ok"}'
    assert exchange(served, "POST /v1/secrets HTTP/1.1", AUTHORIZED)[0] == 400
    large = b"x" * (1024 * 1024 + 1)
    status, _, body = exchange(served, "POST /v1/secrets HTTP/1.1", AUTHORIZED, f"Content-Length: {len(large)}")
    assert (status, body[:33]) == (413, b'{"error":"request body too large"')
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    status = exchange(served, "POST /v1/secrets HTTP/1.1", AUTHORIZED, "Transfer-Encoding: chunked", body=chunked)[0]
    assert status == 413
    assert exchange(served, "DELETE /v1/secrets/%00 HTTP/1.1", AUTHORIZED)[0] == 400


def test_a_token_is_revoked_from_another_process(served: Served, tmp_path: Path) -> None:
    """The server looks tokens up for each request: what the command line revokes is refused by the next one."""
    token = served("POST", "/v1/tokens", json={"name": "ci", "scopes": ["secrets:read"]}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert served("GET", "/v1/secrets", headers=headers).status_code == 200
    database = served.environment["YOQ_DATABASE_URL"]
    assert command(tmp_path, "token", "revoke", "ci", YOQ_DATABASE_URL=database).stdout == "revoked ci\n"
    assert served("GET", "/v1/secrets", headers=headers).status_code == 401


def test_the_peer_on_a_socket_for_both_families(tmp_path: Path) -> None:
    """An IPv4 proxy is known for the one in the setting there, and several lines of its header are one."""
    with serve(tmp_path, "::", YOQ_API_TOKEN=ADMIN, YOQ_TRUSTED_PROXIES="127.0.0.1") as program:
        local = replace(program, url=program.url.replace("[::]", "127.0.0.1"))
        lines = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: [2001:db8::7]:4711")
        assert exchange(local, "GET /v1/secrets HTTP/1.1", AUTHORIZED, *lines)[0] == 200
        assert exchange(local, "GET /v1/secrets HTTP/1.1", AUTHORIZED)[0] == 200
        entries = program("GET", "/v1/audit").json()
    assert [entry["peer"] for entry in entries] == ["127.0.0.1", "2001:db8::7"]
