"""Metrics: what an application counts, for Prometheus. Every label's values are bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from yoq_web.app_local import AppLocal


class Metrics:
    """One application's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._make_counter("yoq_requests", "Requests answered", "method", "endpoint", "status")
        self.seconds = Histogram(
            "yoq_request_seconds", "Time from a request's arrival to its answer", registry=self.registry
        )
        self.operations = self._make_counter("yoq_operations", "Operations that ended", "action", "outcome")
        self.audit_failures = self._make_counter("yoq_audit_failures", "Events that a recorder could not store")
        self.audit_recorded = self._make_counter("yoq_audit_recorded", "Events that every recorder stored at once")
        self.audit_spooled = self._make_counter("yoq_audit_spooled", "Events that went to the spool")
        self.audit_replayed = self._make_counter("yoq_audit_replayed", "Events that a recorder took from the spool")
        self.audit_refused = self._make_counter(
            "yoq_audit_refused", "Operations refused because they were not recorded"
        )
        self.spool_failures = self._make_counter(
            "yoq_audit_spool_failures", "Events that even the spool could not keep"
        )
        self.hook_failures = self._make_counter("yoq_hook_failures", "Plugins' hooks that raised", "plugin", "hook")

    def _make_counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)


current_metrics: AppLocal[Metrics] = AppLocal("metrics", lambda _app: Metrics())
