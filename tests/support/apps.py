"""What the tests of apps share: a cluster with agents that take up and report, an operator who applies, and a clock."""

from __future__ import annotations

import time
from typing import Any

from tests.conftest import Api
from tests.support.agents import Cluster
from yoq_web.agents import liveness
from yoq_web.apps.rollout import rescheduler

HEALTH = {"health_check_timeout": 30}
"""A rollout that waits for readiness."""


def service(name: str, image: str = "img:1", **more: Any) -> dict[str, Any]:
    """A service of a manifest."""
    return {"name": name, "image": image, **more}


def manifest(*services: dict[str, Any], app: str = "shop", rollout: dict[str, Any] | None = None) -> dict[str, Any]:
    """A manifest, all of whose services roll out in this way."""
    ruled = [item if rollout is None else {**item, "rollout": rollout} for item in services]
    return {"app_name": app, "services": ruled}


class Shop(Cluster):
    """A cluster in which apps run."""

    def post(self, path: str, body: Any = None, status: int = 200, api: Api | None = None) -> dict[str, Any]:
        """Post to a route of apps; returns the answer, which has this status."""
        answer = (api or self.operator)("POST", f"/v1/apps{path}", json=body)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.get_json()
        return found

    def apply(self, *services: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
        """Apply a manifest of these services."""
        return self.post("", manifest(*services, **more), status)

    def app_status(self, app: str = "shop") -> dict[str, Any]:
        """An app as its operator sees it."""
        answer = self.operator("GET", f"/v1/apps/{app}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found

    def assigned(self, agent: str) -> list[dict[str, Any]]:
        """What an agent is to run."""
        answer = self.agents("GET", f"/v1/agents/{agent}/assignments")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.get_json()
        return found

    def running(self, *agents: str) -> dict[str, set[str]]:
        """The images of each service that is to run on these agents."""
        found: dict[str, set[str]] = {}
        for agent in agents:
            for item in self.assigned(agent):
                if item["status"] in ("pending", "running"):
                    found.setdefault(item["workload_name"], set()).add(item["image"])
        return found

    def report(self, name: str, image: str, *agents: str, word: str = "running", reason: str | None = None) -> None:
        """Have the agent that runs this image of a service say how it fares."""
        for agent in agents:
            for item in self.assigned(agent):
                if (item["workload_name"], item["image"]) == (name, image):
                    path = f"/v1/agents/{agent}/assignments/{item['id']}/status"
                    answer = self.agents("POST", path, json={"status": word, "reason": reason})
                    assert answer.status_code == 200, answer.text

    def run_due_work(self, after: int = 0) -> None:
        """Do what is due of apps so many seconds from now."""
        with self.app.app_context():
            rescheduler.run_due_work_at(int(time.time()) + after)

    def lose(self, agent: str) -> None:
        """Let an agent have been silent for too long, and do what is due."""
        self.age(agent, 100)
        with self.app.app_context():
            liveness.expire_agents_at(int(time.time()))
        self.run_due_work()

    def trail(self) -> list[tuple[str, str, str, str]]:
        """(actor, action, target, outcome) of all entries about apps, the oldest first."""
        return [
            (entry["actor"], entry["action"], entry["target"], entry["outcome"])
            for entry in reversed(self.operator.entries())
            if entry["action"].startswith("app_")
        ]


THREE = (service("a", "img:1"), service("b", "img:1"), service("c", "img:1"))
NEW = (service("a", "img:2"), service("b", "img:2"), service("c", "img:2"))
CANARY = HEALTH | {"strategy": "canary", "parallelism": 2}
