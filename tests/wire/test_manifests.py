"""Manifests, and the hash of what yoq's own CLI (0.2.0) makes of each: `yoq up --dry-run` printed them."""

from __future__ import annotations

import pytest

from yoq_web.apps.manifest.document import hash_manifest
from yoq_web.apps.manifest.toml import make_request_body

MANIFESTS = {
    "a service": (
        "51d977e948aa8fbaef2913e1b5cf94a867a7423c47a10c55dfbc1ca30488569a",
        """\
[service.a]
image = "a:${NOPE:-7}"
command = ["nginx", "-g", "daemon off;", "it's"]
ports = ["8080:80", "0:53"]
env = ["A=b c", "X=\\"q\\"", "N=x\\ny", "B=a\\\\b", "K=ä", "D=$$X", "E=${NOPE}"]
volumes = ["data:/var/lib", "./x:/y", "/abs:/z:ro"]
working_dir = "/app"
restart = "on_failure"
[service.a.health_check]
type = "grpc"
port = 80
service = "x.y"
retries = 9
[service.a.rollout]
strategy = "canary"
parallelism = 3
delay_between_batches = "1h"
failure_action = "pause"
health_check_timeout = "90s"
[service.a.gpu]
count = 2
model = "H100"
vram_min_mb = 1000
[service.a.gpu_mesh]
world_size = 4
gpus_per_rank = 2
master_port = 2950
[volume.data]
""",
    ),
    "health by command": (
        "2a2f09a5b44603a11027457ca3adf3d40528cc8d93362d5a47df5d58f062b789",
        """\
[service.a]
image = "a:1"
[service.a.health_check]
type = "exec"
command = ["sh", "-c", "x"]
start_period = 1
""",
    ),
    "a route": (
        "c5df97230b4dd9918ddc9036f0e4c26d5079de5b798b2e9847e899516fc32fb4",
        """\
[service.a]
image = "a:1"
[service.a.http_proxy]
host = "h.x"
path_prefix = "/p"
rewrite_prefix = "/q"
retries = 5
connect_timeout_ms = 1
request_timeout_ms = 2
http2_idle_timeout_ms = 3
preserve_host = false
retry_on_5xx = false
circuit_breaker_threshold = 1
circuit_breaker_timeout_ms = 9
match_methods = ["GET", "POST"]
match_headers = ["X-A=b c", "y=1"]
backend_services = ["a=90", "b=10"]
mirror_service = "c"
[service.b]
image = "b:1"
[service.c]
image = "c:1"
""",
    ),
    "routes": (
        "a06ddc141fa6b42237f61ae6c760ec9e0c4c3c53b365d87d887df6a7e7ba4b7e",
        """\
[service.a]
image = "a:1"
[service.a.http_routes.one]
host = "x.y"
[service.a.http_routes.two]
host = "x.z"
""",
    ),
    "certificates": (
        "6eefea5042a79de812bb43e2d0f00453795a8ecf015ebfa21d4838b250460529",
        """\
[service.a]
image = "a:1"
[service.a.tls]
domain = "x.example.com"
[service.a.tls.acme]
email = "a@b.c"
challenge = "dns-01"
staging = true
[service.a.tls.acme.dns]
provider = "exec"
hook = ["/bin/h"]
secrets = ["a=b"]
config = ["c=d"]
[service.b]
image = "b"
[service.b.tls]
domain = "y.example.com"
""",
    ),
    "the rest": (
        "ba610ad03eb60728557c023478d81c061c33a84eaec9eebc7122d629a50eb653",
        """\
[service.m]
image = "m"
depends_on = ["z", "w"]
[service.z]
image = "z"
[worker.w]
image = "w"
volumes = ["/a:/b"]
[worker.w.gpu]
count = 1
[worker.w.gpu_mesh]
world_size = 2
[cron.c]
image = "c"
every = "30m"
env = ["A=1"]
working_dir = "/w"
""",
    ),
    "training": (
        "218583085c7eacf20bfeb7fd728e4d6a5cfe4baad1dfa17e89a31d91e997df46",
        """\
[training.t]
image = "t:1"
command = ["python", "x.py"]
gpus = 8
gpu_type = "H100"
[training.t.data]
dataset = "/d"
sharding = "none"
preprocessing = "tok"
[training.t.checkpoint]
path = "/c"
interval = "30m"
keep = 5
[training.t.resources]
cpu = 16000
memory_mb = 1024
ib_required = true
[training.t.fault_tolerance]
spare_ranks = 2
auto_restart = false
max_restarts = 1
""",
    ),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_is_what_yoqs_own_cli_makes_of_it(what: str) -> None:
    """Byte for byte, whatever it describes: an app applied by one program is unchanged to the other."""
    expected, content = MANIFESTS[what]
    assert hash_manifest(make_request_body(content, "shop", {})) == f"sha256:{expected}"
