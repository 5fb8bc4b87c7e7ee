"""The reader of archives, offline and in one pass: nothing is believed before the log's key has vouched for it."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from yoq_audit.retention.archive import CHECKPOINT, DESCRIPTION, VERSION
from yoq_audit.sealing.removal import Erasure, is_signed, parse_removal
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.hashes import HASH_SIZE, LEAF_PREFIX
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tiles import MAX_ENTRY, TILE, Bundle, Tile, decode_bundle, list_tiles
from yoq_audit.tlog.verified_tiles import VerifiedTiles

MAX_MEMBER = TILE * (MAX_ENTRY + 2)
"""The largest bundle there can be; nothing in an archive is larger."""
DETAILS = re.compile(r"details/(0|[1-9][0-9]{0,18})\.json", re.ASCII)


class ArchiveError(LogError):
    """The file is no archive of this log, or not as it was written; the message says what does not hold."""


@dataclass
class Archive:
    """What an archive says of itself once it was checked; `sha256` is that of the file."""

    first: int = 0
    end: int = 0
    entries: int = 0
    erased: list[int] = field(default_factory=list)
    head: Checkpoint | None = None
    sha256: str = ""


EntryCallback = Callable[[int, dict[str, Any]], object]
"""Told the index and the columns of each entry, `details` as they were stored."""


def read_archive(
    path: Path, verifiers: Sequence[Verifier], on_entry: EntryCallback = lambda _index, _entry: None
) -> Archive:
    """Check an archive against the log's keys, and call `on_entry` with each entry when it has been checked.

    Raises ArchiveError or another LogError if anything does not hold, and OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        try:
            return _ArchiveReader(_list_members(file), verifiers, on_entry).run(digest)
        except (tarfile.TarError, EOFError) as error:
            raise ArchiveError(f"the file is no whole archive: {error}") from error
        except OSError as error:
            if error.errno is None:  # what gzip says of damaged data
                raise ArchiveError(f"the file is no whole archive: {error}") from error
            raise


