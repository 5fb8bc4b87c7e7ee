"""nginx and Caddy with the files of deploy/, before the served program: over TLS, at the root and under a prefix."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import ADMIN
from tests.deploy.programs import DEPLOY, find_program
from tests.support.served import Served, free_port, serve

pytestmark = [
    pytest.mark.program,
    pytest.mark.parametrize("backend", ["sqlite"]),
    pytest.mark.filterwarnings(
        "ignore::urllib3.exceptions.InsecureRequestWarning"
    ),  # the certificate is the test's own
]

CLIENT = "198.51.100.7"
"""Who a client says that it is."""


def make_certificate(folder: Path) -> None:
    """Make a key and a certificate that nobody has signed."""
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    make = [find_program(make[0]), *make[1:], "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(make, capture_output=True, timeout=60, check=True)


def write_nginx(folder: Path, upstream: str, port: int, prefix: str) -> list[str]:
    """Write nginx's settings around ours; returns the command that runs it."""
    ours = (DEPLOY / "proxy" / "nginx.conf").read_text()
    ours = ours.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("/etc/yoq-web", str(folder))
    ours = ours.replace("http://127.0.0.1:7700", upstream)
    if prefix:
        ours = ours.replace("location / {", f"location {prefix}/ {{").replace(f"{upstream};", f"{upstream}/;", 1)
    (folder / "ours.conf").write_text(ours)
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{place}_temp_path {folder / place}; " for place in places)
    whole = f"daemon off; pid {folder / 'pid'}; error_log stderr; events {{}} "
    whole += f"http {{ access_log off; {temporary} include {folder / 'ours.conf'}; }}"
    (folder / "nginx.conf").write_text(whole)
    return [find_program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def write_caddy(folder: Path, upstream: str, port: int, prefix: str) -> list[str]:
    """Write Caddy's settings around ours; returns the command that runs it."""
    ours = (DEPLOY / "proxy" / "Caddyfile").read_text()
    ours = ours.replace("yoq.example.org", f"https://localhost:{port}", 1).replace("127.0.0.1:7700", upstream[7:])
    if prefix:
        ours = re.sub(
            r"(?ms)^\treverse_proxy .*?^\t}$", lambda found: f"\thandle_path {prefix}/* {{\n{found[0]}\n\t}}", ours
        )
    certificate = f"tls {folder / 'tls.crt'} {folder / 'tls.key'}"
    ours = ours.replace("{\n", f"{{\n\t{certificate}\n", 1)
    # HTTP/3 would listen on UDP, where a mark of the tests' is.
    whole = "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {\n\t\tprotocols h1 h2\n\t}\n}\n" + ours
    (folder / "Caddyfile").write_text(whole)
    return [find_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


PROXIES: dict[str, Callable[[Path, str, int, str], list[str]]] = {"nginx": write_nginx, "caddy": write_caddy}


@contextmanager
def before(program: Served, name: str, folder: Path, prefix: str) -> Iterator[tuple[str, requests.Session]]:
    """The proxy before the program; yields the address at which clients find it, and a client that trusts it."""
    folder.mkdir()
    make_certificate(folder)
    port = free_port()
    command = PROXIES[name](folder, program.url, port, prefix)
    url = f"https://localhost:{port}{prefix}"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process,
        requests.Session() as client,
    ):
        client.trust_env, client.verify = False, str(folder / "tls.crt")
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    client.get(f"{url}/version", timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.05)
            yield url, client
        finally:
            process.terminate()
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:  # Caddy waits for those who follow the trail
                process.kill()


@pytest.mark.parametrize("prefix", ["", "/yoq"])
@pytest.mark.parametrize("name", PROXIES)
def test_a_client_behind_it(database_url: str, tmp_path: Path, name: str, prefix: str) -> None:
    """The record has the client's own address whatever it claims, links lead on, and the trail can be followed."""
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN, "YOQ_TRUSTED_PROXIES": "127.0.0.1,::1"}
    with (
        serve(tmp_path, **settings) as program,
        before(program, name, tmp_path / name, prefix) as (url, client),
    ):
        client.headers.update(
            {
                "Authorization": f"Bearer {ADMIN}",
                "X-Forwarded-For": CLIENT,
                "X_Forwarded_For": CLIENT,
                "Forwarded": f"for={CLIENT}",
            }
        )
        for number in range(3):
            answer = client.post(f"{url}/v1/secrets", json={"name": f"n{number}", "value": "hunter2"}, timeout=10)
            assert answer.status_code == 200, answer.text
        page = client.get(f"{url}/v1/audit?limit=2", timeout=10)
        assert {entry["peer"] for entry in page.json()} <= {"127.0.0.1", "::1"}
        following = requests.compat.urljoin(page.url, page.links["next"]["url"])
        assert [entry["target"] for entry in client.get(following, timeout=10).json()] == ["n0"]
        start = client.get(f"{url}/", timeout=10)
        assert (start.status_code, start.url) == (200, f"{url}/docs")
        first = read_one_event(client, f"{url}/v1/audit/stream?start=0")
        assert first["target"] == "n0"


def read_one_event(client: requests.Session, url: str) -> dict[str, object]:
    """Follow the trail until an entry arrives; a proxy that collects answers would keep it back."""
    with client.get(url, stream=True, timeout=15) as stream:
        for line in stream.iter_lines():
            if line.startswith(b"data:"):
                found: dict[str, object] = json.loads(line[5:])
                return found
    raise AssertionError("the stream ended")
