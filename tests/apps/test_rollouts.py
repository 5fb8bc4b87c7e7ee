"""Rollouts as they happen: reports, deadlines, commands, crashes, agents that go, and what the trail tells of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from tests.apps.kit import HEALTH, Shop, service
from tests.conftest import ADMIN, Api, MakeApp
from tests.door import behind
from tests.test_faults import faulty
from yoq_web import Event, Veto, db, hookimpl
from yoq_web.apps import stepping
from yoq_web.apps.documents import CLIENT_LIMIT, fitting
from yoq_web.jsontext import dumps

THREE = (service("a", "img:1"), service("b", "img:1"), service("c", "img:1"))
NEW = (service("a", "img:2"), service("b", "img:2"), service("c", "img:2"))
CANARY = HEALTH | {"strategy": "canary", "parallelism": 2}


@pytest.fixture
def shop(make_app: MakeApp) -> Shop:
    """A cluster."""
    return Shop(make_app)


def test_a_failing_target_rolls_back_by_itself(shop: Shop) -> None:
    """A canary is ready, another target fails: all is as before, and the trail says that it was the system."""
    agents = [shop.join(), shop.join()]
    shop.apply(*THREE)
    answer = shop.apply(*NEW, rollout=CANARY)
    assert (answer["status"], answer["rollout_state"]) == ("in_progress", "starting")
    assert answer["rollout_checkpoint"]["batch_end"] == 1
    shop.report("a", "img:2", *agents)
    found = shop.app_status()
    assert (found["rollout_state"], found["completed_targets"], found["message"]) == ("rolling", 1, "apply in progress")
    assert [target["state"] for target in found["rollout_targets"]] == ["ready", "starting", "starting"]
    assert shop.running(*agents) == {"a": {"img:2"}, "b": {"img:1", "img:2"}, "c": {"img:1", "img:2"}}
    shop.report("c", "img:2", *agents, word="failed", reason="image_pull_failed")
    assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}, "c": {"img:1"}}
    found = shop.app_status()
    assert (found["status"], found["rollout_state"], found["failed_targets"]) == ("failed", "failed", 2)
    assert found["failure_details"][0]["reason"] == "image_pull_failed"
    assert shop.trail() == [
        ("api-token", "app_apply", "shop", "ok"),
        ("api-token", "app_apply", "shop", "ok"),
        ("system", "app_rollout_end", "shop", "ok"),
    ]
    entry = shop.operator.entries(1)[0]
    assert entry["actor_kind"] == "system"
    assert entry["details"] == {
        "release_id": answer["release_id"],
        "status": "failed",
        "rollout_state": "failed",
        "reverted": True,
        "message": "one or more rollout targets failed readiness checks",
    }


def test_commands_and_restarts(shop: Shop, make_app: MakeApp) -> None:
    """Pause, a new process, resume by another node, and the end; cancel at any step; nothing to command is a 404."""
    agents = [shop.join(), shop.join()]
    shop.apply(*THREE)
    shop.post("/shop/pause", status=404)
    release = shop.apply(*NEW, rollout=CANARY)["release_id"]
    assert shop.post("/shop/pause") == {
        "app_name": "shop",
        "release_id": release,
        "rollout_control_state": "paused",
    }
    shop.report("a", "img:2", *agents)
    shop.pulse(10_000)
    found = shop.app_status()
    assert (found["rollout_state"], found["rollout_control_state"], found["completed_targets"]) == (
        "blocked",
        "paused",
        1,
    )
    another = Api(make_app(YOQ_JOIN_TOKEN="j" * 32, YOQ_NODE="node-2"), ADMIN)
    assert shop.post("/shop/resume", api=another)["rollout_control_state"] == "active"
    shop.report("b", "img:2", *agents)
    shop.report("c", "img:2", *agents)
    assert shop.app_status()["status"] == "completed"
    assert shop.running(*agents) == {"a": {"img:2"}, "b": {"img:2"}, "c": {"img:2"}}
    shop.apply(*THREE, rollout=CANARY)
    assert shop.post("/shop/cancel")["rollout_control_state"] == "cancel_requested"
    found = shop.app_status()
    assert (found["status"], found["message"], found["rollout_control_state"]) == (
        "failed",
        "rollout canceled by operator",
        "active",
    )
    assert shop.running(*agents) == {"a": {"img:2"}, "b": {"img:2"}, "c": {"img:2"}}
    shop.post("/shop/resume", status=404)
    assert [entry[:2] for entry in shop.trail()[1:]] == [
        ("api-token", "app_apply"),
        ("api-token", "app_pause"),
        ("api-token", "app_resume"),
        ("system", "app_rollout_end"),
        ("api-token", "app_apply"),
        ("api-token", "app_cancel"),
        ("system", "app_rollout_end"),
    ]


def test_time_moves_rollouts_on(shop: Shop) -> None:
    """A delay ends and a deadline passes without anybody asking; what the pulse finds nothing to do for stays."""
    agent = shop.join(cpu_cores=8)
    shop.apply(*NEW[:2], rollout={"delay_between_batches": 60})
    assert shop.running(agent) == {"a": {"img:2"}}
    shop.pulse(50)
    assert shop.running(agent) == {"a": {"img:2"}}
    shop.pulse(61)
    assert shop.app_status()["status"] == "completed"
    assert shop.trail()[-1][:2] == ("system", "app_rollout_end")
    shop.apply(service("a", "img:3"), rollout=HEALTH | {"failure_action": "pause"})
    shop.pulse(15)
    assert shop.app_status()["status"] == "in_progress"
    shop.pulse(31)
    assert shop.app_status()["failure_details"][0]["reason"] == "readiness_timeout"
    assert shop.running(agent) == {"a": {"img:2"}, "b": {"img:2"}}


def test_an_agent_speaks_for_itself_alone(shop: Shop) -> None:
    """A report on another's assignment, or on none, is a 404 and changes nothing; a bad one is a 400."""
    mine, other = shop.join(), shop.join(cpu_cores=1)
    shop.apply(service("a"), rollout=HEALTH)
    assignment = shop.assigned(mine)[0]["id"]
    path = f"/v1/agents/{other}/assignments/{assignment}/status"
    assert shop.agents("POST", path, json={"status": "running"}).status_code == 404
    assert shop.assigned(mine)[0]["status"] == "pending"
    path = f"/v1/agents/{mine}/assignments/{assignment}/status"
    for bad in (
        {"status": "done"},
        {"status": "failed", "reason": "a\0"},
        {"status": "failed", "reason": "\u00e4" * 65},
    ):
        assert shop.agents("POST", path, json=bad).status_code == 400
    assert shop.agents("POST", path, json={"status": "running"}).get_json() == {"ok": True, "status": "running"}
    assert shop.app_status()["status"] == "completed"
    assert shop.operator("POST", path, json={"status": "failed"}).status_code == 401


