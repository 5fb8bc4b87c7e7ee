"""Proving: the signed checkpoint, and what shows that an entry or an older size is in its tree.

Whatever keeps the log from proving anything is told as a Problem, 503, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_audit.sealing import keys, sealer, signer
from yoq_audit.sealing.signer import CannotSign, HeadMissing, Rewound
from yoq_audit.storage import log, tree
from yoq_audit.storage.models import ENTRIES, Leaf
from yoq_audit.storage.tombstones import check_served, explain_absence
from yoq_audit.storage.tree import SignedTree
from yoq_audit.tlog.errors import LogError, TileError
from yoq_audit.tlog.hashes import HASH_SIZE, hash_leaf
from yoq_audit.tlog.leaf import FIELDS, encode_leaf
from yoq_audit.tlog.proof import Proof
from yoq_audit.tlog.tiles import Bundle, Tile, encode_bundle, make_subtree
from yoq_audit.tlog.tree import prove_consistency, prove_inclusion, verify_inclusion
from yoq_web import NotFound, Problem, SettingsError, current_settings, db, spooled

logger = get_logger("yoq_web")

VERIFY = "run: yoq-web audit verify"
AGAIN = {"Retry-After": "1"}

DAMAGED = "the log is damaged"
"""The error where what is stored is not what was sealed."""

NOT_HERE = "this machine does not have the log's key; the one that has it seals within a second"


@contextmanager
def translate_log_errors() -> Iterator[None]:
    """Turn what keeps the log from proving anything into a 503, with the reason."""
    try:
        yield
    except Rewound as error:
        raise _make_problem("the log was rewound", f"{error}; {VERIFY}") from error
    except HeadMissing as error:
        raise _make_problem("the log's head is missing", str(error)) from error
    except CannotSign as error:
        raise _make_problem("this machine does not sign the log", str(error)) from error
    except SettingsError as error:
        # Named by its file alone: the caller need not learn where the data directory is.
        reason = str(error).replace(f"{current_settings().data_dir}/", "")
        raise _make_problem("the log's key cannot be used", reason) from error
    except LogError as error:
        raise _make_problem(DAMAGED, f"{error}; {VERIFY}") from error


def _make_problem(text: str, reason: str) -> Problem:
    logger.error(text, reason=reason)
    return Problem(503, text, reason)


def seal_now() -> SignedTree:
    """Seal everything committed so far, if this machine may seal, and return the newest signed tree.

    Before the first entry it is the empty one. Raises a 503 if nothing can be signed or the log was rewound.
    """
    with translate_log_errors(), suppress(CannotSign):  # another machine seals
        sealer.seal(check=True, begin=True)
    newest = tree.find_signed_tree(db.session())
    if newest is None:
        with translate_log_errors(), suppress(CannotSign):
            newest = signer.sign_empty_tree()
    if newest is None:
        raise Problem(503, "the log cannot be sealed here", NOT_HERE, AGAIN)
    return newest


def find_checkpoint(size: int) -> SignedTree:
    """Find the first signed tree that has at least so many entries. Raises NotFound if the log has fewer."""
    newest = seal_now()
    if size > newest.size:
        raise NotFound("not found", f"the log has {newest.size} sealed entries")
    return (tree.find_signed_tree(db.session(), size) if size else None) or newest


def list_keys(session: Session) -> list[str]:
    """List the log's public keys as vkey texts, the newest last; not those that the key before did not announce.

    A log that has none yet gets its first. Raises a 503 where this machine's own key is not among them: whose keys
    they are cannot be known.
    """
    with translate_log_errors():
        if not keys.read_vkeys(session):
            sealer.seal(check=True, begin=True)
        own = keys.read_signer()
        chain = keys.read_chain(session, own)
    if own is not None and chain.missing == own.verifier:
        raise _make_problem("the log's key cannot be used", f"{keys.KEY_FILE} is not a key of the log in the database")
    return [key.vkey for key in chain.keys]


def list_announcements(session: Session) -> list[str]:
    """List the notes that announced the log's keys, the newest last: each signed by the new key and the one before."""
    announced = {vkey: note for vkey, note in session.execute(text(keys.STORED_KEYS)) if note is not None}
    return [announced[vkey] for vkey in list_keys(session)[1:]]


