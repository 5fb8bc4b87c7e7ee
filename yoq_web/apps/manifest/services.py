"""The tables below a service in a manifest.toml: health check, rollout, TLS and HTTP routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from yoq_web.apps.manifest.fields import (
    ManifestError,
    read_bounded,
    read_duration,
    read_integer,
    read_strings,
    read_text,
)

Table = Mapping[str, Any]

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
U32 = 2**32 - 1
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
PRODUCTION = "https://acme-v02.api.letsencrypt.org/directory"
PROVIDERS = ("cloudflare", "route53", "gcloud", "exec")


def read_rollout(service: str, table: Table) -> dict[str, Any]:
    """Read how the service rolls out; yoq's defaults if nothing is said."""
    found = table.get("rollout")
    found = found if isinstance(found, dict) else {}
    strategy = read_text(found, "strategy") or "rolling"
    if strategy not in ("rolling", "blue_green", "canary"):
        raise ManifestError(
            f"service '{service}' has unsupported rollout strategy '{strategy}' "
            "(expected rolling, blue_green, or canary)"
        )
    parallelism = read_bounded(found, "parallelism", 1, (1, U32), f"service '{service}' rollout parallelism")
    action = read_text(found, "failure_action") or "rollback"
    if action not in ("rollback", "pause"):
        raise ManifestError(
            f"service '{service}' has invalid rollout failure_action '{action}' (expected rollback or pause)"
        )
    complaint = f"service '{service}' has invalid rollout"
    delay = read_duration(found, "delay_between_batches", f"{complaint} delay_between_batches")
    timeout = read_duration(found, "health_check_timeout", f"{complaint} health_check_timeout")
    return {
        "strategy": strategy,
        "parallelism": parallelism,
        "delay_between_batches": delay or 0,
        "failure_action": action,
        "health_check_timeout": timeout or 0,
    }


def read_health_check(service: str, table: Table) -> dict[str, Any] | None:
    """Read how to tell that the service works; None if nothing is said."""
    found = table.get("health_check")
    if not isinstance(found, dict):
        return None
    kind = read_text(found, "type")
    check: dict[str, Any] = {"kind": kind}
    if kind == "http":
        if read_text(found, "path") is None:
            raise ManifestError(f"service '{service}' http health_check is missing 'path'")
        check["path"] = read_text(found, "path")
    elif kind == "exec":
        if not (command := read_strings(found, "command")):
            raise ManifestError(f"service '{service}' exec health_check has empty command")
        check["command"] = command
    elif kind not in ("tcp", "grpc"):
        said = "is missing required field 'type'" if kind is None else f"has unknown type '{kind}'"
        raise ManifestError(f"service '{service}' health_check {said}")
    if kind != "exec":
        if not 1 <= read_integer(found, "port", 0) <= 65535:
            raise ManifestError(f"service '{service}' {kind} health_check needs a 'port' from 1 to 65535")
        check["port"] = found["port"]
    if kind == "grpc" and (name := read_text(found, "service")) is not None:
        check["service"] = name
    for key, default, least in (("interval", 10, 1), ("timeout", 5, 1), ("retries", 3, 1), ("start_period", 0, 0)):
        check[key] = read_bounded(found, key, default, (least, U32), f"service '{service}' health_check {key}")
    return check


def read_tls(service: str, table: Table) -> dict[str, Any] | None:
    """Read how the service's certificate comes about; None if it has none."""
    found = table.get("tls")
    if not isinstance(found, dict):
        return None
    if "peer" in found:
        # Nothing here checks a peer: who asks for it must not believe that it is done.
        raise ManifestError(f"service '{service}' tls.peer cannot be had here")
    acme = found.get("acme")
    domain = read_text(found, "domain") or ""
    if not isinstance(acme, dict):
        return {"domain": domain, "acme": None}
    if not domain:
        raise ManifestError(f"service '{service}' tls.domain is required when tls.acme is set")
    if read_text(acme, "email") is None:
        raise ManifestError(f"service '{service}' tls.acme is missing required field 'email'")
    challenge = read_text(acme, "challenge") or "http-01"
    dns = acme.get("dns")
    if challenge not in ("http-01", "dns-01"):
        raise ManifestError(f"service '{service}' tls.acme challenge must be 'http-01' or 'dns-01'")
    if (challenge == "dns-01") != isinstance(dns, dict):
        raise ManifestError(f"service '{service}' tls.acme.dns goes with challenge = 'dns-01'")
    if "staging" in acme and "directory_url" in acme:
        raise ManifestError(f"service '{service}' tls.acme cannot set both staging and directory_url")
    default = STAGING if acme.get("staging") is True else PRODUCTION
    document: dict[str, Any] = {
        "email": read_text(acme, "email"),
        "directory_url": read_text(acme, "directory_url") or default,
        "challenge": challenge,
    }
    if isinstance(dns, dict):
        document["dns"] = _read_dns(service, dns)
    return {"domain": domain, "acme": document}


def _read_dns(service: str, table: Table) -> dict[str, Any]:
    where = f"service '{service}' tls.acme.dns"
    provider, hook = read_text(table, "provider"), read_strings(table, "hook")
    if provider not in PROVIDERS:
        raise ManifestError(f"{where} provider must be one of {', '.join(PROVIDERS)}")
    if provider == "exec" and not hook:
        raise ManifestError(f"{where} provider 'exec' requires hook")
    return {
        "provider": provider,
        "secrets": _read_pairs(table, "secrets", where),
        "config": _read_pairs(table, "config", where),
        "hook": hook,
        "propagation_timeout_secs": read_bounded(table, "propagation_timeout_secs", 300, (1, U32), where),
        "poll_interval_secs": read_bounded(table, "poll_interval_secs", 5, (1, U32), where),
    }


