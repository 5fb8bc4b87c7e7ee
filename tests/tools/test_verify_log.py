"""The auditor's verifier as it is used: a file by itself, on a machine that has Python and nothing of ours."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import Api
from tests.support.export import export
from tests.support.log_keys import LOG, rotate
from tests.support.retention import make_old_log, prune, read_vkey
from tests.support.tampering import make_log
from yoq_audit.sealing.key_chain import sign_announcement
from yoq_audit.tlog.note import Signer

FILE = Path(__file__).parents[2] / "tools" / "verify_log.py"
PYTHONS = [sys.executable, *(found for minor in (9, 10, 12, 13, 14) if (found := shutil.which(f"python3.{minor}")))]


def run(folder: Path, *arguments: str, python: str = sys.executable) -> tuple[int, str, str]:
    """Run a copy of the file in a folder, isolated from the project and from whatever is installed."""
    shutil.copy(FILE, folder)
    done = subprocess.run(
        [python, "-I", "-S", "-W", "error", FILE.name, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_it_needs_nothing_but_an_old_python() -> None:
    """It is Python 3.9, imports the standard library alone, and says so where it begins."""
    source = FILE.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
    assert not imported & {"socket", "urllib", "http", "subprocess", "ssl", "ctypes", "pickle", "importlib"}
    assert not {"eval", "exec", "compile", "__import__"} & {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_auditor_with_files_alone(app: Flask, api: Api, tmp_path: Path) -> None:
    """Each command, run as an auditor does, says what it proved, with each Python that is here; exit codes tell."""
    folder = tmp_path / "auditor"
    folder.mkdir()
    make_old_log(app, 300)
    vkey = read_vkey(api)
    (folder / "old").write_bytes(api("GET", f"{LOG}/checkpoint").data)
    make_log(app, 1)
    (folder / "new").write_bytes(api("GET", f"{LOG}/checkpoint").data)
    (folder / "growth").write_bytes(api("GET", f"{LOG}/consistency?from=300&to=301").data)
    entry = api.entries(1)[0]
    (folder / "entry").write_bytes(api("GET", f"/v1/audit/entries/{entry['event_id']}").data)
    (folder / "proof").write_bytes(api("GET", f"/v1/audit/entries/{entry['event_id']}/proof").data)
    (folder / "export").write_bytes(export(api, "with_proofs=true&action=policy_delete"))
    assert prune(app, "--archive", str(folder / "archive.tar.gz")) == 256
    (folder / "keys").write_text(f"{vkey}\n")
    told = f'"tester" "{entry["action"]}" "{entry["target"]}" "ok" "{entry["event_id"]}"'
    expected = {
        ("key",): f"proved, a key of the log: {vkey}",
        ("checkpoint", "new"): 'proved: "yoq-web/node-1" signed 301 entries',
        ("consistency", "old", "new", "growth"): "proved: the log of 300 entries is the beginning of that of 301",
        ("consistency", "old", "old"): "proved: the log of 300 entries is the beginning of that of 300",
        ("entry", "proof", "entry"): f"proved: entry 300 of them is {entry['time']} {told}",
        ("export", "export"): "proved: 1 of the entries are in the file; not in it: 0-299 301-301",
        ("archive", "archive.tar.gz"): "proved: 256 entries, the places 0-255; erased, as a key announced: []",
    }
    for python in PYTHONS:
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            continue  # what a version manager puts there for a version that is not chosen
        for words, said in expected.items():
            for key in (vkey, "@keys"):
                code, out, err = run(folder, "--key", key, *words, python=python)
                assert (code, err) == (0, ""), (python, words, err)
                assert said in out, (python, words, out)
    (folder / "new").write_bytes((folder / "new").read_bytes().replace(b"\n301\n", b"\n300\n"))
    code, out, err = run(folder, "--key", vkey, "checkpoint", "new")
    assert (code, out) == (1, "")
    assert err == "NOT PROVED: the signature is wrong: it or what it signed was altered\n"
    assert run(folder, "--key", vkey, "consistency", "old", "new", "growth")[0] == 1
    assert run(folder, "--key", vkey[:-4], "checkpoint", "old")[0] == 1
    for wrong in ((), ("checkpoint",), ("checkpoint", "old", "new"), ("nonsense", "old")):
        code, out, err = run(folder, "--key", vkey, *wrong)
        assert (code, out) == (2, "")
        assert "verify_log.py --key KEY" in err


def test_keys_are_followed(app: Flask, api: Api, tmp_path: Path) -> None:
    """Who has the first key finds the others by their announcements, and believes none that was made up."""
    make_log(app, 1)
    first = Signer.generate("example.com/elsewhere").vkey
    keys = [read_vkey(api), rotate(app), rotate(app)]
    given = api("GET", f"{LOG}/key/announcements").json
    assert isinstance(given, list)
    file = tmp_path / "announcements"

    def follow(notes: list[object], vkey: str) -> list[str] | None:
        file.write_text(json.dumps(notes))
        code, out, _ = run(tmp_path, "--key", vkey, "key", str(file))
        return [line.rpartition(": ")[2] for line in out.splitlines()] if code == 0 else None

    assert follow(given, keys[0]) == keys
    assert follow(given, keys[1]) == keys[1:]
    assert follow(given, keys[2]) == keys[2:]
    assert follow(given, first) == [first]
    assert follow([], keys[0]) == keys[:1]
    make_log(app, 1)
    (tmp_path / "newest").write_bytes(api("GET", f"{LOG}/checkpoint").data)
    assert run(tmp_path, "--key", keys[2], "checkpoint", "newest")[0] == 0
    name = keys[0].split("+")[0]
    forger, helper = Signer.generate(name), Signer.generate(name)
    forged = sign_announcement(helper, forger)
    assert follow([*given, forged], keys[0]) == keys
    for spoilt in (
        forged.replace(helper.vkey, keys[2]),
        given[1].replace(keys[2], forger.vkey),
        "nonsense",
        "",
        5,
        None,
    ):
        assert follow([given[0], spoilt], keys[1]) in (None, keys[1:2]), spoilt
    assert follow([given[1].replace("key rotation", "12")], keys[1]) is None