def prove_entry(event_id: str) -> tuple[Proof, Row[Any]]:
    """Prove that an entry is in the log, which is sealed first. Returns the proof, and the row with the columns SHOWN.

    Raises NotFound if there is no such entry, and a 503 if it cannot be proved yet or is not what was sealed.
    """
    for _ in range(2):  # an entry may be committed between the sealing and the look at it
        row = log.find(db.session(), event_id)
        if row is None or log.find_in_spool(row, event_id):
            raise _explain_absence(event_id)
        newest = seal_now()
        index = db.session.scalar(select(Leaf.leaf_index).where(Leaf.entry_id == row.id))
        if index is not None and index < newest.size:
            return _prove(index, row, newest), row
    reason = "it is sealed within a second" if keys.read_signer() else NOT_HERE
    raise Problem(503, "the entry is not sealed yet", reason, AGAIN)


def _explain_absence(event_id: str) -> Problem:
    if spooled(event_id):
        return Problem(503, "the entry is not sealed yet", "it is only in the spool: the database did not take it")
    return explain_absence(db.session(), event_id)


def _prove(index: int, row: Row[Any], newest: SignedTree) -> Proof:
    with translate_log_errors():
        path = prove_inclusion(index, newest.size, make_subtree(partial(tree.read_tile, db.session()), newest.size))
        leaf = hash_leaf(encode_leaf([row._mapping[name] for name in FIELDS]))
        # A proof that proves nothing is not given out: the entry, or the tree, is not what was sealed.
        verify_inclusion(index, newest.size, leaf, path, newest.root)
    return Proof(index, path, newest.note)


def prove_growth(old: int, new: int | None) -> tuple[int, list[bytes]]:
    """Prove that the tree of size `old` is the beginning of that of size `new`, by default the newest signed one.

    Returns `new` and the proof. Raises a 400 for sizes that the log did not sign yet or that are the wrong way round.
    """
    size = seal_now().size
    new = size if new is None else new
    if new > size:
        raise Problem(400, "invalid to", f"the log has {size} sealed entries")
    if old > new:
        raise Problem(400, "invalid from", f"it is beyond {new}")
    with translate_log_errors():
        return new, prove_consistency(old, new, make_subtree(partial(tree.read_tile, db.session()), new))


def read_signed_tile(tile: Tile) -> bytes:
    """Read the hashes of a tile of the signed tree, full or of any width that it had. Raises NotFound beyond it."""
    session = db.session()
    held = Tile.at(tile.level, tile.index, _find_size(session))
    if held is None or held.width < tile.width:
        raise NotFound("not found", f"the log does not have {tile.path} yet")
    with translate_log_errors():
        hashes = tree.read_tile(session, tile)[: tile.width * HASH_SIZE]
        if len(hashes) != tile.width * HASH_SIZE:
            raise TileError(f"{tile.path} is not whole")
    return hashes


def read_signed_bundle(bundle: Bundle) -> bytes:
    """Read the entries of a bundle of the signed tree, as leaves. Raises NotFound for one beyond it."""
    session = db.session()
    end = bundle.start + bundle.width
    if end > _find_size(session):
        raise NotFound("not found", f"the log does not have {bundle.path} yet")
    check_served(session, bundle)
    places = tree.select_places(bundle.start, bundle.width)
    rows = session.execute(
        select(*(ENTRIES.c[name] for name in FIELDS))
        .join(places, places.c.entry_id == ENTRIES.c.id)
        .order_by(places.c.leaf_index)
    ).all()
    with translate_log_errors():
        if len(rows) != bundle.width:
            raise TileError(f"{bundle.path} lacks {bundle.width - len(rows)} of its entries")
        return encode_bundle(encode_leaf(row) for row in rows)


def _find_size(session: Session) -> int:
    newest = tree.find_signed_tree(session)
    return newest.size if newest else 0
