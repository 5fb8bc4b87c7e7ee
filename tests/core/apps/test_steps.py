"""The steps of rollouts: none twice, none lost by a crash or a fault, and what looking for them costs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from tests.conftest import Api, MakeApp
from tests.core.operations.test_faults import faulty
from tests.support.apps import CANARY, HEALTH, NEW, THREE, Shop, manifest, service
from tests.support.door import behind
from yoq_web import Event, Veto, db, hookimpl
from yoq_web.apps.rollout import controller


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
    shop.run_due_work()
    assert shop.app_status()["status"] == "in_progress"
    assert [entry[1::2] for entry in shop.trail()[1:]] == [("app_rollout_end", "denied")]
    strict.allow = True
    shop.run_due_work(20)
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
            patched.setattr("yoq_web.apps.operations.continue_rollout", die)
            patched.setattr("yoq_web.apps.agent_api.continue_rollout", die)
            with pytest.raises(AssertionError, match="internal error"):
                shop.report("a", "img:2", *agents) if word == "report" else shop.post("/shop/cancel")
        shop.run_due_work()
        assert shop.app_status()["completed_targets"] == done
    assert shop.app_status()["message"] == "rollout canceled by operator"
    assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}, "c": {"img:1"}}


def test_a_fault_at_any_statement_of_a_step(shop: Shop) -> None:
    """Whatever statement of a step fails: it is not half done, and whoever looks next takes it, once."""
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
                    controller.advance_rollout(release)
            except Exception:  # noqa: BLE001 - any is the fault
                assert fault.heard >= number
            reached = fault.heard >= number
            fault.arm(None)
            behind(shop.url, f"UPDATE rollouts SET due_at = 0 WHERE status = 'in_progress' AND number = {release}")
            shop.run_due_work()
            assert shop.running(*agents) == {"a": {"img:1"}, "b": {"img:1"}, "c": {"img:1"}}
            assert behind(shop.url, f"SELECT status FROM rollouts WHERE number = {release}") == [{"status": "failed"}]
            if not reached:
                break
        else:
            pytest.fail("the step never ended")
    assert number > 8
    entries = [entry for entry in shop.operator.entries() if entry["action"] == "app_rollout_end"]
    ended = [entry["details"]["release_id"] for entry in entries if (entry["reason"] or "").startswith("one or")]
    assert len(ended) == len(set(ended)) == tried


def test_looking_for_due_work_costs_one_statement(shop: Shop) -> None:
    """When nothing is due the database is asked once; neither that nor a report reads a whole table."""
    agent = shop.join()
    shop.apply(service("a"))
    statements: list[str] = []
    with shop.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    shop.run_due_work(-10_000)
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
    """Long histories are whole, and the lists come by index, not by all the rows."""
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


@pytest.mark.parametrize("backend", ["postgresql"])
def test_no_lock_is_taken_twice(shop: Shop) -> None:
    """Whatever gives out room on agents locks it, and asks for no lock that its transaction holds already."""
    held: list[object] = []
    twice: list[object] = []
    placing: list[bool] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: dict[str, object], *_: object) -> None:
        if "advisory_xact_lock" in statement:
            twice.extend(key for key in held if key == parameters["key"])
            held.append(parameters["key"])
            placing[-1] = True

    with shop.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    event.listen(engine, "begin", lambda _connection: held.clear())
    agents = [shop.join(cpu_cores=8), shop.join()]
    worker = {"workers": [service("job")]}
    for act in (
        lambda: shop.post("", manifest(service("a"), rollout=HEALTH) | worker),
        lambda: shop.report("a", "img:1", *agents),
        lambda: shop.post("/shop/workers/job/run"),
        lambda: shop.operator("POST", "/deploy", json=manifest(service("b"))),
        lambda: shop.lose(agents[0]),
    ):
        placing.append(False)
        act()
    assert (placing, twice) == ([True] * 5, [])
