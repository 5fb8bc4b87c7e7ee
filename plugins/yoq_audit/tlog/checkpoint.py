"""Checkpoints: the size and root of a log's tree as the text of a signed note (C2SP tlog-checkpoint, "Note text")."""

from __future__ import annotations

from dataclasses import dataclass

from yoq_audit.tlog.codec import MAX_SIZE, decode_base64, encode_base64, parse_decimal
from yoq_audit.tlog.errors import CheckpointError
from yoq_audit.tlog.hashes import EMPTY_ROOT, HASH_SIZE


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log signs: that its tree of this size has this root. Extension lines are opaque and better left out."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or any(char < " " for char in line):
                raise CheckpointError("a line of a checkpoint is empty or has a control character")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError(f"no tree size: {self.size}")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"a root has {HASH_SIZE} bytes, not {len(self.root)}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("the root is not that of the empty tree")

    @property
    def text(self) -> str:
        """The text to be signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> Checkpoint:
    """Read the text of a checkpoint, in its one spelling; else CheckpointError.

    The text must come from a verified note (`note.verify`): by itself it proves nothing.
    """
    if not text.endswith("\n"):
        raise CheckpointError("a checkpoint must end with a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise CheckpointError("a checkpoint has at least three lines: origin, size and root")
    origin, size, root, *extensions = lines
    try:
        return Checkpoint(origin, parse_decimal(size), decode_base64(root), tuple(extensions))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's size or root is malformed: {error}") from error
