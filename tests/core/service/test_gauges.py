"""The gauges of /metrics: what they say, and that no gauge keeps the metrics from being answered."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Api, MakeApp
from tests.core.operations.test_failure_policy import no_audit_log
from tests.support.plugins import contributing, refused
from yoq_audit.sealing import sealer
from yoq_web import VERSION, Gauge, act_as_system
from yoq_web.contributions.registry import current_registry
from yoq_web.operations.replay import replay
from yoq_web.secrets.keys.rotation import key_rotate
from yoq_web.service import gauges


def read(api: Api) -> dict[str, dict[str, float]]:
    """Every gauge's numbers, by its label's value."""
    families = text_string_to_metric_families(api("GET", "/metrics").text)
    return {
        family.name: {"".join(sample.labels.values()): sample.value for sample in family.samples}
        for family in families
        if family.type == "gauge" and not family.name.endswith("_created")  # the library's, of each counter
    }


def set_secret(api: Api, name: str = "db") -> int:
    """Perform an operation; returns the status."""
    return api("POST", "/v1/secrets", json={"name": name, "value": "hunter2"}).status_code


def test_each_is_shown_and_named_as_it_should_be(api: Api) -> None:
    """All that are contributed can be read; names are of Prometheus's form and say who they belong to."""
    set_secret(api)
    with api.app.app_context():
        sealer.seal()
    shown = read(api)
    contributed = {
        gauge.name: gauge for added in current_registry(api.app).contributions.values() for gauge in added.gauges
    }
    empty = {"yoq_spool_oldest_timestamp_seconds", "yoq_backup_last_success_timestamp_seconds"}
    assert shown.keys() == contributed.keys() - empty
    assert all(gauge.help and not gauge.help.endswith(".") for gauge in contributed.values())
    assert shown["yoq_build_info"] == {VERSION: 1}


def test_what_waits_in_the_spool(api: Api, database_url: str) -> None:
    """How many events wait, and since when the oldest was; nothing when they are stored."""
    before = time.time()
    with no_audit_log(database_url):
        for name in ("a", "b"):
            assert set_secret(api, name) == 200
        shown = read(api)
        assert shown["yoq_spool_records"] == {"": 2}
        assert before <= shown["yoq_spool_oldest_timestamp_seconds"][""] <= time.time()
    with api.app.app_context():
        replay()
    shown = read(api)
    assert shown["yoq_spool_records"] == {"": 0}
    assert "yoq_spool_oldest_timestamp_seconds" not in shown


def test_what_is_not_sealed(api: Api) -> None:
    """How many entries wait for their place, and when the newest checkpoint was made."""
    set_secret(api, "a")
    with api.app.app_context():
        sealer.seal()
    assert read(api)["yoq_audit_unsealed_entries"] == {"": 0}
    for name in ("b", "c", "d"):
        set_secret(api, name)
    shown = read(api)
    assert shown["yoq_audit_unsealed_entries"] == {"": 3}
    assert time.time() - 60 < shown["yoq_audit_checkpoint_timestamp_seconds"][""] <= time.time()


def test_what_has_no_outcome(api: Api) -> None:
    """An operation that was begun counts until it has ended."""
    seen: list[float] = []
    with api.app.app_context(), act_as_system(), key_rotate.undertaken():
        seen.append(read(api)["yoq_audit_open_operations"][""])
    seen.append(read(api)["yoq_audit_open_operations"][""])
    assert seen == [1, 0]


def test_while_the_database_is_away(api: Api, database_url: str) -> None:
    """What is read from it is missing, and all else is there."""
    with no_audit_log(database_url):
        shown = read(api)
    assert "yoq_audit_unsealed_entries" not in shown
    assert shown["yoq_build_info"] == {VERSION: 1}


def fail() -> float:
    """Fail as plugins do."""
    raise RuntimeError("hunter2")


def hang() -> float:
    """Wait for longer than anybody does."""
    threading.Event().wait(5)
    return 1


BAD: dict[str, Callable[[], float | Mapping[str, float] | None]] = {
    "raises": fail,
    "ends": lambda: sys.exit("hunter2"),
    "is no number": lambda: "many",  # type: ignore[return-value,dict-item]
    "hangs": hang,
}


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_one_harms_no_other(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    """A plugin's gauge that fails or hangs is left out and counted; its message is nowhere."""
    monkeypatch.setattr(gauges, "ANSWER_SECONDS", 0.2)
    app = make_app(
        contributing("things", gauges=[Gauge("yoq_things_bad", "Bad", BAD[bad])]),
        contributing("others", gauges=[Gauge("yoq_others_good", "Good", lambda: {"a": 1, "b": 2}, "kind")]),
    )
    api = Api(app)
    shown = read(api)
    assert "yoq_things_bad" not in shown
    assert shown["yoq_others_good"] == {"a": 1, "b": 2}
    text = api("GET", "/metrics").text
    assert 'yoq_hook_failures_total{hook="gauges",plugin="things"}' in text
    assert "hunter2" not in text


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Gauge("yoq_other_things", "Things", lambda: 1), "does not begin with 'yoq_things_'"),
        ("things", "is not a yoq_web.Gauge"),
    ],
)
def test_what_clashes_is_refused(make_app: MakeApp, given: object, said: str) -> None:
    """A plugin's gauges bear its name, each once."""
    assert said in str(refused(make_app(contributing("things", gauges=[given])))["things"])
    once = Gauge("yoq_things_all", "Things", lambda: 1)
    assert "exists already" in str(refused(make_app(contributing("things", gauges=[once, once])))["things"])


@pytest.mark.parametrize("name", ["things", "yoq_", "yoq_Things", "yoq_things-all", "yoq_1"])
def test_a_name_of_no_use(name: str) -> None:
    """What Prometheus would not take is an error where it is declared."""
    with pytest.raises(ValueError, match="no name of a metric"):
        Gauge(name, "Things", lambda: 1)