def test_an_agent_that_goes_offline_loses_its_work(shop: Shop) -> None:
    """Its services are placed anew where the labels allow it, or wait; they do not come back with it."""
    first = shop.join(cpu_cores=8, labels="zone=a,gpu")
    shop.apply(service("a", required_labels="gpu"), service("b"))
    second = shop.join(labels="zone=a")
    shop.lose(first)
    assert shop.running(first, second) == {"b": {"img:1"}}
    entry = shop.operator.entries(1)[0]
    assert (entry["actor"], entry["action"], entry["target"]) == ("system", "app_move", first)
    assert entry["details"]["agent_status"] == "offline"
    assert [text.split()[0] for text in entry["details"]["moved"]] == ["shop/b"]
    assert [text.split()[0] for text in entry["details"]["waiting"]] == ["shop/a"]
    shop.pulse()
    third = shop.join(labels=" gpu , zone=b")
    shop.pulse()
    assert (shop.running(third), shop.running(second)) == ({"a": {"img:1"}}, {"b": {"img:1"}})
    shop.agents("POST", f"/v1/agents/{first}/heartbeat", json={})
    shop.pulse()
    assert shop.running(first) == {}
    assert [entry[1] for entry in shop.trail()] == ["app_apply", "app_move", "app_move"]


def test_a_draining_agent_gives_its_services_away(shop: Shop) -> None:
    """They move to others first; only then does it count as drained, and nothing new comes to it."""
    first = shop.join(cpu_cores=4)
    shop.apply(*THREE)
    shop.operator("POST", f"/v1/agents/{first}/drain")
    shop.pulse()
    assert len(shop.assigned(first)) == 3  # there is nowhere to go
    assert drained(shop) == [None]
    second = shop.join(cpu_cores=4)
    shop.pulse()
    assert (len(shop.assigned(first)), len(shop.assigned(second))) == (0, 3)
    assert drained(shop)[0] is not None
    assert shop.apply(service("d"), service("e"), app="other")["placed"] == 1
    moves = [entry for entry in shop.operator.entries() if entry["action"] == "app_move"]
    assert [(entry["target"], len(entry["details"]["moved"])) for entry in moves] == [(first, 3)]


