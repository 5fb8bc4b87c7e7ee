"""Manifests: request documents by yoq's rules, and manifest.toml as yoq's CLI would send it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from yoq_web import is_plain_text
from yoq_web.apps.manifest.document import (
    LARGEST,
    RolloutPolicy,
    combine_policies,
    find_worker,
    read_manifest,
)
from yoq_web.apps.manifest.fields import ManifestError
from yoq_web.apps.manifest.toml import make_request_body


def services(*found: Any, **more: Any) -> bytes:
    """A document with these services."""
    return json.dumps({"app_name": "shop", "services": list(found), **more}).encode()


def test_what_is_usable() -> None:
    """A service without an image or with a refused one is skipped, fields of other types count as absent.

    A command may be any text that can be stored: nginx's own has a semicolon.
    """
    read_ones = read_manifest(
        services(
            {"name": "a", "image": "i"},
            {"name": "b"},
            {"name": "c", "image": "it's"},
            {"name": "c", "image": 7},
            {"name": "d", "image": "i", "command": "\ud800"},
            {"name": "e", "image": "i", "command": ["nginx", "-g", "daemon off;", "it's \"\\", "x" * 300]},
            {
                "image": "j",
                "command": ["x", "y z"],
                "cpu_limit": 1.9,
                "memory_limit_mb": "7",
                "required_labels": " x, y,",
            },
            "nothing",
            {"name": "f", "image": "i", "cpu_limit": 10**30, "gang_world_size": -1, "health_check": {"kind": "tcp"}},
            {"name": "a", "image": "later"},
        )
    )
    assert read_ones.count("service") == 9
    found = {item.name: item for item in read_ones.services}
    assert list(found) == ["e", "", "f", "a"]
    assert found["e"].command == "nginx -g daemon off; it's \"\\ " + "x" * 300
    assert (found[""].command, found[""].cpu, found[""].memory_mb, found[""].labels) == ("x y z", 1, 256, ("x", "y"))
    assert (found["f"].cpu, found["f"].ranks, found["f"].health_check) == (LARGEST, 0, '{"kind":"tcp"}')
    assert found["a"].image == "later"


def test_the_policy_of_an_app() -> None:
    """The strongest strategy, the smallest batches, the longest waits; one that says pause has its way."""
    assert combine_policies([]) == RolloutPolicy()
    assert combine_policies(
        [RolloutPolicy("canary", 3, 5), RolloutPolicy("rolling", 2, 1, "pause", 9)]
    ) == RolloutPolicy("canary", 2, 5, "pause", 9)
    read_one = read_manifest(
        services({"image": "i", "rollout": {"strategy": 7, "parallelism": "x", "delay_between_batches": 2.5}})
    )
    assert read_one.policy == RolloutPolicy(delay=2)


def test_names_and_workers() -> None:
    """Names are yoq's plain text; a worker is found by its name, also with the CLI's way of asking for GPUs."""
    names = ("a b", "ä" * 128, "", "ä" * 129, "a'b", "a;b", "a\tb", "\ud800")
    assert [is_plain_text(name) for name in names] == [True, True, *[False] * 6]
    body = services(workers=[{"name": "w", "image": "i", "gpu": {"count": 2, "model": "H100"}}, {"name": "x"}])
    worker = find_worker(body, "w")
    assert worker is not None
    assert (worker.kind, worker.gpus, worker.gpu_model) == ("worker", 2, "H100")
    assert find_worker(body, "x") is find_worker(b"[]", "w") is None


TOML = """
[service.web]
image = "nginx:${TAG:-1}"
command = ["sh", "-c", "echo $$HOME"]
ports = ["80:8080"]
env = ["A=${A}", "B=x=y"]
depends_on = ["db", "migrate"]
working_dir = "/app"
volumes = ["./src:/app", "data:/var"]
restart = "always"
required_labels = ["zone=a", "ssd"]
[service.web.health_check]
type = "http"
path = "/health"
port = 8080
[service.web.rollout]
strategy = "canary"
parallelism = 2
delay_between_batches = "1m"
health_check_timeout = "20s"
[service.web.http_proxy]
host = "demo.local"
[service.db]
image = "postgres"
[worker.migrate]
image = "app"
[cron.clean]
image = "app"
every = "1h"
[training.fine]
image = "t"
gpus = 8
[volume.data]
"""

SENT = (
    '{"app_name":"shop","services":[{"name":"db","image":"postgres","command":[],"ports":[],"env":[],"depends_on":[],'
    '"cpu_limit":1000,"memory_limit_mb":256,"volumes":[],"restart":"none","rollout":{"strategy":"rolling",'
    '"parallelism":1,"delay_between_batches":0,"failure_action":"rollback","health_check_timeout":0},"http_routes":[]},'
    '{"name":"web","image":"nginx:1","command":["sh","-c","echo $HOME"],'
    '"ports":[{"host_port":80,"container_port":8080}],"env":["A=1","B=x=y"],"depends_on":["db","migrate"],"cpu_limit":1000,"memory_limit_mb":256,"working_dir":"/app",'
    '"volumes":[{"source":"./src","target":"/app","kind":"bind"},{"source":"data","target":"/var","kind":"named"}],'
    '"restart":"always","rollout":{"strategy":"canary","parallelism":2,"delay_between_batches":60,'
    '"failure_action":"rollback","health_check_timeout":20},"health_check":{"kind":"http","path":"/health","port":8080,'
    '"interval":10,"timeout":5,"retries":3,"start_period":0},"http_routes":[{"name":"default","host":"demo.local",'
    '"path_prefix":"/","retries":0,"connect_timeout_ms":1000,"request_timeout_ms":5000,"http2_idle_timeout_ms":30000,'
    '"preserve_host":true,"retry_on_5xx":true,"circuit_breaker_threshold":3,"circuit_breaker_timeout_ms":30000,'
    '"match_methods":[],"match_headers":[],"backend_services":[{"service_name":"web","weight":100}]}],'
    '"required_labels":"zone=a,ssd"}],"workers":[{"name":"migrate","image":"app","command":[],"env":[],"depends_on":[],'
    '"volumes":[]}],"crons":[{"name":"clean","image":"app","command":[],"env":[],"volumes":[],"every":3600}],'
    '"training_jobs":[{"name":"fine","image":"t","command":[],"env":[],"volumes":[],"gpus":8,"cpu_limit":1000,'
    '"memory_limit_mb":65536,"ib_required":false,"spare_ranks":0,"auto_restart":true,"max_restarts":10}]}'
)


def test_toml_is_sent_as_yoq_sends_it() -> None:
    """Byte for byte: key order, defaults, variables, services after those that they depend on."""
    assert make_request_body(TOML, "shop", {"A": "1"}).decode() == SENT


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("x = ", "failed to parse TOML"),
        ("[volume.x]", "no services, workers, crons, or training jobs defined"),
        ("[service.a]", "service 'a' is missing required field 'image'"),
        ("[service.a]\nimage='i'\nports=['x:1']", "invalid port mapping: 'x:1'"),
        ("[service.a]\nimage='i'\nenv=['secret']", "invalid env var: each must be KEY=VALUE"),
        ("[service.a]\nimage='i'\nvolumes=['x']", "invalid volume mount: 'x'"),
        ("[service.a]\nimage='i'\nrestart='x'", "service 'a' has invalid restart policy 'x'"),
        ("[service.a]\nimage='i'\ndepends_on=['a']", "service 'a' depends on itself"),
        ("[service.a]\nimage='i'\ndepends_on=['b']", "service 'a' depends on unknown service or worker 'b'"),
        (
            "[service.a]\nimage='i'\ndepends_on=['b']\n[service.b]\nimage='i'\ndepends_on=['a']",
            "circular dependency detected among services",
        ),
        (
            "[service.a]\nimage='i'\n[service.a.rollout]\nstrategy='x'",
            "service 'a' has unsupported rollout strategy 'x'",
        ),
        (
            "[service.a]\nimage='i'\n[service.a.rollout]\ndelay_between_batches='5'",
            "service 'a' has invalid rollout delay",
        ),
        (
            "[service.a]\nimage='i'\n[service.a.health_check]\ntype='http'",
            "service 'a' http health_check is missing 'path'",
        ),
        ("[service.a]\nimage='i'\n[service.a.tls.acme]\nemail='x'", "service 'a' tls.domain is required"),
        (
            "[service.a]\nimage='i'\n[service.a.http_proxy]",
            "service 'a' http route 'default' is missing required field",
        ),
        ("[cron.a]\nimage='i'", "cron 'a' is missing required field 'every'"),
        ("[training.a]\nimage='i'", "training 'a' needs 'gpus' of at least 1"),
    ],
)
def test_a_bad_manifest_is_explained(content: str, error: str) -> None:
    """Whatever yoq's CLI would refuse is refused, and what is wrong is said without values that may be secret."""
    with pytest.raises(ManifestError) as found:
        make_request_body(content, "shop", {})
    assert str(found.value).startswith(error)
