"""The README's examples of reading the trail work as they stand."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.conftest import ADMIN
from tests.support.served import Served
from tests.test_readme import section
from yoq_audit.query.routes import AuditQuery


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_each_example_answers(served: Served) -> None:
    """Each line answers entries or counts; the link of a page that is not the last one leads on."""
    block = section("Reading the trail").partition("```sh\n")[2].partition("```")[0]
    lines = [line for line in block.splitlines() if line.startswith("call ")]
    assert len(lines) == 4
    call = f'call() {{ curl -sH "Authorization: Bearer {ADMIN}" "$@"; }}\n'

    def answer(line: str) -> str:
        """What a line prints."""
        command = line.replace("http://127.0.0.1:7700", served.url).partition("  #")[0]
        done = subprocess.run(["/bin/sh", "-c", call + command], capture_output=True, text=True, check=True)
        assert '"error"' not in done.stdout, done.stdout
        return done.stdout

    for name in ("dbx", "web"):
        answer(f'call http://127.0.0.1:7700/v1/secrets -d \'{{"name":"{name}","value":"v"}}\'')
    answers = [answer(line) for line in lines]
    assert answers[:2] == ["[]", "[]"]
    link = re.search(r"(?mi)^link: <(/v1/audit\?[^>]+)>; rel=\"next\"$", answers[2])
    assert link is not None
    assert '"target":"dbx"' in answers[2]
    assert '"target":"web"' in answer(f"call '{served.url}{link[1]}'")
    assert '"actions":{"secret_set":2}' in answers[3]


def test_every_filter_is_listed() -> None:
    """The table has each parameter of the list but the cursor, and no other."""
    cells = re.findall(r"^\| (`[^|]*`) \|", section("Reading the trail"), re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert set(named) == AuditQuery.model_fields.keys() - {"cursor"}
