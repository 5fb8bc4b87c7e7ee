"""Verifying an export with proofs, offline: with the file and the log's public key, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

from yoq_audit.export.proofs import END, HEADER, PROOF, VERSION
from yoq_audit.proofs.entry_leaf import UNPROVED, make_leaf, parse_document
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.codec import decode_base64
from yoq_audit.tlog.errors import LogError, NoteError, ProofError
from yoq_audit.tlog.hashes import HASH_SIZE, hash_leaf
from yoq_audit.tlog.multiproof import fold
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tiles import TILE

MAX_LINE = 16 * 1024 * 1024
"""Bytes of a line; a longer one is no entry of ours, and is not read into memory."""

MOST_GAPS = 1000
"""So many stretches of missing places are remembered."""


class ExportError(LogError):
    """A line of the file is not what it must be; the message names it."""


@dataclass
class VerifiedExport:
    """What a file holds: so many entries of the log that signed `head`, and which of its places are not there."""

    head: Checkpoint
    filters: dict[str, Any]
    entries: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """The first and the last place of each stretch that is not in the file; MOST_GAPS of them."""
    _next: int = 0

    def add(self, place: int) -> None:
        """Count an entry that is there, the next one."""
        self._note_gap(place)
        self._next = place + 1
        self.entries += 1

    def finish(self) -> None:
        """Note what is missing at the end."""
        self._note_gap(self.head.size)

    def _note_gap(self, end: int) -> None:
        if end > self._next and len(self.gaps) < MOST_GAPS:
            self.gaps.append((self._next, end - 1))


def verify_export(
    file: BinaryIO, verifiers: Sequence[Verifier], progress: Callable[[int], None] | None = None
) -> VerifiedExport:
    """Verify every line. Raises an ExportError that names the first one that does not hold.

    `progress` is told how many bytes were read.
    """
    lines = _Lines(file, progress)
    found: VerifiedExport = lines.call(_read_header, lines.parse(), verifiers)
    last = -1
    lines.advance()
    while END not in (members := lines.parse()):
        if members.keys() != {PROOF}:
            lines.fail("an entry without a proof: entries were added or moved, or the proof before it changed")
        places, leaves = lines.call(_read_proof, members[PROOF], found.head)
        if places[0] <= last:
            lines.fail(f"place {places[0]} comes after place {last}: lines were repeated or moved")
        last = places[-1]
        for place, leaf in zip(places, leaves, strict=True):
            lines.advance()
            lines.check_entry(place, leaf)
            found.add(place)
        lines.advance()
    lines.finish(members, found.entries)
    found.finish()
    return found


class _Lines:
    """The file's lines, one after the other, and a hash over those that are done."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._file = file
        self._progress = progress
        self._number = 0
        self._read = 0
        self._seen = hashlib.sha256()
        self._line = b""
        self.advance()

    def advance(self) -> None:
        """Go to the next line; there must be one."""
        self._seen.update(self._line)
        self._line = self._file.readline(MAX_LINE)
        self._number += 1
        self._read += len(self._line)
        if not self._line.endswith(b"\n"):
            self.fail("too long for any entry" if len(self._line) == MAX_LINE else "the file is cut off here")
        if self._progress:
            self._progress(self._read)

    def fail(self, reason: str) -> NoReturn:
        """Say what is wrong with this line."""
        raise ExportError(f"line {self._number}: {reason}")

    def call(self, check: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `check` finds; what it raises is raised for this line."""
        try:
            return check(*arguments)
        except LogError as error:
            self.fail(str(error))
        except (ValueError, TypeError, KeyError):
            self.fail("malformed")

    def parse(self) -> dict[str, Any]:
        """Read this line as JSON, in its one spelling."""
        found: dict[str, Any] = self.call(parse_document, self._line)
        return found

    def check_entry(self, place: int, leaf: bytes) -> None:
        """Check that this line is the entry that was sealed at this place."""
        document = self.parse()
        if not document.keys().isdisjoint({HEADER, PROOF, END}):
            self.fail(f"entry {place} is missing")
        if not document.keys().isdisjoint(UNPROVED):
            self.fail("an entry with members that no proof covers")
        if hash_leaf(self.call(make_leaf, document)) != leaf:
            self.fail(f"not entry {place} as it was sealed: it was altered, or lines were moved, added or removed")

    def finish(self, members: dict[str, Any], entries: int) -> None:
        """Check that this line is the end, of so many entries and these lines."""
        if members.keys() != {END} or members[END] != {"entries": entries, "sha256": self._seen.hexdigest()}:
            self.fail(f"the end does not fit the {entries} entries before it: a proof, entries or the header changed")
        self._seen.update(self._line)
        if self._file.read(1):
            self._number += 1
            self.fail("something follows the end")


def _read_header(document: dict[str, Any], verifiers: Sequence[Verifier]) -> VerifiedExport:
    if document.get(HEADER) != VERSION or document.keys() != {HEADER, "filters", "checkpoint"}:
        raise ProofError("not an export with proofs, or of a newer version")
    if not isinstance(document["filters"], dict) or not isinstance(document["checkpoint"], str):
        raise ProofError("malformed")
    opened = notes.verify(document["checkpoint"], verifiers)
    head = checkpoints.parse(opened.text)
    if head.origin not in {verifier.name for verifier in opened.verified}:
        raise NoteError(f"no known key of the log {head.origin!r} signed its checkpoint")
    return VerifiedExport(head, document["filters"])


def _read_proof(proof: Any, head: Checkpoint) -> tuple[list[int], list[bytes]]:
    """Read the places that a line proves, and the hashes of their leaves."""
    if not isinstance(proof, dict) or proof.keys() != {"places", "hashes"}:
        raise ProofError("malformed")
    places: list[int] = []
    for first, last in proof["places"]:
        if type(first) is not int or type(last) is not int or not 0 <= first <= last < first + TILE:
            raise ProofError("malformed")
        places += range(first, last + 1)
        if len(places) > TILE:
            raise ProofError("malformed")
    joined = decode_base64(proof["hashes"])
    hashes = [joined[at : at + HASH_SIZE] for at in range(0, len(joined), HASH_SIZE)]
    root, leaves = fold(places, head.size, hashes)
    if root != head.root:
        raise ProofError("the proof does not lead to the checkpoint's root: it was altered, or is of another log")
    return places, leaves
