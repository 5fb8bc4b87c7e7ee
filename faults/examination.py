"""Examination: what is asked of a site when its faults are undone, so that the judge has what he needs."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence

from faults.judge import Finding, Undone, judge
from faults.load import Attempt
from faults.site import Broken, Site

RECOVERING_SECONDS = 90
"""How long it may take until a server that nothing is wrong with says so."""

LOOKING_SECONDS = 2.5
"""What is looked at once a second has been looked at, and is in what /health says."""

OPENED = 1
"""Secrets whose value is compared; that all can be opened is shown by encrypting them anew."""


def examine(
    site: Site, history: Sequence[Attempt], undone: Sequence[Undone], generator: random.Random
) -> list[Finding]:
    """Start the site once more and look at everything; returns every breach of the rule."""
    try:
        site.start()
        _await_health(site)
        entries = site.list_all("/v1/audit?order=asc&limit=500")
        present = {
            "secrets": set(site.list_all("/v1/secrets")),
            "policies": {f"{rule['source']}->{rule['target']}" for rule in site.list_all("/v1/policies")},
            "tokens": {token["name"] for token in site.list_all("/v1/tokens") if token["status"] == "active"},
        }
        kept = {backup["name"] for backup in site.list_all("/v1/backups")}
    except Broken as error:
        return [Finding("not recovered", str(error))]
    found = judge(history, entries, present, undone)
    found += _judge_backups(history, kept)
    found += _verify(site)
    found += _open_secrets(site, history, sorted(present["secrets"]), undone, generator)
    try:
        code = site.stop()
    except Broken as error:
        return [*found, Finding("not recovered", str(error))]
    return [*found, Finding("not recovered", f"the server ends with {code}")] if code else found


def _await_health(site: Site) -> None:
    """Return when it is well and nothing is under way any more. Raises Broken if that does not come."""
    deadline = time.monotonic() + RECOVERING_SECONDS
    said = ""
    time.sleep(LOOKING_SECONDS)
    while time.monotonic() < deadline:
        health = site.get("/health").json()
        open_entries = site.get("/v1/audit?outcome=started").json() if health == {"status": "ok"} else []
        for entry in open_entries:
            _settle(site, entry["event_id"])
        if health == {"status": "ok"} and open_entries == []:
            return
        said = json.dumps([health, open_entries])
        time.sleep(0.2)
    raise Broken(f"it does not recover: {said[:1000]}")


def _settle(site: Site, event_id: str) -> None:
    """Do what the log told the operator to expect: where the disk took no intent, only he can close the entry."""
    log = site.log.read_text(errors="replace").splitlines()
    if any("would stay open" in line and event_id in line for line in log):
        site.command("audit", "settle", "--yes", event_id)


def _judge_backups(history: Sequence[Attempt], kept: set[str]) -> list[Finding]:
    made = [json.loads(each.answer)["name"] for each in history if each.kind == "backups" and each.acknowledged]
    return [
        Finding("lost", f"the backup {name} was acknowledged and is not there") for name in made if name not in kept
    ]


def _verify(site: Site) -> list[Finding]:
    done = site.command("audit", "verify", "--json")
    if done.returncode == 0 and json.loads(done.stdout)["ok"]:
        return []
    return [Finding("not verified", f"{done.stdout[:1500]} {done.stderr[-500:]}")]


def _open_secrets(
    site: Site,
    history: Sequence[Attempt],
    names: list[str],
    undone: Sequence[Undone],
    generator: random.Random,
) -> list[Finding]:
    found = []
    for name in generator.sample(names, min(OPENED, len(names))):
        tried = [each for each in history if each.target == name and each.action == "secret_set"]
        certain = tried[-1].acknowledged and list(undone) == [()]
        values = {each.value for each in (tried[-1:] if certain else tried)}
        done = site.command("secret", "get", name)
        if done.returncode or done.stdout.rstrip("\n") not in values:
            found.append(Finding("not opened", f"{name}: exit code {done.returncode} {done.stderr[-300:]}"))
    done = site.command("keys", "rotate")
    if done.returncode:
        found.append(Finding("not opened", f"keys rotate: {done.stdout[-300:]} {done.stderr[-500:]}"))
    return found
