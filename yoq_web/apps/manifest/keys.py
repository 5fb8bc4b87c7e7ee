"""The keys of a manifest.toml and what they hold; what is in a file beside them would be passed over, and is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yoq_web.names import find_nearest

ANY_NAME = "*"
"""Stands for keys that the author makes up: the names of services, workers and the like."""

WORDS: Mapping[type, str] = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}

Keys = Mapping[str, Any]
"""By each key the keys of the table in it, else the type of its value, or a tuple of types."""

GPU: Keys = {"count": int, "model": str, "vram_min_mb": int}
GPU_MESH: Keys = {"world_size": int, "gpus_per_rank": int, "master_port": int}

COMMON: Keys = {"image": str, "command": list, "env": list, "working_dir": str, "volumes": list}
PLACED: Keys = {"depends_on": list, "required_labels": (str, list), "gpu": GPU, "gpu_mesh": GPU_MESH}

ROUTE: Keys = {
    **dict.fromkeys(("host", "path_prefix", "rewrite_prefix", "mirror_service"), str),
    **dict.fromkeys(("match_methods", "match_headers", "backend_services"), list),
    **dict.fromkeys(("retry_on_5xx", "preserve_host"), bool),
    **dict.fromkeys(("retries", "connect_timeout_ms", "request_timeout_ms", "http2_idle_timeout_ms"), int),
    **dict.fromkeys(("circuit_breaker_threshold", "circuit_breaker_timeout_ms"), int),
}

HEALTH_CHECK: Keys = {
    **dict.fromkeys(("type", "path", "service"), str),
    **dict.fromkeys(("port", "interval", "timeout", "retries", "start_period"), int),
    "command": list,
}

ROLLOUT: Keys = {
    **dict.fromkeys(("strategy", "delay_between_batches", "health_check_timeout", "failure_action"), str),
    "parallelism": int,
}

DNS: Keys = {
    "provider": str,
    **dict.fromkeys(("hook", "secrets", "config"), list),
    **dict.fromkeys(("propagation_timeout_secs", "poll_interval_secs"), int),
}

ACME: Keys = {"email": str, "challenge": str, "directory_url": str, "staging": bool, "dns": DNS}

SERVICE: Keys = {
    **COMMON,
    **PLACED,
    "ports": list,
    "restart": str,
    "cpu_limit": int,
    "memory_limit_mb": int,
    "health_check": HEALTH_CHECK,
    "rollout": ROLLOUT,
    "tls": {"domain": str, "acme": ACME},
    "http_routes": {ANY_NAME: ROUTE},
    "http_proxy": ROUTE,
}

TRAINING: Keys = {
    **COMMON,
    "gpus": int,
    "gpu_type": str,
    "resources": {"cpu": int, "memory_mb": int, "ib_required": bool},
    "fault_tolerance": {"spare_ranks": int, "auto_restart": bool, "max_restarts": int},
    "data": {"dataset": str, "sharding": str, "preprocessing": str},
    "checkpoint": {"path": str, "interval": str, "interval_secs": int, "keep": int},
}

MANIFEST: Keys = {
    "service": {ANY_NAME: SERVICE},
    "worker": {ANY_NAME: {**COMMON, **PLACED}},
    "cron": {ANY_NAME: {**COMMON, "every": str}},
    "training": {ANY_NAME: TRAINING},
}


def find_mistakes(table: Mapping[str, Any], keys: Keys = MANIFEST, where: str = "") -> Iterator[str]:
    """Find what of a manifest would be passed over: keys that do not exist, and values of another type."""
    for key, value in table.items():
        path = f"{where}.{key}" if where else key
        wanted = keys.get(key, keys.get(ANY_NAME))
        if wanted is None:
            nearest = find_nearest(key, keys)
            yield f"there is no key {path}: " + (
                f"did you mean {nearest}?" if nearest else f"there are {', '.join(keys)}"
            )
        elif isinstance(wanted, Mapping):
            if isinstance(value, dict):
                yield from find_mistakes(value, wanted, path)
            else:
                yield f"{path} is not {WORDS[dict]}"
        elif type(value) not in (types := wanted if isinstance(wanted, tuple) else (wanted,)):
            yield f"{path} is not {' or '.join(WORDS[each] for each in types)}"
