"""A served program whose disk fails under the spool, while the trail is away: what it answers is true all the same."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ADMIN
from tests.core.operations.test_failure_policy import no_audit_log
from tests.program.test_outage import await_health, kill, on_record, put
from tests.support.door import behind, entries
from tests.support.served import serve
from yoq_web.operations.spool_file import FILE

pytestmark = [pytest.mark.program, pytest.mark.parametrize("backend", ["sqlite"])]


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that fails, compiled."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("disk") / "failing_disk.so"
    source = Path(__file__).parents[1] / "support" / "failing_disk.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", made, source, "-ldl"], check=True)  # noqa: S607 - whichever it is
    return made


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENOSPC], ids=os.strerror)
def test_the_disk_under_the_spool(database_url: str, tmp_path: Path, failing_disk: Path, error: int) -> None:
    """While it fails, with a torn write each time, nothing is done or acknowledged; before and after all is on record.

    Killed at the end, the program has lost nothing that it vouched for.
    """
    flag = tmp_path / "failing"
    settings = {"YOQ_DATABASE_URL": database_url, "YOQ_API_TOKEN": ADMIN}
    disk = {"LD_PRELOAD": str(failing_disk), "FAILING_FILE": FILE, "FAILING_WHILE": str(flag)}
    with no_audit_log(database_url), serve(tmp_path, **settings, **disk) as program:
        acknowledged = [put(program, f"before{number}") for number in range(3)]
        flag.write_text(str(error))
        refused = [put(program, f"during{number}") for number in range(3)]
        unknown = program("GET", "/v1/secrets", headers={"Authorization": "Bearer nobody's"})
        health = program("GET", "/health").json()
        assert (health["spool"], health["spool_writable"]) == (7, False)
        flag.unlink()
        acknowledged += [put(program, f"after{number}") for number in range(3)]
        kill(program)
    assert {answer.status_code for answer in acknowledged} == {200}
    assert {(answer.status_code, answer.headers.get("Audit-Id")) for answer in refused} == {(503, None)}
    assert {answer.json()["error"] for answer in refused} == {"the operation could not be recorded"}
    assert (unknown.status_code, "Audit-Id" in unknown.headers) == (401, False)
    with serve(tmp_path, **settings) as program:
        await_health(program, status="ok")
        assert set(on_record(database_url, acknowledged)) == {"ok"}
        changed = {row["name"] for row in behind(database_url, "SELECT name FROM secrets")}
        done = {entry["target"] for entry in entries(database_url) if entry["outcome"] == "ok"}
    assert changed == done == {f"{when}{number}" for when in ("before", "after") for number in range(3)}
