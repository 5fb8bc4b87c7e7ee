"""The alerts and the dashboard: Prometheus understands them, they speak of metrics that exist, and they fire."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from docs.generator.tables import write_metrics
from tests.deploy.programs import DEPLOY, find_program

ALERTS = DEPLOY / "prometheus" / "alerts.yml"
SCRAPE = DEPLOY / "prometheus" / "scrape.yml"
DASHBOARD = DEPLOY / "prometheus" / "grafana.json"


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("file", [ALERTS, DASHBOARD], ids=lambda file: file.name)
def test_they_speak_of_what_there_is(app: Flask, file: Path) -> None:
    """Every metric that is named is one that the program shows."""
    known = set(re.findall(r"`(yoq_\w+)`", write_metrics(app)))
    named = {re.sub("_bucket$", "", name) for name in re.findall(r"\byoq_[a-z_]+\b", file.read_text())}
    assert named - {"yoq_web"} <= known


def test_prometheus_understands_them() -> None:
    """Its own tool finds nothing wrong."""
    promtool = find_program("promtool")
    for check in (["rules", str(ALERTS)], ["config", "--syntax-only", str(SCRAPE)]):
        found = subprocess.run([promtool, "check", *check], capture_output=True, text=True, timeout=60, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


SERIES: dict[str, list[tuple[str, str]]] = {
    "YoqWebDown": [('up{job="yoq-web"}', "0x30")],
    "YoqWebRecordsNowhere": [("yoq_audit_spool_failures_total", "0+1x30")],
    "YoqWebSpoolWaits": [("yoq_spool_records", "3x30")],
    "YoqWebSpoolEdited": [("yoq_spool_edits", "1x30")],
    "YoqWebNotSealed": [("yoq_audit_unsealed_entries", "5x30"), ("yoq_audit_checkpoint_timestamp_seconds", "0x30")],
    "YoqWebNotRecorded": [("yoq_audit_refused_total", "0+1x30")],
    "YoqWebErrors": [('yoq_requests_total{status="500"}', "0+10x30"), ('yoq_requests_total{status="200"}', "0+90x30")],
    "YoqWebBackupOverdue": [("yoq_backup_last_success_timestamp_seconds", "-200000x30")],
    "YoqWebOperationOpen": [("yoq_audit_open_operations", "1x400")],
    "YoqWebAgentOffline": [('yoq_agents{status="offline"}', "1x30")],
    "YoqWebPluginFails": [("yoq_hook_failures_total", "0+1x30")],
}
"""For each alert, what it fires at after half an hour: series and their values, a minute apart."""

WELL: list[tuple[str, str]] = [
    ('up{job="yoq-web"}', "1x400"),
    ("yoq_spool_records", "0 4 0x400"),
    ("yoq_audit_unsealed_entries", "0 7 0x400"),
    ("yoq_audit_checkpoint_timestamp_seconds", "0+60x400"),
    ('yoq_requests_total{status="500"}', "0+1x400"),
    ('yoq_requests_total{status="200"}', "0+99x400"),
    ("yoq_backup_last_success_timestamp_seconds", "0x400"),
    ("yoq_audit_open_operations", "1x60 0x300"),
    ('yoq_agents{status="active"}', "3x400"),
]
"""A server that is well: a moment's wait is no alarm."""


def test_each_fires_when_it_should(tmp_path: Path) -> None:
    """Prometheus works out, from made-up series, which alerts fire."""
    promtool = find_program("promtool")
    assert set(re.findall(r"alert: (\w+)", ALERTS.read_text())) == SERIES.keys()
    tests: list[Any] = [
        case(name, series, "400m" if name == "YoqWebOperationOpen" else "30m") for name, series in SERIES.items()
    ]
    tests += [case(name, WELL, "400m", fires=False) for name in SERIES]
    file = tmp_path / "tests.json"  # which is YAML, too
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    found = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def case(name: str, series: list[tuple[str, str]], after: str, *, fires: bool = True) -> dict[str, Any]:
    """One test of promtool's: whether an alert fires at these series, whatever its labels are."""
    given = [{"series": metric, "values": values} for metric, values in series]
    count = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    expected = [{"value": 1, "labels": "{}"}] if fires else []
    return {
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [{"expr": count, "eval_time": after, "exp_samples": expected}],
    }
