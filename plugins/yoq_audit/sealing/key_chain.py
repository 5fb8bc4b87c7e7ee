"""The chain of the log's keys: each but the first is announced by the key before it, and signed by both.

The announcement is a signed note. Whoever trusts one key of the chain can follow it to the others, forward and back;
nobody who only writes to the database can add a link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from yoq_audit.tlog import note as notes
from yoq_audit.tlog.errors import LogError, NoteError
from yoq_audit.tlog.note import Signer, Verifier

HEADING = "key rotation"
"""The second line of an announcement, where a checkpoint has its size: neither can be taken for the other."""


def sign_announcement(old: Signer, new: Signer) -> str:
    """Make the note in which both keys say that `new` follows `old`."""
    return notes.sign("".join(f"{line}\n" for line in (new.name, HEADING, old.vkey, new.vkey)), old, new)


def verify_announcement(announcement: str, new: Verifier) -> Verifier:
    """Return the key that announced `new`. Raises LogError unless both signed the announcement."""
    lines = announcement.partition("\n\n")[0].split("\n")
    if len(lines) != 4 or lines[:2] != [new.name, HEADING] or lines[3] != new.vkey:
        raise NoteError("not the announcement of this key")
    old = Verifier.from_vkey(lines[2])
    if set(notes.verify(announcement, [old, new]).verified) != {old, new}:
        raise NoteError("one of the two keys did not sign the announcement")
    return old


@dataclass(frozen=True)
class KeyChain:
    """The log's keys, the first one first, and what else stands in the database for keys.

    `missing` is a key of the chain that is not in the database. `forked` says that two keys claim to follow the last.
    """

    keys: tuple[Verifier, ...] = ()
    strangers: tuple[str, ...] = ()
    missing: Verifier | None = None
    forked: bool = False
    _places: dict[Verifier, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {key: place for place, key in enumerate(self.keys)})

    def find_place(self, key: Verifier) -> int | None:
        """Return where a key is in the chain, or None."""
        return self._places.get(key)


def link_keys(rows: Iterable[Sequence[object]], own: Verifier | None) -> KeyChain:
    """Find the chain among the stored keys: rows of vkey and announcement, the oldest first.

    It goes through `own`, the key that this machine has. Without one the first of the rows is believed.
    """
    linked: dict[Verifier, Verifier | None] = {}
    strangers: list[str] = []
    for vkey, announcement in rows:
        try:
            if not isinstance(vkey, str) or not isinstance(announcement, str | None):
                raise NoteError("not a key")
            key = Verifier.from_vkey(vkey)
            linked[key] = verify_announcement(announcement, key) if announcement is not None else None
        except LogError:
            strangers.append(str(vkey))
    start = own if own is not None else next((key for key, old in linked.items() if old is None), None)
    if start is None:
        return KeyChain((), (*strangers, *(key.vkey for key in linked)))
    keys = [start]
    while (old := linked.get(keys[0])) is not None and old in linked and old not in keys:
        keys.insert(0, old)
    while len(following := [key for key, before in linked.items() if before == keys[-1] and key not in keys]) == 1:
        keys += following
    return KeyChain(
        keys=tuple(keys),
        strangers=(*strangers, *(key.vkey for key in linked if key not in keys)),
        missing=linked.get(keys[0]) if start in linked else start,
        forked=len(following) > 1,
    )
