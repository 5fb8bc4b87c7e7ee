"""Proofs of one entry that are checked offline, with nothing but the log's public key (C2SP tlog-proof)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yoq_audit.tlog import checkpoint
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.codec import MAX_SIZE, decode_base64, encode_base64, parse_decimal
from yoq_audit.tlog.errors import NoteError, ProofError
from yoq_audit.tlog.hashes import HASH_SIZE, hash_leaf
from yoq_audit.tlog.note import Verifier, verify
from yoq_audit.tlog.tree import verify_inclusion

FIRST_LINE = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
"""How the names of files with proofs end."""


@dataclass(frozen=True)
class Proof:
    """That an entry stands at `index` in the tree of the signed checkpoint. Nothing authenticates `extra`."""

    index: int
    path: Sequence[bytes]
    checkpoint_note: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(self.path))
        if not 0 <= self.index < MAX_SIZE:
            raise ProofError(f"no index: {self.index}")
        if any(len(node) != HASH_SIZE for node in self.path):
            raise ProofError(f"a hash of the path is not {HASH_SIZE} bytes long")
        if self.extra == b"":
            raise ProofError("extra data is left out when there is none")

    def format(self) -> str:
        """Write the proof as text ("Format")."""
        lines = [FIRST_LINE]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(encode_base64, self.path)
        return "\n".join(lines) + "\n\n" + self.checkpoint_note


def parse(text: str | bytes) -> Proof:
    """Read the proof that the text spells, with nothing of it checked yet ("Format"); else ProofError."""
    try:
        return _parse(text.decode() if isinstance(text, bytes) else text)
    except ProofError:
        raise
    except ValueError as error:
        raise ProofError(f"the proof is malformed: {error}") from error


def check(
    proof_text: str | bytes, leaf_data: bytes, verifiers: Iterable[Verifier], origin: str | None = None
) -> Checkpoint:
    """Check that the entry is in the log, and return the checkpoint that says so; else a LogError says what is wrong.

    Without an `origin` the checkpoint's origin must be the name of a known key that signed it, which is how logs
    name their keys; so a key known for one log proves nothing about another.
    """
    proof = parse(proof_text)
    opened = verify(proof.checkpoint_note, verifiers)
    head = checkpoint.parse(opened.text)
    if origin is not None and head.origin != origin:
        raise ProofError(f"the checkpoint is of the log {head.origin!r}, not of {origin!r}")
    if origin is None and head.origin not in {verifier.name for verifier in opened.verified}:
        raise NoteError(f"no known key of the log {head.origin!r} signed its checkpoint")
    verify_inclusion(proof.index, head.size, hash_leaf(leaf_data), proof.path, head.root)
    return head


def _parse(text: str) -> Proof:
    """Do the same, where what is no number, no base64 or no UTF-8 is any ValueError."""
    head, empty_line, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != FIRST_LINE or not empty_line:
        raise ProofError(f"a proof starts with the line {FIRST_LINE!r} and has an empty line before its checkpoint")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise ProofError("the proof does not say the entry's index where it must")
    index = parse_decimal(lines.pop(0).removeprefix("index "))
    return Proof(index, [decode_base64(line) for line in lines], note, extra)
