"""What the package raises: one class for each kind of thing that can be wrong, all of them `LogError`."""


class LogError(ValueError):
    """Something that should be part of a log is malformed, or does not prove what it claims."""


class PathError(LogError):
    """A path names no tile and no entry bundle."""


class TileError(LogError):
    """The bytes of a tile or an entry bundle are not what they must be."""


class ProofError(LogError):
    """A proof is malformed or proves nothing."""


class NoteError(LogError):
    """A note, or a key for notes, is malformed, or a note is not signed by a known key."""


class CheckpointError(LogError):
    """The text of a note is no checkpoint."""
