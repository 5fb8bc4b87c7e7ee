"""The log over HTTP: what an auditor with the log's key and the public specifications checks from outside."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.support.door import acting
from tests.support.outsider import (
    Log,
    compute_root,
    hash_leaf,
    hash_node,
    is_consistent,
    open_checkpoint,
)
from yoq_web.policies.operations import delete_policy

LOG = "/v1/audit/log"
SIZE = 256 + 44
MALFORMED = [
    *("64/000", "-1/000", "abc/000", "00/000", "0/x001", "0/x001/", "0/x001/x234", "0/x001/x234/", "0/001/002"),
    *("0/x001/0002", "0/x001/-002", "0/067.p", "0/067.p/", "0/000.p/abc", "0/000.p/256", "0/000.p/0", "0/.p/1"),
    *("0/x111/x222/x333/x444/x555/x666/777", "0/x000/001", "0/0", "0/0000", "0/000.p/01", "0/000/", "0/..%2f..", "0"),
    *("entries/x001", "entries/001/002", "entries/000.p/0", "entries/000.p/256", "entries/", "entries", "0/\u0663"),
]
BEYOND = ["0/001", "0/001.p/45", "0/002.p/1", "1/000", "1/000.p/2", "2/000.p/1", "63/000", "0/x999/x999/x999/999"]


def fill(app: Flask, count: int, name: str = "a") -> None:
    """Leave so many entries."""
    with acting(app):
        for number in range(count):
            delete_policy(name, str(number))


def good(api: Api, path: str) -> TestResponse:
    """The answer at a path of the log, which is there."""
    answer = api("GET", f"{LOG}/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return answer


def log_of(api: Api) -> tuple[Log, str]:
    """The log as an outsider reads it, and its key."""
    return Log(lambda path: good(api, path).data), good(api, "key").text.removesuffix("\n")


def test_an_outsider_finds_every_entry_in_the_signed_tree(app: Flask, api: Api) -> None:
    """Checkpoint, tiles and bundles agree with each other and with the trail, beyond a full tile."""
    fill(app, SIZE)
    note = good(api, "checkpoint").text
    log, vkey = log_of(api)
    head = open_checkpoint(note, vkey)
    assert (head.origin, head.size) == ("yoq-web/node-1", SIZE)
    leaves = log.leaves(SIZE)
    assert compute_root([hash_leaf(leaf) for leaf in leaves]) == head.root
    assert log.hashes(0, SIZE) == [hash_leaf(leaf) for leaf in leaves]
    assert log.root(SIZE) == head.root
    trail = {entry["event_id"]: entry for entry in api.entries()}
    for leaf in leaves:
        entry = json.loads(leaf)
        shown = trail.pop(entry["event_id"])
        assert {name: shown[name] for name in entry.keys() - {"time"}} == {
            name: value for name, value in entry.items() if name != "time"
        }
    assert not trail


def test_an_older_size_is_the_beginning_of_a_newer(app: Flask, api: Api) -> None:
    """Consistency holds between any two sizes, also those of partial tiles that are full by now."""
    fill(app, 200)
    old = good(api, "checkpoint").text
    partial = good(api, "tile/0/000.p/200").data
    fill(app, SIZE - 200)
    log, vkey = log_of(api)
    new = open_checkpoint(good(api, "checkpoint").text, vkey)
    older = open_checkpoint(old, vkey)
    assert (older.size, new.size) == (200, SIZE)
    assert good(api, "tile/0/000.p/200").data == partial
    leaves = [hash_leaf(leaf) for leaf in log.leaves(SIZE)]
    for size, root in (
        (200, older.root),
        (1, leaves[0]),
        (256, compute_root(leaves[:256])),
        (299, compute_root(leaves[:299])),
    ):
        answer = good(api, f"consistency?from={size}").json
        assert answer is not None
        assert list(answer) == ["from", "to", "hashes"]
        assert (answer["from"], answer["to"]) == (size, SIZE)
        hashes = [base64.b64decode(text, validate=True) for text in answer["hashes"]]
        assert is_consistent(size, SIZE, root, new.root, hashes)
        assert not is_consistent(size, SIZE, hash_node(root, root), new.root, hashes)
    between = good(api, "consistency?from=3&to=200").json
    assert between is not None
    hashes = [base64.b64decode(text, validate=True) for text in between["hashes"]]
    assert is_consistent(3, 200, compute_root(leaves[:3]), older.root, hashes)
    for sizes in ("from=0&to=7", "from=7&to=7", f"from={SIZE}"):
        assert good(api, f"consistency?{sizes}").json["hashes"] == []  # type: ignore[index]


@pytest.mark.parametrize(
    "query",
    [
        *("", "to=3", "from=", "from=x", "from=-1", "from=01", "from=1.0", "from=%2B1", "from=1_0", "from=1&to="),
        *("from=3&to=2", "from=6", "from=1&to=6", f"from=1&to={2**63}", f"from={10**30}", "from=\u0663"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"])
def test_sizes_that_there_are_not(app: Flask, api: Api, query: str) -> None:
    """Consistency between sizes that are malformed, the wrong way round or beyond the log is refused with 400."""
    fill(app, 5)
    answer = api("GET", f"{LOG}/consistency?{query}")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json"), answer.text


def test_what_is_answered_says_what_it_is_and_how_long_it_holds(app: Flask, api: Api) -> None:
    """Text is UTF-8 text and soon stale; tiles, full or partial, are bytes and never change; entries may be erased."""
    fill(app, SIZE)
    entry = api.entries(1)[0]["event_id"]
    for path in (f"{LOG}/checkpoint", f"{LOG}/key", f"/v1/audit/entries/{entry}/proof"):
        answer = api("GET", path)
        assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
        assert answer.cache_control.max_age in range(6)
        assert answer.cache_control.private
    for path, length in (("0/000", 8192), ("0/001.p/44", 44 * 32), ("0/001.p/1", 32), ("1/000.p/1", 32)):
        answer = good(api, f"tile/{path}")
        assert len(answer.data) == length
        assert answer.content_type == "application/octet-stream"
    for path in ("entries/000", "entries/000.p/9", "entries/001.p/44"):
        answer = good(api, f"tile/{path}")
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Cache-Control"] == "no-store"
    for path in ("0/000", "0/000.p/255", "0/001.p/44"):
        answer = good(api, f"tile/{path}")
        assert answer.content_type == "application/octet-stream"
        assert (answer.cache_control.max_age or 0) > 7 * 24 * 3600
        assert answer.cache_control.immutable
        assert answer.cache_control.private


@pytest.mark.parametrize("backend", ["sqlite"])
def test_bundles_are_compressed_for_those_who_say_so(app: Flask, api: Api) -> None:
    """An entry bundle comes as gzip to a client that takes it and as it is to others; hashes are never compressed."""
    fill(app, 9)
    good(api, "checkpoint")
    path = f"{LOG}/tile/entries/000.p/9"
    plain = api("GET", path)
    assert "Content-Encoding" not in plain.headers
    for accepted in ("gzip", "gzip, identity", "deflate, gzip;q=0.5", "*"):
        answer = api("GET", path, headers={"Accept-Encoding": accepted})
        assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, "gzip"), accepted
        assert gzip.decompress(answer.data) == plain.data
        assert len(answer.data) < len(plain.data) / 2
        assert answer.content_type == "application/octet-stream"
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert api("GET", path, headers={"Accept-Encoding": accepted}).data == answer.data
    for accepted in ("", "identity", "br", "gzip;q=0", "gzip;q=0, identity"):
        answer = api("GET", path, headers={"Accept-Encoding": accepted})
        assert "Content-Encoding" not in answer.headers, accepted
        assert answer.data == plain.data
        assert "Accept-Encoding" in answer.headers["Vary"]
    assert "Content-Encoding" not in api("GET", f"{LOG}/tile/0/000.p/9", headers={"Accept-Encoding": "gzip"}).headers


def test_head_is_answered_as_get_is(app: Flask, api: Api) -> None:
    """On every path of the log HEAD has the status and the headers of GET, and no body; its scope is the same."""
    fill(app, 3)
    entry = api.entries(1)[0]["event_id"]
    stranger = api.token("secrets:read")
    given = {"level": "0", "place": "000.p/3", "event_id": entry}
    paths = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(f"{LOG}/") or rule.rule.endswith("/proof"):
            path = re.sub(r"<(?:path:)?(\w+)>", lambda found: given[found[1]], rule.rule)
            paths.add(path + "?from=1" * path.endswith("/consistency"))
    assert len(paths) >= 8
    for path in (*paths, f"{LOG}/tile/0/x", f"{LOG}/tile/0/001", f"{LOG}/consistency", "/v1/audit/entries/x/proof"):
        got, head = api("GET", path), api("HEAD", path)
        assert (head.status_code, head.data) == (got.status_code, b""), path
        for name in ("Content-Type", "Content-Length", "Cache-Control"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)
        assert stranger("HEAD", path).status_code == 403, path
    for path in sorted(paths)[:8]:  # after ten in a minute it is 429
        assert api.with_token(None)("HEAD", path).status_code == 401, path


def test_only_the_signed_tree_is_served(app: Flask, api: Api) -> None:
    """Malformed paths, and tiles and bundles that the signed tree does not have, are 404; nothing is a 500."""
    fill(app, SIZE)
    good(api, "checkpoint")
    for place in (*MALFORMED, *BEYOND, "entries/001", "entries/001.p/45", "entries/x999/000"):
        answer = api("GET", f"{LOG}/tile/{place}")
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json"), place
    fill(app, 1)
    assert api("GET", f"{LOG}/tile/0/001.p/45").status_code == 404
    assert api("GET", f"{LOG}/tile/entries/001.p/45").status_code == 404
    good(api, "checkpoint")
    good(api, "tile/0/001.p/45")
    good(api, "tile/entries/001.p/45")


def test_checkpoints_of_before(app: Flask, api: Api) -> None:
    """The first that was signed with at least so many entries; malformed sizes are a 400, larger ones a 404."""
    notes = {}
    for count in (2, 3, 1):
        fill(app, count)
        note = good(api, "checkpoint").text
        notes[int(note.split("\n")[1])] = note
    assert list(notes) == [2, 5, 6]
    for size, found in ((0, 6), (1, 2), (2, 2), (3, 5), (5, 5), (6, 6)):
        assert good(api, f"checkpoint?size={size}").text == notes[found], size
    assert api("GET", f"{LOG}/checkpoint?size=7").status_code == 404
    for wrong in ("", "x", "-1", "01", "1.0", "%2B1", str(2**63), "1&size=2", "1&more=2"):
        assert api("GET", f"{LOG}/checkpoint?size={wrong}").status_code == 400, wrong


def test_who_may_read_it(app: Flask, api: Api) -> None:
    """The log is part of the trail: it needs `audit:read`."""
    reader, stranger = api.token("audit:read"), api.token("secrets:read", name="other")
    entry = api.entries(1)[0]["event_id"]
    proof = f"/v1/audit/entries/{entry}/proof"
    for path in (*(f"{LOG}/{name}" for name in ("checkpoint", "key", "tile/0/000.p/1", "tile/entries/000.p/1")), proof):
        assert api.with_token(None)("GET", path).status_code == 401, path
        assert stranger("GET", path).status_code == 403, path
    for path in (proof, f"{LOG}/checkpoint", f"{LOG}/tile/0/000.p/1", f"{LOG}/consistency?from=1"):
        assert reader("GET", path).status_code == 200, path
