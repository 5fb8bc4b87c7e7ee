"""A reverse proxy as operators have one before it: it serves under a prefix, which it takes away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

OWN = ("connection", "content-length", "date", "server", "transfer-encoding")
"""Headers that are between two neighbours, or that each server writes itself."""

STRAYED = 599
"""What the proxy answers outside its prefix: whoever gets it followed a link that leads out."""


class _Handler(BaseHTTPRequestHandler):
    upstream: str
    prefix: str

    def do_GET(self) -> None:
        """Pass a request on, and its answer back."""
        if not self.path.startswith(f"{self.prefix}/"):
            self.send_error(STRAYED)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
        # The host stays the client's, as with nginx's `proxy_set_header Host $host`.
        address = self.upstream + self.path.removeprefix(self.prefix)
        answer = requests.request(self.command, address, headers=sent, data=body, timeout=30, allow_redirects=False)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in OWN:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the server behind it has a log."""


@contextmanager
def behind_prefix(upstream: str, prefix: str) -> Iterator[str]:
    """Serve `upstream` under a prefix, on a free port of the loopback address; yields the new address."""
    handler = type("Handler", (_Handler,), {"upstream": upstream, "prefix": prefix})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
        finally:
            proxy.shutdown()
            thread.join()
