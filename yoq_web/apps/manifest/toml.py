"""yoq's manifest.toml, as the request document that the yoq CLI would send for it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from yoq_web.apps.manifest.document import LARGEST
from yoq_web.apps.manifest.fields import (
    ManifestError,
    read_bounded,
    read_duration,
    read_environment,
    read_gpu,
    read_gpu_mesh,
    read_integer,
    read_ports,
    read_strings,
    read_text,
    read_volumes,
)
from yoq_web.apps.manifest.keys import find_mistakes
from yoq_web.apps.manifest.services import read_health_check, read_http_routes, read_rollout, read_tls
from yoq_web.jsontext import dumps
from yoq_web.names import is_plain_text

Document = dict[str, Any]

RESTARTS = ("none", "always", "on_failure")

VARIABLE = re.compile(r"\$(?:\$|\{([^}]*)\})")


def make_request_body(content: str, app: str, variables: Mapping[str, str]) -> bytes:
    """Make the body of the apply request for a manifest's text. Raises ManifestError with what is wrong with it."""
    root = _parse(content, variables)
    services = [_read_service(name, table) for name, table in _list_tables(root, "service")]
    workers = [_read_worker(name, table) for name, table in _list_tables(root, "worker")]
    crons = [_read_cron(name, table) for name, table in _list_tables(root, "cron")]
    training = [_read_training(name, table) for name, table in _list_tables(root, "training")]
    if not (services or workers or crons or training):
        raise ManifestError("no services, workers, crons, or training jobs defined")
    document = {
        "app_name": app,
        "services": sort_services(services, [str(worker["name"]) for worker in workers]),
        "workers": workers,
        "crons": crons,
        "training_jobs": training,
    }
    return dumps(document).encode()


def list_mistakes(content: str, variables: Mapping[str, str]) -> list[str]:
    """List what of a manifest's text would be passed over. Raises ManifestError if it is no TOML."""
    return list(find_mistakes(_parse(content, variables)))


def _parse(content: str, variables: Mapping[str, str]) -> Document:
    try:
        return tomllib.loads(expand_variables(content, variables))
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"failed to parse TOML: {error}") from None


def expand_variables(content: str, variables: Mapping[str, str]) -> str:
    """Replace `${NAME}` and `${NAME:-default}` in a text; `$$` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        name, _, default = found[1].partition(":-")
        return variables.get(name, default) if name else default

    return VARIABLE.sub(value, content)


def sort_services(services: Sequence[Document], workers: Sequence[str]) -> list[Document]:
    """Put the services in order, each after those that it depends on. Raises ManifestError if that cannot be."""
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


def _list_tables(root: Mapping[str, Any], kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, table) for name, table in _read_table(root, kind).items() if isinstance(table, dict)]


def _read_common(kind: str, name: str, table: Mapping[str, Any]) -> Document:
    image = read_text(table, "image")
    if image is None:
        raise ManifestError(f"{kind} '{name}' is missing required field 'image'")
    if not is_plain_text(image):
        raise ManifestError(f"{kind} '{name}' has invalid image '{image}'")
    return {"name": name, "image": image, "command": read_strings(table, "command")}


def _read_where(table: Mapping[str, Any]) -> Document:
    folder = read_text(table, "working_dir")
    return ({} if folder is None else {"working_dir": folder}) | {"volumes": read_volumes(table)}


def _read_service(name: str, table: Mapping[str, Any]) -> Document:
    restart = read_text(table, "restart") or "none"
    if restart not in RESTARTS:
        raise ManifestError(
            f"service '{name}' has invalid restart policy '{restart}' (expected none, always, or on_failure)"
        )
    optional = {
        "health_check": read_health_check(name, table),
        "tls": read_tls(name, table),
        "http_routes": read_http_routes(name, table),
        "gpu": read_gpu(table),
        "gpu_mesh": read_gpu_mesh(table),
        "required_labels": read_labels(table),
    }
    return {
        **_read_common("service", name, table),
        "ports": read_ports(table),
        "env": read_environment(table),
        "depends_on": read_strings(table, "depends_on"),
        # yoq's own manifest knows neither limits nor labels; its server does.
        "cpu_limit": read_bounded(table, "cpu_limit", 1000, (1, LARGEST), f"service '{name}' cpu_limit"),
        "memory_limit_mb": read_bounded(
            table, "memory_limit_mb", 256, (1, LARGEST), f"service '{name}' memory_limit_mb"
        ),
        **_read_where(table),
        "restart": restart,
        "rollout": read_rollout(name, table),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _read_worker(name: str, table: Mapping[str, Any]) -> Document:
    optional = {"gpu": read_gpu(table), "gpu_mesh": read_gpu_mesh(table), "required_labels": read_labels(table)}
    return {
        **_read_common("worker", name, table),
        "env": read_environment(table),
        "depends_on": read_strings(table, "depends_on"),
        **_read_where(table),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _read_cron(name: str, table: Mapping[str, Any]) -> Document:
    every = read_duration(table, "every", f"cron '{name}' has invalid schedule")
    if not every:
        raise ManifestError(f"cron '{name}' is missing required field 'every'")
    return {**_read_common("cron", name, table), "env": read_environment(table), **_read_where(table), "every": every}


def _read_training(name: str, table: Mapping[str, Any]) -> Document:
    gpus = read_integer(table, "gpus", 0)
    if gpus < 1:
        raise ManifestError(f"training '{name}' needs 'gpus' of at least 1")
    kind = read_text(table, "gpu_type")
    resources, faults = _read_table(table, "resources"), _read_table(table, "fault_tolerance")
    found: Document = {
        **_read_common("training", name, table),
        "env": read_environment(table),
        **_read_where(table),
        "gpus": gpus,
        **({} if kind is None else {"gpu_type": kind}),
        "cpu_limit": max(100, read_integer(resources, "cpu", 1000)),
        "memory_limit_mb": max(256, read_integer(resources, "memory_mb", 65536)),
        "ib_required": resources.get("ib_required") is True,
        "spare_ranks": max(0, read_integer(faults, "spare_ranks", 0)),
        "auto_restart": faults.get("auto_restart") is not False,
        "max_restarts": max(0, read_integer(faults, "max_restarts", 10)),
    }
    if "data" in table:
        data = _read_table(table, "data")
        if read_text(data, "dataset") is None:
            raise ManifestError(f"training '{name}' data section is missing required field 'dataset'")
        more = read_text(data, "preprocessing")
        found["data"] = {"dataset": read_text(data, "dataset"), "sharding": read_text(data, "sharding") or "file"} | (
            {} if more is None else {"preprocessing": more}
        )
    if "checkpoint" in table:
        kept = _read_table(table, "checkpoint")
        if read_text(kept, "path") is None:
            raise ManifestError(f"training '{name}' checkpoint section is missing required field 'path'")
        seconds = read_duration(kept, "interval", f"training '{name}' has invalid checkpoint interval")
        found["checkpoint"] = {
            "path": read_text(kept, "path"),
            "interval_secs": seconds or read_integer(kept, "interval_secs", 1800),
            "keep": max(1, read_integer(kept, "keep", 5)),
        }
    return found


def read_labels(table: Mapping[str, Any]) -> str | None:
    """Read the labels that an agent must have, as one text; None if there are none."""
    listed = table.get("required_labels")
    if isinstance(listed, list):
        listed = ",".join(map(str, listed))
    return listed if isinstance(listed, str) and listed else None


def _read_table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}
