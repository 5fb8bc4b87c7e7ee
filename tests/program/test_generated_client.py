"""The description of the API serves those who generate a client from it: one is generated, and used over real HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ADMIN
from tests.support.generated_client import Generated, generate, list_operations, read_next
from tests.support.served import serve

pytestmark = pytest.mark.program

JOIN = "join-token-of-the-test"

ENDLESS = "audit_follow_stream_entries"
"""It has no end: no generated function returns from it."""


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    """The administrator's client, of a program that serves."""
    folder = tmp_path_factory.mktemp("generated")
    with serve(folder, YOQ_API_TOKEN=ADMIN, YOQ_JOIN_TOKEN=JOIN) as program, pytest.MonkeyPatch.context() as patch:
        generate(program.url, folder)
        patch.syspath_prepend(folder)
        yield Generated(program.url, ADMIN)


def find_error(answer: Any) -> tuple[int, str]:
    """The status and the text of an answer that is a problem."""
    assert type(answer.parsed).__name__ == "Problem"
    assert answer.parsed.status == answer.status_code
    return int(answer.status_code), answer.parsed.error


def test_whatever_can_be_read_without_arguments_is_read(admin: Generated) -> None:
    """Every such route answers what its description says, and its answer is understood."""
    agents = admin.with_token(JOIN)
    read = 0
    for name, module in list_operations().items():
        parameters = inspect.signature(module.sync_detailed).parameters.values()
        required = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
        if required != {"client"} or module._get_kwargs()["method"] != "get" or name == ENDLESS:
            continue
        answer = (agents if name == "agents_list_peers" else admin)(name)
        assert (answer.status_code, type(answer.parsed).__name__ != "Problem") == (200, True), name
        assert answer.parsed is not None, name
        read += 1
    assert read > 15


def test_a_client_does_its_work(admin: Generated) -> None:
    """What it creates, lists, pages through, looks up and deletes it gets as objects of the types described."""
    models, agents = admin.models, admin.with_token(JOIN)
    for name in ("cache", "db", "mail"):
        body = models.SecretsSecretIn(name=name, value="hunter2")
        assert admin("secrets_set_secret", body=body).parsed.status == "ok"
    page = admin("secrets_list_secrets", limit=2)
    rest = admin("secrets_list_secrets", limit=2, cursor=read_next(page))
    assert (page.parsed, rest.parsed, read_next(rest)) == (["cache", "db"], ["mail"], None)
    removed = admin("secrets_delete_secret", "mail")
    assert removed.parsed.status == "removed"

    event = removed.headers["Audit-Id"]
    entry = admin("audit_get_entry", event).parsed
    assert (entry.action, entry.target, entry.outcome.value) == ("secret_delete", "mail", "ok")
    page = admin("audit_query_list_entries", action=["secret_set"], limit=2)
    [last] = admin("audit_query_list_entries", action=["secret_set"], limit=2, cursor=read_next(page)).parsed
    assert [*(entry.target for entry in page.parsed), last.target] == ["mail", "db", "cache"]
    assert (last.actor, last.details.to_dict()) == ("api-token", {"version": 1, "before": None})
    assert admin("audit_query_get_stats").parsed.actions.to_dict()["secret_set"] == 3
    exported = admin("audit_export_export_entries", format_=models.AuditExportExportEntriesFormat.CSV)
    assert exported.parsed.count("secret_set") == 3
    assert "\nindex " in admin("audit_log_get_proof", event).parsed
    assert admin("audit_log_get_tile", "0", "000.p/1").parsed.payload.read()

    rule = models.PoliciesPolicyIn(source="web", target="db", action=models.PoliciesPolicyInAction.DENY)
    assert admin("policies_add_policy", body=rule).parsed.status == "ok"
    assert [rule.action.value for rule in admin("policies_list_policies").parsed] == ["deny"]
    assert admin("policies_delete_policy", "web", "db").parsed.status == "removed"
    agent = models.AgentsRegistration(token=JOIN, address="10.0.0.1", cpu_cores=4, memory_mb=512)
    joined = agents("agents_register", body=agent)
    assert (joined.status_code, admin("agents_get_agent", joined.parsed.id).parsed.memory_mb) == (201, 512)
    assert agents("agents_beat", joined.parsed.id, body=models.AgentsBeat()).parsed.status == "active"
    manifest = models.AppsManifestIn.from_dict({"app_name": "shop", "services": [{"name": "web", "image": "web:1"}]})
    assert admin("apps_apply", body=manifest).parsed.placed == 1
    assert admin("apps_status", "shop").parsed.app_name == "shop"
    kept = admin("backup_take_backup", body=models.BackupBackupIn()).parsed
    assert len(admin("backup_read_backup", kept.name).parsed.payload.read()) == kept.size


def test_a_client_understands_what_it_is_refused(admin: Generated) -> None:
    """A problem of each kind is an object with its status and its text, not an answer that cannot be read."""
    models = admin.models
    body = models.TokensTokenIn(name="ci", scopes=[models.TokensTokenInScopesItem.SECRETSREAD])
    made = admin("tokens_create_token", body=body)
    ci = admin.with_token(made.parsed.token)
    assert made.status_code == 201
    assert find_error(admin("secrets_delete_secret", "nothing")) == (404, "not found")
    assert find_error(admin("tokens_create_token", body=body))[0] == 409
    assert find_error(admin("secrets_set_secret", body=models.SecretsSecretIn(name="", value="v")))[0] == 400
    assert find_error(admin("secrets_list_secrets", limit=0))[0] == 400
    assert find_error(ci("policies_list_policies")) == (403, "forbidden: insufficient scope")
    assert find_error(admin.with_token("0" * 64)("secrets_list_secrets")) == (401, "unauthorized")
    assert find_error(admin("agents_list_peers")) == (401, "unauthorized")