def drained(shop: Shop) -> list[int | None]:
    """When each draining agent had nothing left."""
    return [row["drained_at"] for row in behind(shop.url, "SELECT drained_at FROM agents WHERE status = 'draining'")]


def test_a_lost_agent_does_not_end_a_rollout(shop: Shop) -> None:
    """A target whose agent is lost starts anew elsewhere, under the same deadline."""
    first = shop.join(cpu_cores=8)
    second = shop.join()
    shop.apply(service("a"), rollout=HEALTH)
    assignment = shop.assigned(first)[0]["id"]
    shop.lose(first)
    assert [item["id"] for item in shop.assigned(second)] == [assignment]
    path = f"/v1/agents/{first}/assignments/{assignment}/status"
    assert shop.agents("POST", path, json={"status": "failed"}).status_code == 404
    shop.report("a", "img:1", second)
    assert shop.app_status()["status"] == "completed"


def test_a_gang_follows_its_first_part(shop: Shop) -> None:
    """All parts of a gang know the address of the first one, also after that was placed anew."""
    agents = [shop.join(address=f"10.0.0.{number}:7000", gpu_count=2) for number in (1, 2)]
    mesh = {"world_size": 3, "gpus_per_rank": 1}
    assert shop.apply(service("train", gpu_mesh=mesh, cpu_limit=100))["placed"] == 3
    parts = [item for agent in agents for item in shop.assigned(agent)]
    assert sorted(item["gang_rank"] for item in parts) == [0, 1, 2]
    assert {item["gang_master_addr"] for item in parts} == {"10.0.0.1"}
    third = shop.join(address="10.0.0.3:7000", gpu_count=2)
    shop.lose(agents[0])
    parts = [item for agent in (agents[1], third) for item in shop.assigned(agent)]
    first = next(item for item in parts if item["gang_rank"] == 0)
    assert len(parts) == 3
    where = {agents[1]: "10.0.0.2", third: "10.0.0.3"}[first["agent_id"]]
    assert {item["gang_master_addr"] for item in parts} == {where}


def test_a_forgotten_agent_takes_nothing_with_it(shop: Shop) -> None:
    """When its row is removed before its services were moved, they are placed anew all the same."""
    first = shop.join(cpu_cores=8)
    shop.apply(service("a"))
    second = shop.join()
    behind(
        shop.url,
        "PRAGMA foreign_keys = ON" if shop.url.startswith("sqlite") else "SELECT 1",
        "DELETE FROM agents WHERE id = '" + first + "'",
    )
    shop.pulse()
    assert shop.running(second) == {"a": {"img:1"}}


