"""The fields that several kinds of workload in a manifest.toml share. What has another type counts as absent (yoq)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from yoq_web.times import parse_duration

Table = Mapping[str, Any]


class ManifestError(ValueError):
    """A manifest.toml that cannot be sent; the text says what is wrong with it."""


def read_text(table: Table, key: str) -> str | None:
    """Read a text; None if there is none."""
    value = table.get(key)
    return value if isinstance(value, str) else None


def read_integer(table: Table, key: str, default: int) -> int:
    """Read a whole number."""
    value = table.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def read_bounded(table: Table, key: str, default: int, bounds: tuple[int, int], what: str) -> int:
    """Read a whole number that must be within bounds. Raises ManifestError, which begins with `what`, for another."""
    value = read_integer(table, key, default)
    if not bounds[0] <= value <= bounds[1]:
        raise ManifestError(f"{what} must be between {bounds[0]} and {bounds[1]}")
    return value


def read_strings(table: Table, key: str) -> list[str]:
    """Read a list of texts."""
    value = table.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def read_duration(table: Table, key: str, complaint: str) -> int | None:
    """Read the seconds of a text like `30s`, `5m` or `1h`; None if there is none."""
    value = read_text(table, key)
    if value is None:
        return None
    try:
        return parse_duration(value, "smh")
    except ValueError:
        raise ManifestError(f"{complaint} '{value}' (expected e.g. '30s', '5m', '1h')") from None


def read_ports(table: Table) -> list[dict[str, int]]:
    """Read port mappings, `"host:container"`."""
    found = []
    for item in read_strings(table, "ports"):
        host, _, container = item.partition(":")
        if not all(re.fullmatch("[0-9]{1,5}", part) and int(part) <= 65535 for part in (host, container)):
            raise ManifestError(f"invalid port mapping: '{item}'")
        found.append({"host_port": int(host), "container_port": int(container)})
    return found


def read_environment(table: Table) -> list[str]:
    """Read environment variables, `"KEY=VALUE"`."""
    found = read_strings(table, "env")
    for item in found:
        if item.find("=") < 1:
            # Not the text itself: it may hold a password.
            raise ManifestError("invalid env var: each must be KEY=VALUE")
    return found


def read_volumes(table: Table) -> list[dict[str, str]]:
    """Read volume mounts, `"source:target"`: of a folder of the host, or of a named volume."""
    found = []
    for item in read_strings(table, "volumes"):
        source, _, target = item.partition(":")
        if not source or not target:
            raise ManifestError(f"invalid volume mount: '{item}'")
        kind = "bind" if source.startswith(("/", "./", "../")) else "named"
        found.append({"source": source, "target": target, "kind": kind})
    return found


def read_gpu(table: Table) -> dict[str, Any] | None:
    """Read the GPUs to be given to a workload; None if there are none."""
    wanted = table.get("gpu")
    if not isinstance(wanted, dict) or read_integer(wanted, "count", 0) < 1:
        return None
    found: dict[str, Any] = {"count": wanted["count"]}
    if (model := read_text(wanted, "model")) is not None:
        found["model"] = model
    if "vram_min_mb" in wanted:
        found["vram_min_mb"] = max(0, read_integer(wanted, "vram_min_mb", 0))
    return found


def read_gpu_mesh(table: Table) -> dict[str, int] | None:
    """Read how the GPUs of several parts work together; None if nothing is said."""
    wanted = table.get("gpu_mesh")
    if not isinstance(wanted, dict) or read_integer(wanted, "world_size", 0) < 1:
        return None
    return {
        "world_size": wanted["world_size"],
        "gpus_per_rank": max(1, read_integer(wanted, "gpus_per_rank", 1)),
        "master_port": min(65535, max(1, read_integer(wanted, "master_port", 29500))),
    }
