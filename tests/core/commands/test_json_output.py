"""What commands print: with `--json` JSON in which a terminal finds nothing to obey, else times in one form."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from tests.conftest import Api, MakeApp
from tests.support.apps import HEALTH, Shop, manifest, service
from tests.support.commandline import failure, output, run
from tests.support.retention import DAY, make_old_event, store
from tests.support.yoq_database import YoqDatabase

EVIL = "a\x7f\x85\x9b\u202eb\u2066c\u200e\u2028\U000e0041"
"""Delete, further controls, the first of a terminal's commands, overrides of the direction, an end of a line, a tag."""

APP = "shop\u202e"
"""An app's name may have fewer of them."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "plugins list": (),
    "secret list": (),
    "keys list": (),
    "policy list": (),
    "token create": ("ci", "--scope", "apps:read", "--ttl", "1h"),
    "token list": (),
    "agent list": (),
    "agent show": ("AGENT",),
    "app list": (),
    "app status": (APP,),
    "app history": (APP,),
    "app pause": (APP,),
    "app resume": (APP,),
    "app cancel": (APP,),
    "app run": (APP, "task"),
    "app rollback": (APP,),
    "app apply": ("FOLDER/manifest.json",),
    "app diff": ("FOLDER/manifest.json",),
    "backup": ("--output", f"FOLDER/{EVIL}"),
    "backup list": (),
    "audit list": (),
    "audit show": ("ENTRY",),
    "audit stats": ("--action", "secret_set"),
    "audit follow": ("--start", "0"),
    "audit verify": (),
    "audit prune": ("--older-than", "1d", "--archive", "FOLDER/archive"),
    "audit check-proof": ("FOLDER/proof", "--entry", "FOLDER/entry.json", "--key", "VKEY"),
    "audit check-consistency": ("FOLDER/old", "FOLDER/new", "--proof", "FOLDER/consistency", "--key", "VKEY"),
    "import-yoq": ("FOLDER/yoq/yoq.db",),
    "audit verify-export": ("FOLDER/export", "--key", "VKEY"),
    "audit archive verify": ("FOLDER/archive", "--key", "VKEY"),
}
"""How each is called, one after the other."""

TELLING = {
    *("secret list", "policy list", "app list", "app status", "app history", "app apply", "app diff", "app rollback"),
    *("app pause", "app resume", "app cancel", "app run", "backup", "audit list", "audit show", "audit follow"),
    *("audit check-proof", "import-yoq", "agent list", "agent show"),
}
"""Those that say something of what is named here."""

ACTING = {
    *("token create", "app pause", "app resume", "app cancel", "app run", "app rollback", "app apply"),
    *("backup", "audit prune", "import-yoq"),
}
"""Those that do something, and not once more; none prints a time."""

TIMED = {
    *("token list", "policy list", "keys list", "agent show", "audit show", "audit stats", "audit check-proof"),
    *("audit list", "audit follow"),
}
"""Those that print times for people; the last two as long as there is room, else as yoq does."""

LOCAL = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+05:30(?!\d)")
OTHER = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|\b1[6-9]\d{8}(\d{3}|\d{6})?\b")
"""What would be a time in another form."""


def list_commands(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """List a group's commands by their names."""
    if path:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        for name, found in command.commands.items():
            yield from list_commands(found, *path, name)


def take_json(command: click.Command) -> bool:
    """Whether a command can print JSON."""
    return any("--json" in option.opts for option in command.params)


def keep_for_checks(api: Api, entry: str, folder: Path) -> None:
    """Keep what is checked offline as files: an entry and its proof, two checkpoints and theirs, an export."""
    kept = {
        "new": "/v1/audit/log/checkpoint",
        "consistency": f"/v1/audit/log/consistency?from={(folder / 'old').read_text().splitlines()[1]}",
        "entry.json": f"/v1/audit/entries/{entry}",
        "proof": f"/v1/audit/entries/{entry}/proof",
        "export": "/v1/audit/export?with_proofs=true",
    }
    for name, path in kept.items():
        answer = api("GET", path)
        assert answer.status_code == 200, name
        (folder / name).write_bytes(answer.data)


def check_times(printed: str, *, zoned_by_head: bool = False) -> bool:
    """Whether there is a time in what is printed; all are the machine's, with the zone, or that is in the head."""
    if zoned_by_head:
        assert "+05:30" in printed.splitlines()[0]
        printed = re.sub(r'\{".*', "", printed)  # details are shown as they are recorded
        printed = re.sub(r"(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ", r"\1 +05:30 ", printed)
    rest, found = LOCAL.subn("", printed)
    assert OTHER.search(rest) is None, rest
    return found > 0


@pytest.mark.parametrize("backend", ["sqlite"])
def test_nothing_for_a_terminal_to_obey(make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that has --json escapes what is not printable; it is the same JSON. Without it times are local."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    shop = Shop(make_app)
    entry, *_ = store(shop.app, [make_old_event(2 * DAY, number, EVIL) for number in range(300)])
    vkey = shop.operator("GET", "/v1/audit/log/key").text.strip()
    (tmp_path / "old").write_bytes(shop.operator("GET", "/v1/audit/log/checkpoint").data)
    named = shop.operator("POST", "/v1/secrets", json={"name": EVIL, "value": "hunter2"}).headers["Audit-Id"]
    shop.operator("POST", "/v1/policies", json={"source": EVIL, "target": EVIL, "action": "deny"})
    agent = shop.join(labels=EVIL)
    shop.apply(service("web", "img:0"), app=APP)
    document = manifest(service("web", APP), app=APP, rollout=HEALTH) | {"workers": [service("task")]}
    shop.post("", document)
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    keep_for_checks(shop.operator, named, tmp_path)
    YoqDatabase(tmp_path / "yoq").set_secret(EVIL, b"another")
    assert {name for name, command in list_commands(shop.app.cli) if take_json(command)} == set(EXAMPLES)
    telling, timed = set(), set()
    meant = {"FOLDER": str(tmp_path), "ENTRY": entry, "VKEY": vkey, "AGENT": agent}
    for name, arguments in EXAMPLES.items():
        given = [re.sub("|".join(meant), lambda word: meant[word[0]], argument) for argument in arguments]
        with monkeypatch.context() as waiting:
            if name == "audit follow":
                waiting.setattr("time.sleep", interrupt)
            printed = output(shop.app, *name.split(), "--json", *given)
            if name not in ACTING:
                waiting.setenv("TZ", "Asia/Kolkata")
                time.tzset()
                wide = ["--wide"] if name in ("audit list", "audit follow") else []
                table = run(shop.app, *name.split(), *wide, *given).stdout
                if check_times(table, zoned_by_head=bool(wide)):
                    timed.add(name)
        time.tzset()
        lines = printed.removesuffix("\n").split("\n")
        assert all(line.isprintable() for line in lines), name
        said = json.dumps([json.loads(line) for line in lines], ensure_ascii=False)
        if EVIL in said or APP in said:
            telling.add(name)
    assert telling == TELLING
    assert timed == TIMED


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_failure_says_nothing_for_a_terminal_to_obey(app: Flask) -> None:
    """What a command could not do is told on as many lines as it has, with escapes."""
    assert failure(app, "app", "status", APP) == "no releases found for app shop\\u202e\n"
