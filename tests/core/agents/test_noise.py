"""Whatever an agent sends: it is taken or refused with a 400, never a 5xx, on both databases."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeApp
from tests.core.service.test_fuzz import NASTY
from tests.support.agents import Cluster, registration

NUMBERS = st.one_of(st.integers(), st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, -(2**63), 1e300, float("nan")]))
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=40), st.lists(st.integers(), max_size=2))
FIELDS = (
    *("address", "cpu_cores", "memory_mb", "agent_api_port", "wg_public_key", "wg_listen_port", "role", "region"),
    *("labels", "gpu_count", "gpu_vram_mb", "gpu_model", "cpu_used", "memory_used_mb", "containers", "gpu_used"),
    *("gpu_health", "status", "reason"),
)


def test_noise_from_agents(make_app: MakeApp) -> None:
    """Bodies that broke services before, and fields of any type and size, on every route of the agents that writes."""
    cluster = Cluster(make_app)
    agent = cluster.join()
    cluster.operator("POST", "/apps/apply", json={"app_name": "a", "services": [{"name": "w", "image": "i"}]})
    [assignment] = cluster.agents("GET", f"/agents/{agent}/assignments").get_json()
    own = f"/agents/{agent}/assignments/{assignment['id']}/status"
    paths = [prefix + path for prefix in ("", "/v1") for path in (f"/agents/{agent}/heartbeat", own)]
    paths += ["/agents/register", "/v1/agents"]

    def send(body: bytes | str) -> None:
        for path in paths:
            answer = cluster.agents("POST", path, data=body)
            assert answer.status_code in (200, 201, 400, 413), (path, body, answer.text)

    @settings(
        max_examples=40,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
    def try_fields(fields: dict[str, Any]) -> None:
        send(json.dumps(registration() | fields))

    for body in NASTY:
        send(body)
    try_fields()
    assert cluster.operator("GET", "/agents").status_code == 200
