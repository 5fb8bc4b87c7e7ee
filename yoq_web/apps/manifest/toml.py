"""yoq's manifest.toml, as the request document that the yoq CLI would send for it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from yoq_web.apps.manifest.fields import (
    ManifestError,
    durations,
    environment,
    gpu,
    gpu_mesh,
    integer,
    ports,
    strings,
    text,
    volumes,
)
from yoq_web.apps.manifest.services import health_check, http_routes, rollout, tls
from yoq_web.jsontext import dumps

Document = dict[str, Any]

RESTARTS = ("none", "always", "on_failure")

VARIABLE = re.compile(r"\$(?:\$|\{([^}]*)\})")


def request_body(content: str, app: str, variables: Mapping[str, str]) -> bytes:
    """The body of the apply request for a manifest's text. Raises ManifestError with what is wrong with it."""
    try:
        root = tomllib.loads(expanded(content, variables))
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"failed to parse TOML: {error}") from None
    services = [_service(name, table) for name, table in _tables(root, "service")]
    workers = [_worker(name, table) for name, table in _tables(root, "worker")]
    crons = [_cron(name, table) for name, table in _tables(root, "cron")]
    training = [_training(name, table) for name, table in _tables(root, "training")]
    if not (services or workers or crons or training):
        raise ManifestError("no services, workers, crons, or training jobs defined")
    document = {
        "app_name": app,
        "services": in_order(services, [str(worker["name"]) for worker in workers]),
        "workers": workers,
        "crons": crons,
        "training_jobs": training,
    }
    return dumps(document).encode()


def expanded(content: str, variables: Mapping[str, str]) -> str:
    """The text with `${NAME}` and `${NAME:-default}` replaced; `$$` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        name, _, default = found[1].partition(":-")
        return variables.get(name, default) if name else default

    return VARIABLE.sub(value, content)


def in_order(services: Sequence[Document], workers: Sequence[str]) -> list[Document]:
    """The services, each after those that it depends on. Raises ManifestError if that cannot be."""
    names = [str(service["name"]) for service in services]
    open_ends: dict[str, list[str]] = {}
    for service in services:
        for other in service["depends_on"]:
            if other == service["name"]:
                raise ManifestError(f"service '{other}' depends on itself")
            if other not in names and other not in workers:
                raise ManifestError(f"service '{service['name']}' depends on unknown service or worker '{other}'")
        open_ends[str(service["name"])] = [other for other in service["depends_on"] if other in names]
    by_name = dict(zip(names, services, strict=True))
    queue = [name for name in names if not open_ends[name]]
    for done in queue:
        for name in names:
            if done in open_ends[name]:
                open_ends[name] = [other for other in open_ends[name] if other != done]
                if not open_ends[name]:
                    queue.append(name)
    if len(queue) != len(names):
        raise ManifestError("circular dependency detected among services")
    return [by_name[name] for name in queue]


def _tables(root: Mapping[str, Any], kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, table) for name, table in _table(root, kind).items() if isinstance(table, dict)]


def _common(kind: str, name: str, table: Mapping[str, Any]) -> Document:
    image = text(table, "image")
    if image is None:
        raise ManifestError(f"{kind} '{name}' is missing required field 'image'")
    return {"name": name, "image": image, "command": strings(table, "command")}


def _where(table: Mapping[str, Any]) -> Document:
    folder = text(table, "working_dir")
    return ({} if folder is None else {"working_dir": folder}) | {"volumes": volumes(table)}


def _service(name: str, table: Mapping[str, Any]) -> Document:
    restart = text(table, "restart") or "none"
    if restart not in RESTARTS:
        raise ManifestError(
            f"service '{name}' has invalid restart policy '{restart}' (expected none, always, or on_failure)"
        )
    optional = {
        "health_check": health_check(name, table),
        "tls": tls(name, table),
        "http_routes": http_routes(name, table),
        "gpu": gpu(table),
        "gpu_mesh": gpu_mesh(table),
        "required_labels": labels(table),
    }
    return {
        **_common("service", name, table),
        "ports": ports(table),
        "env": environment(table),
        "depends_on": strings(table, "depends_on"),
        # yoq's own manifest knows neither limits nor labels; its server does.
        "cpu_limit": integer(table, "cpu_limit", 1000),
        "memory_limit_mb": integer(table, "memory_limit_mb", 256),
        **_where(table),
        "restart": restart,
        "rollout": rollout(name, table),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _worker(name: str, table: Mapping[str, Any]) -> Document:
    optional = {"gpu": gpu(table), "gpu_mesh": gpu_mesh(table), "required_labels": labels(table)}
    return {
        **_common("worker", name, table),
        "env": environment(table),
        "depends_on": strings(table, "depends_on"),
        **_where(table),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _cron(name: str, table: Mapping[str, Any]) -> Document:
    every = durations(table, "every", f"cron '{name}' has invalid schedule")
    if not every:
        raise ManifestError(f"cron '{name}' is missing required field 'every'")
    return {**_common("cron", name, table), "env": environment(table), **_where(table), "every": every}


def _training(name: str, table: Mapping[str, Any]) -> Document:
    gpus = integer(table, "gpus", 0)
    if gpus < 1:
        raise ManifestError(f"training '{name}' needs 'gpus' of at least 1")
    kind = text(table, "gpu_type")
    resources, faults = _table(table, "resources"), _table(table, "fault_tolerance")
    found: Document = {
        **_common("training", name, table),
        "env": environment(table),
        **_where(table),
        "gpus": gpus,
        **({} if kind is None else {"gpu_type": kind}),
        "cpu_limit": max(100, integer(resources, "cpu", 1000)),
        "memory_limit_mb": max(256, integer(resources, "memory_mb", 65536)),
        "ib_required": resources.get("ib_required") is True,
        "spare_ranks": max(0, integer(faults, "spare_ranks", 0)),
        "auto_restart": faults.get("auto_restart") is not False,
        "max_restarts": max(0, integer(faults, "max_restarts", 10)),
    }
    if "data" in table:
        data = _table(table, "data")
        if text(data, "dataset") is None:
            raise ManifestError(f"training '{name}' data section is missing required field 'dataset'")
        more = text(data, "preprocessing")
        found["data"] = {"dataset": text(data, "dataset"), "sharding": text(data, "sharding") or "file"} | (
            {} if more is None else {"preprocessing": more}
        )
    if "checkpoint" in table:
        kept = _table(table, "checkpoint")
        if text(kept, "path") is None:
            raise ManifestError(f"training '{name}' checkpoint section is missing required field 'path'")
        seconds = durations(kept, "interval", f"training '{name}' has invalid checkpoint interval")
        found["checkpoint"] = {
            "path": text(kept, "path"),
            "interval_secs": seconds or integer(kept, "interval_secs", 1800),
            "keep": max(1, integer(kept, "keep", 5)),
        }
    return found


def labels(table: Mapping[str, Any]) -> str | None:
    """The labels that an agent must have, as one text; None if there are none."""
    listed = table.get("required_labels")
    if isinstance(listed, list):
        listed = ",".join(map(str, listed))
    return listed if isinstance(listed, str) and listed else None


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}
