"""An export with proofs: how it is written. The README describes the format; `verify` reads it.

The first line holds the signed checkpoint. Before the entries of each tile, 256 at most, stands one line that proves
them, with the places that they have. The last line counts the entries and has a hash over all lines before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any

from yoq_audit.export.ndjson import encode_proved
from yoq_audit.export.sealed_log import Row, SealedLog
from yoq_audit.storage import tree
from yoq_audit.storage.tree import SignedTree
from yoq_audit.tlog.codec import encode_base64
from yoq_audit.tlog.multiproof import prove
from yoq_audit.tlog.tiles import TILE, Tile, make_subtree
from yoq_audit.tlog.tree import Subtree
from yoq_web import db, dumps

VERSION = 1
"""The version of the format."""

HEADER, PROOF, END = "yoq_audit_export", "proof", "end"
"""The first members of the three kinds of lines that are no entries."""


def write(log: SealedLog, rows: Iterable[Row], sealed: SignedTree, filters: dict[str, Any]) -> Iterator[bytes]:
    """Write the export, in pieces of whole lines."""
    seen = hashlib.sha256()
    count = 0
    subtree = _make_subtree(log, sealed.size)
    header = _encode_line({HEADER: VERSION, "filters": filters, "checkpoint": sealed.note})
    seen.update(header)
    yield header
    for _, group in groupby(rows, key=_find_tile):
        entries = list(group)
        hashes = b"".join(prove([row[0] for row in entries], sealed.size, subtree))
        proof = _encode_line({PROOF: {"places": _join_places(entries), "hashes": encode_base64(hashes)}})
        piece = proof + encode_proved(entries)
        seen.update(piece)
        count += len(entries)
        yield piece
    yield _encode_line({END: {"entries": count, "sha256": seen.hexdigest()}})


def _find_tile(row: Row) -> int:
    return int(row[0]) // TILE


def _encode_line(document: dict[str, Any]) -> bytes:
    return f"{dumps(document)}\n".encode()


def _join_places(rows: list[Row]) -> list[list[int]]:
    """Return the places of the entries, as ranges from a first to a last one."""
    found: list[list[int]] = []
    for place in (row[0] for row in rows):
        if found and found[-1][1] == place - 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return found


def _make_subtree(log: SealedLog, size: int) -> Subtree:
    def read(tile: Tile) -> bytes:
        with log.app.app_context():
            return tree.read_tile(db.session(), tile)

    # Neighbouring tiles share most of the hashes above them.
    return lru_cache(maxsize=1024)(make_subtree(read, size))
