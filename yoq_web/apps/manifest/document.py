"""The request document of apply, dry-run and deploy: what it says, as plain values (yoq's rules and error texts)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from yoq_web.jsontext import dumps
from yoq_web.names import is_plain_text, is_storable

Strategy = Literal["rolling", "canary", "blue_green"]
FailureAction = Literal["rollback", "pause"]
Kind = Literal["service", "worker", "cron", "training_job"]

ARRAYS: Mapping[Kind, str] = {
    "service": "services",
    "worker": "workers",
    "cron": "crons",
    "training_job": "training_jobs",
}
"""The document's arrays by the kind of workload in them, in yoq's order."""

STRENGTH: Sequence[Strategy] = ("rolling", "canary", "blue_green")
"""The strategies, the weakest first: an app rolls out by the strongest of its services'."""

LARGEST = 2**31 - 1
"""Numbers are cut to this: beyond it lies nothing that could be placed, and not every database could store it."""


class ManifestRefused(Exception):
    """The document cannot be applied; the text is yoq's, `detail` may say more."""

    def __init__(self, text: str, detail: str | None = None) -> None:
        super().__init__(text)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How an app rolls out. `delay` between two batches and `timeout` for readiness are seconds, 0 for none."""

    strategy: Strategy = "rolling"
    parallelism: int = 1
    delay: int = 0
    failure_action: FailureAction = "rollback"
    timeout: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """Something to run. `cpu` is in thousandths of a core; a gang (`ranks` > 0) runs as many parts, or none."""

    kind: Literal["service", "worker"]
    name: str
    image: str
    command: str = ""
    cpu: int = 1000
    memory_mb: int = 256
    labels: tuple[str, ...] = ()
    health_check: str | None = None
    gpus: int = 0
    gpu_model: str | None = None
    gpu_vram_mb: int = 0
    ranks: int = 0
    master_port: int = 29500

    @property
    def parts(self) -> int:
        """How many assignments it takes."""
        return self.ranks or 1


@dataclass(frozen=True, slots=True)
class AppManifest:
    """A request document. `services` are those that can be placed, `objects` all the objects there are, by kind."""

    app: str | None
    services: tuple[Workload, ...]
    policy: RolloutPolicy
    objects: Mapping[Kind, tuple[Mapping[str, Any], ...]] = field(repr=False)

    def count(self, kind: Kind) -> int:
        """Count the objects of a kind, usable or not."""
        return len(self.objects[kind])


def hash_manifest(body: bytes) -> str:
    """Compute the hash of a document: of its bytes as they were received."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def find_app_name(body: bytes) -> str | None:
    """Find the app that a document names, whatever else is wrong with it; None if it names none."""
    return _find_app(parse_body(body))


def read_manifest(body: bytes, *, named: bool = True) -> AppManifest:
    """Read the manifest in a request's body. With `named` it must say which app it is.

    Raises ManifestRefused with yoq's text.
    """
    if not body:
        raise ManifestRefused("missing request body")
    document = parse_body(body)
    app = _find_app(document)
    if named and app is None:
        raise ManifestRefused("missing app_name")
    objects = {kind: _list_objects(document.get(array)) for kind, array in ARRAYS.items()}
    # Of two services of one name the later counts: they would take each other's place for ever.
    services: dict[str, Workload] = {}
    policies = []
    for found in objects["service"]:
        service = _read_workload("service", found)
        if service is not None:
            policies.append(_read_policy(found.get("rollout")))
            services.pop(service.name, None)
            services[service.name] = service
    if not any(objects.values()):
        raise ManifestRefused("no services to deploy")
    return AppManifest(app, tuple(services.values()), combine_policies(policies), objects)


def find_worker(body: bytes, name: str) -> Workload | None:
    """Find the worker of that name in a stored document; None if there is none that can be run."""
    for found in _list_objects(parse_body(body).get("workers")):
        if found.get("name") == name:
            return _read_workload("worker", found)
    return None


def combine_policies(policies: Sequence[RolloutPolicy]) -> RolloutPolicy:
    """Combine the policies of an app's services to the app's: the most careful in each respect."""
    if not policies:
        return RolloutPolicy()
    return RolloutPolicy(
        strategy=max((policy.strategy for policy in policies), key=STRENGTH.index),
        parallelism=min(policy.parallelism for policy in policies),
        delay=max(policy.delay for policy in policies),
        failure_action="pause" if any(policy.failure_action == "pause" for policy in policies) else "rollback",
        timeout=max(policy.timeout for policy in policies),
    )