def test_no_step_is_taken_twice(shop: Shop, make_app: MakeApp) -> None:
    """Agents that report all at once, through two nodes, end a rollout once."""
    agents = [shop.join(cpu_cores=8), shop.join(cpu_cores=8)]
    services = [service(name) for name in "abcdef"]
    shop.apply(*services, rollout=HEALTH | {"parallelism": 3})
    nodes = [shop.agents, Api(make_app(YOQ_JOIN_TOKEN=shop.agents.headers["Authorization"].split()[1]), None)]
    nodes[1].headers = shop.agents.headers
    for _ in range(2):
        waiting = [
            (agent, item["id"]) for agent in agents for item in shop.assigned(agent) if item["status"] == "pending"
        ]
        assert len(waiting) == 3
        with ThreadPoolExecutor(4) as threads:
            answers = threads.map(
                lambda given: nodes[given[0] % 2](
                    "POST", f"/v1/agents/{given[1][0]}/assignments/{given[1][1]}/status", json={"status": "running"}
                ),
                enumerate(waiting * 2),
            )
            assert {answer.status_code for answer in answers} == {200}
    found = shop.app_status()
    assert (found["status"], found["completed_targets"]) == ("completed", 6)
    assert [entry[1] for entry in shop.trail()] == ["app_apply", "app_rollout_end"]


class Strict:
    """Lets no rollout end."""

    allow = False

    @hookimpl
    def yoq_before_operation(self, event: Event) -> None:
        """Refuse until told otherwise."""
        if event.operation.name == "app_rollout_end" and not self.allow:
            raise Veto("not now")


def test_a_step_that_fails_is_left_alone_for_a_while(make_app: MakeApp) -> None:
    """The report that led to it is taken all the same; later the step is tried again."""
    strict = Strict()
    shop = Shop(lambda **settings: make_app(strict, **settings))
    agent = shop.join()
    shop.apply(service("a"), rollout=HEALTH)
    shop.report("a", "img:1", agent)
    shop.pulse()
    assert shop.app_status()["status"] == "in_progress"
    assert [entry[1::2] for entry in shop.trail()[1:]] == [("app_rollout_end", "denied")]
    strict.allow = True
    shop.pulse(20)
    assert shop.app_status()["status"] == "completed"
    assert [entry[1::2] for entry in shop.trail()[2:]] == [("app_rollout_end", "ok")]