def _read_pairs(table: Table, key: str, where: str) -> list[dict[str, str]]:
    found = []
    for item in read_strings(table, key):
        name, _, value = item.partition("=")
        if not name or not value:
            raise ManifestError(f"invalid {where}.{key} entry (expected key=value)")
        found.append({"key": name, "value": value})
    return found


def read_http_routes(service: str, table: Table) -> list[dict[str, Any]]:
    """Read the routes by which HTTP requests reach the service."""
    single, several = table.get("http_proxy"), table.get("http_routes")
    if single is not None and several is not None:
        raise ManifestError(f"service '{service}' cannot define both http_proxy and http_routes")
    if isinstance(single, dict):
        return [_read_route(service, "default", single)]
    if not isinstance(several, dict):
        return []
    if not several or not all(isinstance(route, dict) for route in several.values()):
        raise ManifestError(f"service '{service}' http_routes must define at least one named route table")
    routes = [_read_route(service, name, route) for name, route in several.items()]
    seen = []
    for route in routes:
        methods = sorted(item["method"] for item in route["match_methods"])
        headers = sorted((item["name"], item["value"]) for item in route["match_headers"])
        seen.append((route["host"].lower(), route["path_prefix"], methods, headers))
        if seen[-1] in seen[:-1]:
            raise ManifestError(f"service '{service}' defines http routes that match the same requests")
    return routes


def _read_route(service: str, name: str, table: Table) -> dict[str, Any]:
    where = f"service '{service}' http route '{name}'"
    host, prefix, rewrite = (
        read_text(table, "host"),
        read_text(table, "path_prefix"),
        read_text(table, "rewrite_prefix"),
    )
    prefix = "/" if prefix is None else prefix
    if not host:
        raise ManifestError(f"{where} is missing required field 'host'")
    for key, value in (("path_prefix", prefix), ("rewrite_prefix", rewrite)):
        if value is not None and not value.startswith("/"):
            raise ManifestError(f"{where} {key} must start with '/'")
    backends = _read_backends(service, where, table)
    mirror = read_text(table, "mirror_service")
    if mirror is not None and (mirror in ("", service) or mirror in [item["service_name"] for item in backends]):
        raise ManifestError(f"{where} mirror_service must be another service than those that answer")
    document: dict[str, Any] = {"name": name, "host": host, "path_prefix": prefix}
    for key, default, bounds in (
        ("retries", 0, (0, 5)),
        ("connect_timeout_ms", 1000, (1, U32)),
        ("request_timeout_ms", 5000, (1, U32)),
        ("http2_idle_timeout_ms", 30000, (1, U32)),
    ):
        document[key] = read_bounded(table, key, default, bounds, f"{where} {key}")
    document["preserve_host"] = table.get("preserve_host") is not False
    document["retry_on_5xx"] = table.get("retry_on_5xx") is not False
    document["circuit_breaker_threshold"] = read_bounded(
        table, "circuit_breaker_threshold", 3, (1, 10), f"{where} circuit_breaker_threshold"
    )
    document["circuit_breaker_timeout_ms"] = read_bounded(
        table, "circuit_breaker_timeout_ms", 30000, (1, U32), f"{where} circuit_breaker_timeout_ms"
    )
    if rewrite is not None:
        document["rewrite_prefix"] = rewrite
    methods = [item.strip(" \t") for item in read_strings(table, "match_methods")]
    if len(set(methods)) < len(methods) or not set(methods) <= set(METHODS):
        raise ManifestError(f"{where} match_methods are {', '.join(METHODS)}, each at most once")
    document["match_methods"] = [{"method": method} for method in methods]
    document["match_headers"] = _read_headers(where, table)
    document["backend_services"] = backends
    if mirror is not None:
        document["mirror_service"] = mirror
    return document


def _read_headers(where: str, table: Table) -> list[dict[str, str]]:
    found: dict[str, str] = {}
    for item in read_strings(table, "match_headers"):
        name, equals, value = item.partition("=")
        name = name.strip(" \t").lower()
        if not equals or not re.fullmatch("[a-z0-9-]+", name) or name in found:
            raise ManifestError(f"{where} match_headers entry '{item}' must be name=value, each name once")
        found[name] = value.strip(" \t")
    return [{"name": name, "value": value} for name, value in found.items()]


def _read_backends(service: str, where: str, table: Table) -> list[dict[str, Any]]:
    if not isinstance(table.get("backend_services"), list):
        return [{"service_name": service, "weight": 100}]
    found: dict[str, int] = {}
    for item in read_strings(table, "backend_services"):
        name, _, weight = (part.strip(" \t") for part in item.partition("="))
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not re.fullmatch("[0-9]{1,3}", weight) or name in found:
            raise ManifestError(f"{where} backend_services entry '{item}' must be service=weight, each service once")
        found[name] = int(weight)
    if sum(found.values()) != 100 or 0 in found.values():
        raise ManifestError(f"{where} backend_services weights must sum to 100")
    return [{"service_name": name, "weight": weight} for name, weight in found.items()]