def split_labels(text: object) -> tuple[str, ...]:
    """List the items of a comma-separated text, without blanks around them."""
    return tuple(item for part in text.split(",") if (item := part.strip())) if isinstance(text, str) else ()


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a document; what is no JSON object has no fields, and is refused for the first that is missing."""
    try:
        document = json.loads(body, parse_constant=_refuse_constant, parse_float=_read_float)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _read_float(text: str) -> float:
    # Of a number beyond all bounds Python makes infinity, which JSON cannot write.
    value = float(text)
    return value if math.isfinite(value) else math.copysign(LARGEST, value)


def _find_app(document: Mapping[str, Any]) -> str | None:
    for key in ("app_name", "volume_app"):
        if isinstance(name := document.get(key), str) and name:
            return name
    return None


def _list_objects(array: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(item for item in array if isinstance(item, dict)) if isinstance(array, list) else ()


def _read_workload(kind: Literal["service", "worker"], found: Mapping[str, Any]) -> Workload | None:
    """Read a service or worker; None if its image is none that yoq would take, or its command cannot be stored."""
    image, command, name = found.get("image"), _read_command(found.get("command")), found.get("name")
    # yoq takes no quotes and semicolons in a command either, and drops such a service without a word.
    if not (isinstance(image, str) and is_plain_text(image) and is_storable(command)):
        return None
    if name is not None and not (isinstance(name, str) and is_storable(name)):
        return None
    # The CLI nests what the server's own documents keep flat.
    gpu, mesh = _read_object(found.get("gpu")), _read_object(found.get("gpu_mesh"))
    ranks = max(0, _read_integer(found.get("gang_world_size"), _read_integer(mesh.get("world_size"), 0)))
    per_rank = max(1, _read_integer(found.get("gpus_per_rank"), _read_integer(mesh.get("gpus_per_rank"), 1)))
    gpus = max(0, _read_integer(found.get("gpu_limit"), _read_integer(gpu.get("count"), 0)))
    model = found.get("gpu_model", gpu.get("model"))
    vram = _read_integer(found.get("gpu_vram_min_mb"), _read_integer(gpu.get("vram_min_mb"), 0))
    return Workload(
        kind=kind,
        name=name or "",
        image=image,
        command=command,
        cpu=max(0, _read_integer(found.get("cpu_limit"), 1000)),
        memory_mb=max(0, _read_integer(found.get("memory_limit_mb"), 256)),
        labels=split_labels(found.get("required_labels")),
        health_check=_read_health_check(found.get("health_check")),
        gpus=per_rank if ranks else gpus,
        gpu_model=model if isinstance(model, str) and model else None,
        gpu_vram_mb=max(0, vram),
        ranks=ranks,
        master_port=min(65535, max(1, _read_integer(mesh.get("master_port"), 29500))),
    )


def _read_health_check(value: object) -> str | None:
    """Write a health check as text, as the agents get it; None if there is none that could be sent."""
    text = dumps(value) if isinstance(value, dict) else ""
    return text if text and is_storable(text) else None


def _read_command(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return value if isinstance(value, str) else ""


def _read_policy(found: object) -> RolloutPolicy:
    rollout = _read_object(found)
    strategy = rollout.get("strategy")
    action = rollout.get("failure_action")
    parallelism = _read_integer(rollout.get("parallelism"), 1)
    delay = _read_integer(rollout.get("delay_between_batches"), 0)
    timeout = _read_integer(rollout.get("health_check_timeout"), 0)
    # A field of another type is no field at all to yoq.
    strategy = strategy if isinstance(strategy, str) else "rolling"
    action = action if isinstance(action, str) else "rollback"
    known = strategy in STRENGTH and action in ("rollback", "pause")
    if not known or parallelism < 1 or delay < 0 or timeout < 0:
        raise ManifestRefused("invalid rollout config")
    return RolloutPolicy(cast("Strategy", strategy), parallelism, delay, cast("FailureAction", action), timeout)


def _read_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_integer(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    if not -LARGEST <= value <= LARGEST:
        return LARGEST if value > 0 else -LARGEST
    return int(value)
