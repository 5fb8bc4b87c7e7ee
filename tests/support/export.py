"""What the tests of export and follow share: a log with entries that try to break formats, and its export verified."""

from __future__ import annotations

import io
import json
from typing import Any

from flask import Flask

from tests.conftest import Api
from tests.support.tampering import seal
from tests.support.trail import make_entry, store
from yoq_audit.export.verify import VerifiedExport, verify_export
from yoq_audit.tlog.note import Verifier

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "'=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    "|cmd",
    "%0",
    "\ufeff=1",
    "=cmd|' /C calc'!A0",
)
"""Texts that a spreadsheet would run, or that hide one."""

NASTY = (
    *FORMULAS,
    'a"b',
    "a;=1",
    "a,=1",
    "two\nlines",
    "\u2028",
    "line\x1fend",
    '","action":"forged',
    "\N{GRINNING FACE}",
    "ünïcödé",
    "\x7f",
    " ",
)
"""Texts that have broken formats before."""


def make_nasty_entries() -> list[dict[str, Any]]:
    """An entry for each nasty text, in all its columns that are texts, and some with nothing in them."""
    rows = [
        make_entry(
            number,
            actor=text,
            target=text,
            reason=text,
            request_id=text,
            node=text,
            peer=text,
            outcome=("ok", "failed", "denied", "interrupted")[number % 4],
            details=json.dumps({"note": text, "many": [text, "b"]}, ensure_ascii=False, separators=(",", ":")),
        )
        for number, text in enumerate(NASTY)
    ]
    return [
        *rows,
        make_entry(len(rows), target=None, request_id=None, actor="local", actor_kind="local", action="made_up"),
    ]


def fill_log(app: Flask, url: str, count: int) -> None:
    """A sealed log of so many made-up entries, of five actors in turn."""
    store(url, [make_entry(number, actor=f"actor-{number % 5}") for number in range(count)])
    seal(app)


def read_key(api: Api) -> str:
    """The log's public key."""
    return api("GET", "/v1/audit/log/key").text.strip()


def verify(content: bytes, key: str) -> VerifiedExport:
    """What a file is found to hold. Raises what `verify_export` raises."""
    return verify_export(io.BytesIO(content), [Verifier.from_vkey(key)])


def export(api: Api, query: str = "") -> bytes:
    """The whole export over HTTP."""
    answer = api("GET", f"/v1/audit/export?{query}")
    assert answer.status_code == 200, answer.text
    content: bytes = answer.data
    return content