def test_a_crash_between_two_steps_loses_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever took a report or a command and died has left the next step to be found due, by any process."""
    agents = [shop.join(), shop.join()]
    shop.apply(*THREE)
    shop.apply(*NEW, rollout=CANARY)

    def die(_number: int) -> None:
        raise SystemExit

    for word, done in (("report", 1), ("cancel", 0)):
        with monkeypatch.context() as patched:
            patched.setattr("yoq_web.apps.operations.go_on", die)
            patched.setattr("yoq_web.apps.reporting.go_on", die)
            with pytest.raises(SystemExit):
                shop.report("a", "img:2", *agents) if word == "report" else shop.post("/shop/cancel")
        shop.pulse()
        assert shop.app_status()["completed_targets"] == done
    assert shop.app_status()["message"] == "rollout canceled by operator"
    assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}, "c": {"img:1"}}


def test_a_fault_at_any_statement_of_a_step(shop: Shop) -> None:
    """Whatever statement of a step fails: it is not half done, and the next pulse takes it, once."""
    agents = [shop.join(), shop.join()]
    shop.apply(*THREE)
    with shop.app.app_context():
        engine = db.engine
    tried = 0
    with faulty(engine) as fault:
        # The odd statements on one database, the even ones on the other: they are the same.
        for number in range(1 if shop.url.startswith("sqlite") else 2, 60, 2):
            tried += 1
            shop.apply(*NEW, rollout=HEALTH | {"strategy": "blue_green"})
            for name in "ab":
                shop.report(name, "img:2", *agents)
            release = behind(shop.url, "SELECT number FROM rollouts WHERE status = 'in_progress'")[0]["number"]
            behind(shop.url, "UPDATE assignments SET status = 'failed' WHERE image = 'img:2' AND workload = 'c'")
            fault.arm(number)
            try:
                with shop.app.app_context():
                    stepping.advance(release)
            except Exception:  # noqa: BLE001 - any is the fault
                assert fault.heard >= number
            reached = fault.heard >= number
            fault.arm(None)
            behind(shop.url, f"UPDATE rollouts SET due_at = 0 WHERE status = 'in_progress' AND number = {release}")
            shop.pulse()
            assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}, "c": {"img:1"}}
            assert behind(shop.url, f"SELECT status FROM rollouts WHERE number = {release}") == [{"status": "failed"}]
            if not reached:
                break
        else:
            pytest.fail("the step never ended")
    assert number > 8
    entries = [entry for entry in shop.operator.entries() if entry["action"] == "app_rollout_end"]
    ended = [entry["details"]["release_id"] for entry in entries if entry["outcome"] == "ok"]
    assert len(ended) == len(set(ended)) == tried


def test_the_pulse_costs_one_statement(shop: Shop) -> None:
    """When nothing is due the pulse asks the database once; neither that nor a report reads a whole table."""
    agent = shop.join()
    shop.apply(service("a"))
    statements: list[str] = []
    with shop.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    shop.pulse(-10_000)
    asked = [text for text in statements if text.startswith("SELECT")]
    assert len(asked) == 1
    statements.clear()
    shop.report("a", "img:1", agent)
    asked += [text for text in statements if "assignments" in text]
    assert scanning(shop.url, asked) == []


def scanning(url: str, statements: list[str]) -> list[str]:
    """Those of the statements that read the whole table of assignments."""
    if not url.startswith("sqlite"):
        return []  # PostgreSQL does with whatever is small
    filled = {text: text.replace("?", "'x'") for text in statements}
    plans = {text: behind(url, f"EXPLAIN QUERY PLAN {filled[text]}") for text in statements}
    return [text for text, plan in plans.items() if any(row["detail"].startswith("SCAN assignments") for row in plan)]


def test_five_hundred_releases(shop: Shop) -> None:
    """Long histories stay within what yoq's client can take, and the lists come by index, not by all the rows."""
    shop.join()
    made = shop.apply(*THREE, rollout={"strategy": "blue_green"})
    columns = "app, trigger, source, manifest_hash, body, services, workers, crons, training_jobs, created_at"
    numbers = " UNION ALL ".join(f"SELECT {number} AS n" for number in range(2, 501))
    behind(
        shop.url,
        f"INSERT INTO releases (number, id, {columns}) "
        f"SELECT n, 'r' || n, {columns} FROM releases, ({numbers}) x WHERE number = 1",
        f"INSERT INTO rollouts (number, app, status, control, state, version) "
        f"SELECT n, app, status, control, state, 0 FROM rollouts, ({numbers}) x WHERE number = 1",
        "UPDATE apps SET newest = 500",
    )
    history = shop.operator("GET", "/v1/apps/shop/history?limit=500").get_json()
    assert (len(history), history[0]["id"], history[-1]["id"]) == (500, "r500", made["release_id"])
    assert [item["is_previous_successful"] for item in history[:3]] == [False, True, False]
    fit = fitting(history)
    assert len(dumps(fit).encode()) <= CLIENT_LIMIT
    assert len(fit) >= 40
    assert fit[0]["id"] == "r500"
    assert fitting(history[:2]) == history[:2]
    for query in (
        "SELECT number FROM releases WHERE app = 'shop' ORDER BY number DESC LIMIT 50",
        "SELECT number FROM rollouts WHERE due_at <= 1",
        "SELECT number FROM rollouts WHERE app = 'shop' AND status = 'in_progress'",
        "SELECT max(number) FROM rollouts WHERE app = 'shop' AND status = 'completed' AND number < 500",
    ):
        if shop.url.startswith("sqlite"):
            plan = behind(shop.url, f"EXPLAIN QUERY PLAN {query}")
        else:
            plan = behind(shop.url, "SET enable_seqscan = off", f"EXPLAIN {query}")
        told = " ".join(str(value) for row in plan for value in row.values())
        assert "SCAN r" not in told
        assert "Seq Scan" not in told