def _list_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in the tar."""
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() and member.size <= MAX_MEMBER else None
            if content is None:
                raise ArchiveError(f"{member.name!r} is nothing that an archive has")
            yield member.name, content.read()


class _ArchiveReader:
    def __init__(
        self, members: Iterator[tuple[str, bytes]], verifiers: Sequence[Verifier], on_entry: EntryCallback
    ) -> None:
        self._members = members
        self._verifiers = tuple(verifiers)
        self._on_entry = on_entry
        self._found = Archive()
        self._upper: dict[Tile, bytes] = {}
        self._leaves: tuple[int, bytes] = (-1, b"")
        self._details: dict[int, str] = {}
        self._entries = 0
        self._next: tuple[str, bytes] | None = next(members, None)

    def run(self, digest: str) -> Archive:
        """Read everything, in the order in which it was written."""
        self._found.sha256 = digest
        self._read_description(self._take(DESCRIPTION))
        self._found.head = head = self._open_checkpoint(self._take(CHECKPOINT))
        for tile in list_tiles(head.size):
            if tile.level > 0 or not tile.full:
                self._upper[tile] = self._take_tile(tile)
        trusted = VerifiedTiles(self._read_tile, head.size, head.root)
        for number in range(self._found.first // TILE, self._found.end // TILE):
            self._take_details()
            self._leaves = number, self._take_tile(Tile(0, number))
            self._check_bundle(Bundle(number), trusted)
        if self._next is not None:
            raise ArchiveError(f"{self._next[0]!r} is more than the archive has")
        if self._entries != self._found.entries:
            raise ArchiveError(f"the archive has {self._entries} entries, not {self._found.entries}")
        return self._found

    def _take(self, wanted: str) -> bytes:
        """Return the next file, which must have this name."""
        if self._next is None:
            raise ArchiveError(f"the archive ends before {wanted}")
        name, content = self._next
        if name != wanted:
            raise ArchiveError(f"the archive has {name!r} where {wanted} must be")
        self._next = next(self._members, None)
        return content

    def _take_tile(self, tile: Tile) -> bytes:
        content = self._take(tile.path)
        if len(content) != tile.width * HASH_SIZE:
            raise ArchiveError(f"{tile.path} has {len(content)} bytes")
        return content

    def _take_details(self) -> None:
        """Keep the details that stand before a bundle's tile."""
        while self._next is not None and (found := DETAILS.fullmatch(self._next[0])) and len(self._details) < TILE:
            index = int(found[1])
            if index in self._details:
                raise ArchiveError(f"the archive has the details of number {index} twice")
            self._details[index] = self._take(self._next[0]).decode(errors="surrogateescape")

    def _read_description(self, content: bytes) -> None:
        try:
            said = json.loads(content)
            first, end, entries, version = said["first"], said["end"], said["entries"], said["version"]
            erased = list(said["erased"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ArchiveError(f"{DESCRIPTION} is malformed") from error
        if version != VERSION:
            raise ArchiveError("the archive is from another version of the software")
        if not all(type(number) is int for number in (first, end, entries)):
            raise ArchiveError(f"{DESCRIPTION} is malformed")
        if not 0 <= first < end or first % TILE or end % TILE:
            raise ArchiveError("the archive does not hold whole bundles")
        self._found.first, self._found.end, self._found.entries = first, end, entries
        self._found.erased = [self._check_announcement(one) for one in erased]

    def _check_announcement(self, one: Any) -> int:
        """Return the index of an erased entry, whose erasure the log's key announced."""
        try:
            index, parsed = one["index"], parse_removal("audit_erase", one["event_id"], one["details"])
        except (TypeError, KeyError) as error:
            raise ArchiveError(f"{DESCRIPTION} is malformed") from error
        if parsed is None or not isinstance(parsed[0], Erasure) or index not in parsed[0].places:
            raise ArchiveError(f"nothing announced that number {index!r} was erased")
        if not is_signed(*parsed, self._verifiers):
            raise ArchiveError(f"no known key announced that number {index!r} was erased")
        return int(index)

    def _open_checkpoint(self, content: bytes) -> Checkpoint:
        opened = notes.verify(content, self._verifiers)
        head = checkpoints.parse(opened.text)
        if head.origin not in {key.name for key in opened.verified}:
            raise ArchiveError("the checkpoint is that of another log")
        if self._found.end > head.size:
            raise ArchiveError("the checkpoint is older than the archive")
        return head

    def _read_tile(self, tile: Tile) -> bytes:
        if (tile.level, tile.full, tile.index) == (0, True, self._leaves[0]):
            return self._leaves[1]
        return self._upper.get(tile, b"")

    def _check_bundle(self, bundle: Bundle, trusted: VerifiedTiles) -> None:
        hashes = trusted.read_leaves(bundle.index)
        content = self._take(bundle.path)
        leaves = decode_bundle(content)
        if len(leaves) != TILE:
            raise ArchiveError(f"{bundle.path} has {len(leaves)} entries")
        for at, leaf in enumerate(leaves):
            index = bundle.start + at
            if not leaf and index in self._found.erased:
                continue
            if sha256(LEAF_PREFIX + leaf).digest() != hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE]:
                raise ArchiveError(f"number {index} is not the entry that was sealed")
            self._entries += 1
            self._on_entry(index, self._decode_entry(index, leaf))
        if self._details:
            raise ArchiveError("the archive has details of no entry")

    def _decode_entry(self, index: int, leaf: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(leaf)
        if (wanted := entry.pop("details_sha256", None)) is not None:
            details = self._details.pop(index, "").encode(errors="surrogateescape")
            if sha256(details).hexdigest() != wanted:
                raise ArchiveError(f"the details of number {index} are not those that were sealed")
            entry["details"] = json.loads(details)
        return entry
