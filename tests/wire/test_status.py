"""yoq's metrics for Prometheus and its service discovery, of what is known here: how many of each service run."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Api, MakeApp
from tests.support.apps import Shop, service

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

YOQS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def run_some(make_app: MakeApp) -> Shop:
    """A cluster with `web` in two apps, running in one of them, and `db`, which runs."""
    shop = Shop(make_app)
    agent = shop.join()
    shop.apply(service("web"), service("db"))
    shop.apply(service("web"), app="other")
    for item in shop.assigned(agent):
        if (item["app_name"], item["workload_name"]) != ("other", "web"):
            path = f"/v1/agents/{agent}/assignments/{item['id']}/status"
            assert shop.agents("POST", path, json={"status": "running"}).status_code == 200
    return shop


def scrape(api: Api) -> dict[tuple[str, ...], float]:
    """What Prometheus reads: each sample by its name and the values of its labels."""
    answer = api("GET", "/v1/metrics?format=prometheus")
    assert (answer.status_code, answer.content_type) == (200, YOQS_TYPE)
    families = list(text_string_to_metric_families(answer.text))
    assert {family.type for family in families} == {"gauge"}
    found = [(sample.name, *sample.labels.values()) for family in families for sample in family.samples]
    assert len(set(found)) == len(found)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_prometheus_reads_how_services_are(make_app: MakeApp) -> None:
    """Under yoq's names, with yoq's media type; services of one name, in whichever apps, are one."""
    assert scrape(run_some(make_app).operator) == {
        ("yoq_service_endpoints_total", "db", "total"): 1,
        ("yoq_service_endpoints_total", "db", "healthy"): 1,
        ("yoq_service_endpoints_total", "web", "total"): 2,
        ("yoq_service_endpoints_total", "web", "healthy"): 1,
        ("yoq_service_eligible_endpoints", "db"): 1,
        ("yoq_service_eligible_endpoints", "web"): 1,
        ("yoq_service_degraded", "db"): 0,
        ("yoq_service_degraded", "web"): 1,
        ("yoq_service_zero_backends_total", "db"): 0,
        ("yoq_service_zero_backends_total", "web"): 0,
    }


def test_prometheus_reads_that_there_are_none(make_app: MakeApp) -> None:
    """Without services the families are there, without samples; nothing is made up."""
    operator = Api(make_app())
    assert scrape(operator) == {}
    assert "# TYPE yoq_service_endpoints_total gauge" in operator("GET", "/v1/metrics?format=prometheus").text


def test_prometheus_takes_more_than_yoqs_clients(make_app: MakeApp) -> None:
    """What is too long for yoq's clients, which send no User-Agent, is an error for them alone."""
    shop = Shop(make_app)
    shop.join(cpu_cores=100)
    for app in range(2):
        names = [f"{app}-{number}-{'x' * 100}" for number in range(60)]
        shop.apply(*(service(name, cpu_limit=1, memory_limit_mb=1) for name in names), app=f"app-{app}")
    taken = shop.operator("GET", "/v1/metrics?format=prometheus")
    assert (taken.status_code, len(taken.text) > 64 * 1024) == (200, True)
    shop.operator.client.environ_base.pop("HTTP_USER_AGENT")
    assert shop.operator("GET", "/v1/metrics?format=prometheus").status_code == 500


@pytest.mark.parametrize("mode", ["service_discovery", "service_rollout"])
def test_service_discovery_is_an_object(make_app: MakeApp, mode: str) -> None:
    """In yoq's order of members; nothing of it runs here, and the degraded services are those that lack parts."""
    answer = run_some(make_app).operator("GET", f"/v1/status?mode={mode}")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    found = answer.get_json()
    assert list(found) == [
        *("mode", "flags", "components", "health_checker", "l7_proxy", "listener", "control_plane", "steering", "audit")
    ]
    assert found["audit"]["degraded_services"] == ["web"]
    for part in ("health_checker", "l7_proxy", "listener", "control_plane", "steering", "audit"):
        assert found[part]["running"] is False
    assert not any(found["flags"].values())
    assert found["l7_proxy"]["routes"] == 0


def test_what_no_agent_reports_is_empty(make_app: MakeApp) -> None:
    """The other modes have yoq's types, and nothing in them."""
    operator = Api(make_app())
    for query, empty in (("mode=pairs", "[]"), ("mode=storage_io", "[]"), ("mode=gpu", '{"gpu_metrics":[]}')):
        answer = operator("GET", f"/v1/metrics?{query}")
        assert (answer.status_code, answer.content_type, answer.text) == (200, "application/json", empty)
