"""Metrics: what an application counts, for Prometheus. Every label's values are bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    """One application's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("yoq_requests", "Requests answered", "method", "endpoint", "status")
        self.seconds = Histogram(
            "yoq_request_seconds", "Time from a request's arrival to its answer", registry=self.registry
        )
        self.operations = self._counter("yoq_operations", "Operations that ended", "action", "outcome")
        self.audit_failures = self._counter("yoq_audit_failures", "Events that a recorder could not store")
        self.hook_failures = self._counter("yoq_hook_failures", "Plugins' hooks that raised", "plugin", "hook")

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)
