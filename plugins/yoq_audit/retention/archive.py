"""An archive: the pruned part of the log in the log's own layout (C2SP tlog-tiles), as a tar file.

First `archive.json` and the signed `checkpoint`, then the tiles above the leaves, which lead to the signed root, then
each bundle behind its tile of leaf hashes. So a reader can check it in one pass, with the log's key and nothing else.
An erased entry stands in its bundle with no bytes; `archive.json` has the signed announcement. Details too long for a
leaf, which has only their hash, are in `details/<index>.json`.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_audit.retention.plan import Plan
from yoq_audit.retention.pruner import WrittenArchive
from yoq_audit.storage import tree
from yoq_audit.storage.models import ENTRIES, ERASED
from yoq_audit.tlog import tiles
from yoq_audit.tlog.tiles import Tile, encode_bundle, list_tiles
from yoq_web import Problem, ProgressCallback, db, dumps, files

VERSION = 1
DESCRIPTION = "archive.json"
CHECKPOINT = "checkpoint"


def write_archive(path: Path, planned: Plan, progress: ProgressCallback = lambda _done, _size: None) -> WrittenArchive:
    """Write the planned range to a new private file; it is there whole and on disk, or not at all.

    Raises a Problem if the file is there already or cannot be written.
    """
    try:
        with files.open_atomic(path, replace=False) as file:
            written = _HashingWriter(file)
            compressed = path.suffix in (".gz", ".tgz")
            with tarfile.open(fileobj=written, mode="w|gz" if compressed else "w|") as tar:  # type: ignore[call-overload]  # it only writes
                _write_contents(tar, planned, progress)
    except FileExistsError:
        raise Problem(409, "the archive cannot be written", f"{path.name} is there already") from None
    except OSError as error:
        reason = f"{error.strerror or type(error).__name__}; nothing was pruned"
        raise Problem(503, "the archive cannot be written", reason) from error
    return WrittenArchive(path.name, written.hexdigest(), written.size)


class _HashingWriter:
    """Writes to a file and hashes what it writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        """Return the hash of all that was written."""
        return self._hash.hexdigest()


def _write_contents(tar: tarfile.TarFile, planned: Plan, progress: ProgressCallback) -> None:
    session = db.session()
    first, end = planned.before, planned.reached
    description = {
        "version": VERSION,
        "first": first,
        "end": end,
        "size": planned.size,
        "entries": planned.entries,
        "erased": _list_erased(session, first, end),
    }
    _add(tar, DESCRIPTION, dumps(description).encode())
    _add(tar, CHECKPOINT, planned.note.encode())
    for tile in list_tiles(planned.size):
        if tile.level > 0 or not tile.full:
            _add(tar, tile.path, tree.read_tile(session, tile)[: tile.width * 32])
    for bundle in planned.read_bundles():
        for index, details in bundle.details:
            _add(tar, f"details/{index}.json", details.encode())
        _add(tar, Tile(0, bundle.number).path, bundle.hashes)
        _add(tar, tiles.Bundle(bundle.number).path, encode_bundle(leaf or b"" for leaf in bundle.leaves))
        progress((bundle.number + 1) * tiles.TILE - first, end - first)


def _list_erased(session: Session, first: int, end: int) -> list[dict[str, Any]]:
    """List the announcement of each erased event in the range, as far as the log still has it: what its key signed."""
    rows = session.execute(
        select(ERASED.c.leaf_index, ERASED.c.event_id, ENTRIES.c.details, ENTRIES.c.event_id.label("announced_by"))
        .outerjoin(ENTRIES, ENTRIES.c.event_id == ERASED.c.announced_by)
        .where(ERASED.c.leaf_index >= first, ERASED.c.leaf_index < end)
        .order_by(ERASED.c.leaf_index)
    )
    return [
        {"index": row.leaf_index, "event_id": row.event_id, "announced_by": row.announced_by, "details": row.details}
        for row in rows
    ]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o600
    tar.addfile(member, io.BytesIO(content))
