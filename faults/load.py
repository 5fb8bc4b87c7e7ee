"""Load: clients that change things over HTTP, and remember what they sent and what was acknowledged.

Each client works on names of its own, and lets go of a name when it cannot tell any more what became of it: so what
must be there at the end is known, but for the last attempt on a name that was not acknowledged.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass
from itertools import count
from typing import Any

import requests

from faults.site import ANSWER_SECONDS, TOKEN, Broken, Site

CLIENTS = 6

PAUSE_SECONDS = 0.2
"""How long a client waits after it was not answered."""


@dataclass
class Attempt:
    """One operation that was tried: what, on what, and what was answered.

    `makes` says whether its target is there afterwards, None if it changes nothing that we look at.
    """

    kind: str
    action: str
    target: str | None
    request_id: str | None
    makes: bool | None = None
    value: str | None = None
    status: int | None = None
    """None: no answer came. A command's exit code 0 counts as 200."""
    audit_id: str | None = None
    answer: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether it was said to be done."""
        return self.status is not None and 200 <= self.status < 300


class Load:
    """Several clients at once, as long as it is not paused."""

    def __init__(self, site: Site, generator: random.Random) -> None:
        self.history: list[Attempt] = []
        """Every attempt, in the order in which they were begun."""
        self._site = site
        self._generator = generator
        self._over = threading.Event()
        self._clients: list[threading.Thread] = []
        self._numbers = count()
        self._weak = ""

    def begin(self) -> None:
        """Let new clients begin, with names of their own."""
        self._weak = self._weak or self._make_weak_token()
        self._over.clear()
        for number in range(CLIENTS):
            client = Client(self, f"c{next(self._numbers)}", self._generator.random())
            self._clients.append(threading.Thread(target=client.run, name=f"client-{number}"))
        for thread in self._clients:
            thread.start()

    def end(self) -> None:
        """Have every client end after the answer that it waits for."""
        self._over.set()
        for thread in self._clients:
            thread.join(4 * ANSWER_SECONDS)
            if thread.is_alive():
                raise Broken("a request is never answered")
        self._clients.clear()

    @property
    def over(self) -> bool:
        """Whether the clients are to end."""
        return self._over.is_set()

    def send(self, session: requests.Session, attempt: Attempt, method: str, path: str, body: Any = None) -> str:
        """Send one attempt, after it was written down; returns the answer, empty if there is none."""
        self.history.append(attempt)
        token = self._weak if attempt.kind == "denied" else TOKEN
        headers = {"Authorization": f"Bearer {token}", "X-Request-Id": attempt.request_id}
        try:
            answer = session.request(method, self._site.url + path, json=body, headers=headers, timeout=ANSWER_SECONDS)
        except requests.RequestException:
            time.sleep(PAUSE_SECONDS)
            return ""
        attempt.audit_id = answer.headers.get("Audit-Id")
        attempt.status = answer.status_code
        if attempt.kind != "tokens" or not attempt.acknowledged:  # which holds a secret
            attempt.answer = answer.text[:300]
        return answer.text

    def _make_weak_token(self) -> str:
        attempt = Attempt("tokens", "token_create", "weak", "weak", makes=True)
        body = {"name": "weak", "scopes": ["apps:read"]}
        with requests.Session() as session:
            session.trust_env = False
            answer = self.send(session, attempt, "POST", "/v1/tokens", body)
            if not attempt.acknowledged:
                raise Broken(f"no token can be made: {attempt.status} {attempt.answer}")
            token: str = json.loads(answer)["token"]
        return token


class Client:
    """One client, with names that begin with its own."""

    def __init__(self, load: Load, name: str, seed: float) -> None:
        self._load = load
        self._name = name
        self._random = random.Random(seed)
        self._numbers = count()
        self._there: list[tuple[str, str]] = []
        """What it made and has not removed, as kind and name."""
        self._session = requests.Session()
        self._session.trust_env = False

    def run(self) -> None:
        """Send one request after the other until the load is over."""
        with self._session:
            while not self._load.over:
                self._step()

    def _step(self) -> None:
        dice = self._random.random()
        if dice < 0.08:
            self._send(Attempt("list", "secret_list", None, self._id()), "GET", "/v1/secrets?limit=5")
        elif dice < 0.14:
            name = f"{self._name}-denied{next(self._numbers)}"
            attempt = Attempt("denied", "secret_set", name, self._id())
            self._send(attempt, "POST", "/v1/secrets", {"name": name, "value": "hunter2"})
        elif dice < 0.145:
            self._send(Attempt("backups", "backup", None, self._id()), "POST", "/v1/backups", {})
        elif dice < 0.30 and self._there:
            self._remove(*self._there.pop(self._random.randrange(len(self._there))))
        elif dice < 0.45 and self._there:
            kind, name = self._there.pop(self._random.randrange(len(self._there)))
            if kind == "tokens":
                self._remove(kind, name)
            else:
                self._make(kind, name)
        else:
            kind = self._random.choice(("secrets", "secrets", "secrets", "policies", "policies", "tokens"))
            self._make(kind, f"{self._name}-{next(self._numbers)}")

    def _make(self, kind: str, name: str) -> None:
        value = f"value {self._random.random()}"
        action = {"secrets": "secret_set", "policies": "policy_add", "tokens": "token_create"}[kind]
        bodies: dict[str, dict[str, Any]] = {
            "secrets": {"name": name, "value": value},
            "policies": {"source": name, "target": "db", "action": "allow"},
            "tokens": {"name": name, "scopes": ["apps:read"]},
        }
        attempt = Attempt(kind, action, _target(kind, name), self._id(), makes=True, value=value)
        if self._send(attempt, "POST", f"/v1/{kind}", bodies[kind]):
            self._there.append((kind, name))

    def _remove(self, kind: str, name: str) -> None:
        action = {"secrets": "secret_delete", "policies": "policy_delete", "tokens": "token_revoke"}[kind]
        path = f"/v1/policies/{name}/db" if kind == "policies" else f"/v1/{kind}/{name}"
        self._send(Attempt(kind, action, _target(kind, name), self._id(), makes=False), "DELETE", path)

    def _send(self, attempt: Attempt, method: str, path: str, body: Any = None) -> bool:
        self._load.send(self._session, attempt, method, path, body)
        return attempt.acknowledged

    def _id(self) -> str:
        return f"{self._name}.{next(self._numbers)}"


def _target(kind: str, name: str) -> str:
    """Return what the trail calls it."""
    return f"{name}->db" if kind == "policies" else name
