"""What was signed: the stored checkpoints, the keys and the head outside the database, against the tree as it is."""

from __future__ import annotations

from collections.abc import Sequence

from yoq_audit.sealing.key_chain import KeyChain, link_keys
from yoq_audit.sealing.keys import STORED_KEYS
from yoq_audit.sealing.signer import ROTATION
from yoq_audit.tlog import checkpoint as checkpoints
from yoq_audit.tlog import note as notes
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.errors import LogError, NoteError
from yoq_audit.tlog.note import Verifier
from yoq_audit.tlog.tiles import TILE
from yoq_audit.tlog.tree import Frontier
from yoq_audit.verification.reader import LogReader
from yoq_audit.verification.report import LIMIT, Report


class CheckpointComparison:
    """Compares each stored checkpoint when the walk over the tree has come to its size."""

    def __init__(self, reader: LogReader, report: Report, own: Verifier | None, head: Checkpoint | None) -> None:
        self._report = report
        self._head = head if head and head.size else None
        self._chain = self._read_keys(reader, own)
        self._announcements = self._read_announcements(reader)
        self._signer, self._signed_size = 0, 0
        self._stream = reader.stream_checkpoints()
        self._next = next(self._stream, None)
        newest = reader.fetch_all("SELECT size FROM audit_checkpoint ORDER BY size DESC LIMIT 1")
        self.size: int = newest[0][0] if newest and isinstance(newest[0][0], int) else 0
        self.newest_root = self._read_newest_root(reader)
        self._mismatched: list[int] = []
        self._matched = 0
        self._signed: tuple[int, bytes] | None = None

    @property
    def keys(self) -> Sequence[Verifier]:
        """The log's keys."""
        return self._chain.keys

    def _read_keys(self, reader: LogReader, own: Verifier | None) -> KeyChain:
        """Read the keys that may sign, in their order; a key of the database that is none of them is reported.

        Without a key of this machine's own the first one of the database is believed.
        """
        found = link_keys(reader.fetch_all(STORED_KEYS), own)
        for vkey in found.strangers:
            try:
                key = Verifier.from_vkey(vkey)
                said = f"the key {key.name}+{key.key_id.hex()} in the database is not this log's"
            except LogError:
                said = "a key in the database is malformed"
            self._report.add("key", said)
        if found.missing is not None and (found.missing != own or self._is_begun(reader, found)):
            missing = f"{found.missing.name}+{found.missing.key_id.hex()}"
            which = f"this machine's key {missing}" if found.missing == own else f"this log's key {missing}"
            self._report.add("key", f"{which} is not in the database")
        return found

    def _is_begun(self, reader: LogReader, found: KeyChain) -> bool:
        """Tell whether there is a log at all; before that a machine has its key alone."""
        return bool(found.strangers or self._head or reader.fetch_all("SELECT 1 FROM audit_checkpoint LIMIT 1"))

    def _read_announcements(self, reader: LogReader) -> list[int]:
        """Find for each key but the first the place of the entry that announces it; -1 where that cannot be found."""
        query = (
            "SELECT min(l.leaf_index) FROM audit_log e JOIN audit_leaf l ON l.entry_id = e.id "  # noqa: S608 - our own word
            f"WHERE e.action = '{ROTATION}' AND e.outcome = 'ok' AND e.target = ?"
        )
        places = [reader.fetch_value(query, key.vkey) for key in self._chain.keys[1:]]
        return [-1, *(place if isinstance(place, int) else -1 for place in places)]

    def _read_newest_root(self, reader: LogReader) -> bytes | None:
        for size, root, text in reader.stream_checkpoints(self.size):
            try:
                return self._open(size, text)[0].root if text else root
            except LogError:
                return None
        return None

    def compare_within(self, first: int, leaves: Sequence[bytes], upper: Sequence[bytes]) -> None:
        """Compare the checkpoints inside a tile: `upper` is the tree's edge before it."""
        local, done = Frontier(), 0
        end = first + len(leaves) + (len(leaves) < TILE)
        while (size := self._find_due(end)) is not None:
            if size > first:
                local.extend(leaves[done : size - first])
                done = size - first
                self.compare_at(size, Frontier(size, (*upper, *local.hashes)).root)
            else:
                self._report.add("checkpoint", f"checkpoint of size {size} cannot be: no tree has it", size=size)
                self._advance()

    def compare_at(self, size: int, root: bytes) -> None:
        """Compare the checkpoints of this size with the tree's root."""
        while self._next is not None and self._next[0] == size:
            self._compare(*self._next, root)
            self._advance()
        if self._head is not None and self._head.size == size:
            if self._head.root != root and (size, self._head.root) != self._signed:
                self._report.add("fork", f"fork at size {size}: the head kept outside has another root", size=size)
            self._head = None

    def report_broken(self, end: int, what: str) -> None:
        """Report that the leaves up to `end` are not those that were signed, and nothing tells which of them."""
        last = self._mismatched[0] if self._mismatched else end
        message = f"{what}: between the places {self._matched} and {last - 1}"
        self._report.add("altered", message, index=self._matched, size=last)
        self._mismatched.clear()
        self._matched = end

    def finish(self, walked: int) -> None:
        """Report what lies beyond the end, and roots that were signed for another tree."""
        if self._mismatched:
            self.report_broken(walked, f"the tree altered since it was signed with size {self._mismatched[0]}")
        if self._next is not None:
            size = self._next[0]
            message = f"checkpoint of size {size}: of the tree only {walked} leaves are left"
            self._report.add("checkpoint", message, size=size if isinstance(size, int) else None)
        if self._head is not None:
            message = f"the log is cut off: the head kept outside has {self._head.size} entries, the log {walked}"
            self._report.add("cut off", message, size=self._head.size)

    def _find_due(self, end: int) -> int | None:
        """Return the next size before `end` that something was signed for."""
        sizes = [self._next[0]] if self._next and isinstance(self._next[0], int) else []
        sizes += [self._head.size] if self._head else []
        size = min(sizes, default=end)
        return size if size < end else None

    def _advance(self) -> None:
        self._next = next(self._stream, None)

    def _open(self, size: int, text: bytes) -> tuple[Checkpoint, tuple[Verifier, ...]]:
        """Return the checkpoint in a note that keys of this log signed for this size, and these keys."""
        opened = notes.verify(text, self._chain.keys)
        found = checkpoints.parse(opened.text)
        if found.size != size or found.origin not in {key.name for key in opened.verified}:
            raise NoteError("the note is that of another checkpoint")
        return found, opened.verified

    def _check_turns(self, size: int, signers: Sequence[Verifier]) -> None:
        """Report a checkpoint that was signed by a key before its turn, or after it.

        The tree that holds the announcement of a key is signed by it and the one before: then that one's turn ends.
        """
        first, *further = sorted(signers, key=lambda key: self._chain.find_place(key) or 0)
        self._check_turn(size, first, self._signed_size)
        for key in further:
            self._check_turn(size, key, size)

    def _check_turn(self, size: int, key: Verifier, announced_before: int) -> None:
        place = self._chain.find_place(key) or 0
        name = f"{key.name}+{key.key_id.hex()}"
        if place < self._signer:
            self._report.add("key", f"checkpoint of size {size} signed by {name}, which was replaced before", size=size)
            return
        if place > self._signer and not all(
            at < announced_before for at in self._announcements[self._signer + 1 : place + 1]
        ):
            self._report.add("key", f"checkpoint of size {size} signed by {name}, which was not announced", size=size)
        self._signer, self._signed_size = place, size

    def _compare(self, size: int, stored: bytes, text: bytes | None, root: bytes) -> None:
        if text is None:
            if stored != root:
                self._report.add("checkpoint", f"checkpoint of size {size} altered: not the tree's root", size=size)
            elif size != self.size:
                self._report.add("checkpoint", f"checkpoint of size {size} has no signature any more", size=size)
            return
        try:
            opened, signers = self._open(size, text)
        except LogError as error:
            unknown = str(error) == "no known key signed the note"
            reason = "signed by an unknown key" if unknown else f"altered: {error}"
            other = "" if stored == root else "; its root is not the tree's"
            kind = "key" if unknown else "checkpoint"
            self._report.add(kind, f"checkpoint of size {size} {reason}{other}", size=size)  # type: ignore[arg-type]  # one of two kinds
            return
        self._check_turns(size, signers)
        signed = opened.root
        self._signed = size, signed
        if stored != signed:
            self._report.add("checkpoint", f"checkpoint of size {size} altered: its root was not signed", size=size)
        if signed == root:
            for other_size in self._mismatched:
                self._report.add("fork", f"fork at size {other_size}: another root was signed", size=other_size)
            self._mismatched.clear()
            self._matched = size
        elif len(self._mismatched) < LIMIT:
            self._mismatched.append(size)
