"""Checkpoints, and proofs of one entry: their formats, and that nothing of them can be changed unnoticed."""

from __future__ import annotations

from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.naive_tlog import numbered
from yoq_audit.tlog import checkpoint, proof
from yoq_audit.tlog.checkpoint import Checkpoint
from yoq_audit.tlog.codec import encode_base64
from yoq_audit.tlog.errors import CheckpointError, LogError, NoteError, ProofError
from yoq_audit.tlog.hashes import EMPTY_ROOT
from yoq_audit.tlog.note import Signer, sign
from yoq_audit.tlog.proof import Proof
from yoq_audit.tlog.tree import prove_inclusion

ORIGIN = "yoq-web/node"
LOG = numbered(300)
# A fixed key: parametrized tests must have the same names in every process.
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
HEAD = Checkpoint(ORIGIN, 300, LOG.mth(0, 300))
NOTE = sign(HEAD.text, SIGNER)
INDEX = 150
PROOF = Proof(INDEX, prove_inclusion(INDEX, 300, LOG.subtree), NOTE)
TEXT = PROOF.format()
LEAF = LOG.entries[INDEX]
ROOT64 = encode_base64(HEAD.root)
check = partial(proof.check, leaf_data=LEAF, verifiers=[SIGNER.verifier])


def refused(text: str | bytes, kind: type[LogError] = LogError) -> None:
    """The text is no proof of the entry."""
    with pytest.raises(kind):
        check(text)


def test_a_checkpoints_body() -> None:
    """A body is origin, size, root and extensions, a line each, and parses back to the same checkpoint."""
    assert HEAD.text == f"{ORIGIN}\n300\n{ROOT64}\n"
    extended = Checkpoint("a log", 2**64 - 1, bytes(32), ("one", "two words"))
    assert extended.text == f"a log\n18446744073709551615\n{'A' * 43}=\none\ntwo words\n"
    for head in (HEAD, extended, Checkpoint("o", 0, EMPTY_ROOT)):
        assert checkpoint.parse(head.text) == head


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\n",
        "\n\n\n",
        f"{ORIGIN}\n300\n",
        f"{ORIGIN}\n300\n{ROOT64}",
        f"{ORIGIN}\n300\n{ROOT64}\nextension",
        f"\n300\n{ROOT64}\n",
        f"300\n{ROOT64}\n",
        f"{ORIGIN}\n\n{ROOT64}\n",
        f"{ORIGIN}\n300\n\n",
        f"{ORIGIN}\n300\n{ROOT64}\n\n",
        f"{ORIGIN}\n300\n{ROOT64}\n\nextension\n",
        f"{ORIGIN}\n300\n{ROOT64}\nextension\n\n",
        f"{ORIGIN}\n300\n{ROOT64}\ntab\t\n",
        f"{ORIGIN}\r\n300\r\n{ROOT64}\r\n",
        f"{ORIGIN}\n0300\n{ROOT64}\n",
        f"{ORIGIN}\n+300\n{ROOT64}\n",
        f"{ORIGIN}\n-300\n{ROOT64}\n",
        f"{ORIGIN}\n300 \n{ROOT64}\n",
        f"{ORIGIN}\n3_00\n{ROOT64}\n",
        f"{ORIGIN}\n\uff1300\n{ROOT64}\n",
        f"{ORIGIN}\n{2**64}\n{ROOT64}\n",
        f"{ORIGIN}\n300\n {ROOT64}\n",
        f"{ORIGIN}\n300\n{ROOT64[:-1]}\n",
        f"{ORIGIN}\n300\n{'A' * 42}B=\n",
        f"{ORIGIN}\n300\n{'A' * 40}\n",
        f"{ORIGIN}\n300\n{'A' * 44}\n",
        f"{ORIGIN}\n300\n{'_' * 43}=\n",
        f"{ORIGIN}\n0\n{ROOT64}\n",
    ],
)
def test_bodies_that_must_fail(body: str) -> None:
    """A body with a line missing, empty or in a second spelling, or an impossible root, is refused."""
    with pytest.raises(CheckpointError):
        checkpoint.parse(body)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, bytes(32), ()),
        ("a\nb", 1, bytes(32), ()),
        ("a", -1, bytes(32), ()),
        ("a", 2**64, bytes(32), ()),
        ("a", 1, bytes(31), ()),
        ("a", 0, bytes(32), ()),
        ("a", 1, bytes(32), ("",)),
        ("a", 1, bytes(32), ("b\nc",)),
    ],
)
def test_checkpoints_that_cannot_be(origin: str, size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    """A checkpoint whose body would not parse back to it cannot be made."""
    with pytest.raises(CheckpointError):
        Checkpoint(origin, size, root, extensions)


def test_the_format_of_a_proof() -> None:
    """A proof is its first line, extra data if there is some, the index, the path, an empty line and the checkpoint."""
    hashes = "".join(f"{encode_base64(node)}\n" for node in PROOF.path)
    assert PROOF.format() == f"c2sp.org/tlog-proof@v1\nindex 150\n{hashes}\n{NOTE}"
    assert proof.parse(TEXT) == proof.parse(TEXT.encode()) == PROOF
    extra = Proof(INDEX, PROOF.path, NOTE, b"hint")
    assert extra.format() == f"c2sp.org/tlog-proof@v1\nextra aGludA==\nindex 150\n{hashes}\n{NOTE}"
    assert proof.parse(extra.format()) == extra


def test_every_entry_is_proved() -> None:
    """Each entry has a proof that its log's key alone checks, and it proves no other entry."""
    for size in (1, 2, 3, 255, 256, 300):
        note = sign(Checkpoint(ORIGIN, size, LOG.mth(0, size)).text, SIGNER)
        for index in {0, size // 2, size - 1}:
            text = Proof(index, prove_inclusion(index, size, LOG.subtree), note).format()
            assert proof.check(text, LOG.entries[index], [SIGNER.verifier], ORIGIN).size == size
            with pytest.raises(ProofError):
                proof.check(text, LOG.entries[index + 1 if index + 1 < 300 else 0], [SIGNER.verifier], ORIGIN)


def test_what_a_check_gives() -> None:
    """A check gives the checkpoint that the entry was found under; extra data changes nothing."""
    assert check(TEXT) == check(TEXT.encode()) == check(Proof(INDEX, PROOF.path, NOTE, b"hint").format()) == HEAD


def test_whose_log_it_is() -> None:
    """A proof counts for the origin asked for; without one the checkpoint must be signed by its own log's key."""
    other = Signer.generate("elsewhere")
    foreign = Proof(INDEX, PROOF.path, sign(HEAD.text, other)).format()
    assert proof.check(foreign, LEAF, [other.verifier], ORIGIN) == HEAD
    with pytest.raises(NoteError, match="no known key of the log"):
        proof.check(foreign, LEAF, [other.verifier])
    with pytest.raises(NoteError, match="no known key signed"):
        check(foreign)
    with pytest.raises(ProofError, match="not of"):
        check(TEXT, origin="elsewhere")
    assert check(Proof(INDEX, PROOF.path, sign(HEAD.text, other, SIGNER)).format()) == HEAD


def test_any_flipped_bit_fails() -> None:
    """No bit of a proof or of its entry can be flipped without the check failing."""
    data = TEXT.encode()
    for at in range(len(data)):
        for bit in range(8):
            refused(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
    for at in range(len(LEAF)):
        with pytest.raises(ProofError):
            check(TEXT, leaf_data=LEAF[:at] + bytes([LEAF[at] ^ 1]) + LEAF[at + 1 :])


def test_any_missing_or_repeated_byte_or_line_fails() -> None:
    """No byte and no line can be left out or doubled, except that a signature may be repeated."""
    data = TEXT.encode()
    for at in range(len(data)):
        refused(data[:at])
        refused(data[:at] + data[at + 1 :])
        refused(data[:at] + data[at : at + 1] + data[at:])
    lines = TEXT.splitlines(keepends=True)
    for at in range(len(lines)):
        refused("".join(lines[:at] + lines[at + 1 :]))
        if at < len(lines) - 1:
            refused("".join(lines[: at + 1] + lines[at:]))


@given(at=st.integers(0, len(TEXT)), end=st.integers(0, len(TEXT)), put=st.text(alphabet="\n \r—+=/Aa0\0", max_size=4))
@settings(deadline=None, max_examples=300)
def test_a_touched_proof_is_refused(at: int, end: int, put: str) -> None:
    """Whatever is cut out of a proof or put into it, either the text is still the same or it is refused."""
    touched = TEXT[: min(at, end)] + put + TEXT[max(at, end) :]
    if touched != TEXT:
        refused(touched)


@pytest.mark.parametrize(
    "text",
    [
        "",
        NOTE,
        TEXT.replace("@v1", "@v2"),
        "\n" + TEXT,
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("index 150\n", ""),
        TEXT.replace("index 150", "150"),
        TEXT.replace("index 150", "index  150"),
        TEXT.replace("index 150", "index 0150"),
        TEXT.replace("index 150", "index -150"),
        TEXT.replace("index 150", "index 150 "),
        TEXT.replace("index 150", "Index 150"),
        TEXT.replace("index 150", f"index {2**64 - 1}"),
        TEXT.replace("index 150", f"index {2**64}"),
        TEXT.replace("index 150\n", "index 150\nindex 150\n"),
        TEXT.replace("index 150\n", "index 150\nextra aGludA==\n"),
        TEXT.replace("index 150\n", "extra\nindex 150\n"),
        TEXT.replace("index 150\n", "extra \nindex 150\n"),
        TEXT.replace("index 150\n", "extra aGludA\nindex 150\n"),
        TEXT.replace("index 150\n", "extra aGludB==\nindex 150\n"),
        TEXT.replace("index 150\n", "extra aGludA==\nextra aGludA==\nindex 150\n"),
        TEXT.replace("index 150\n", "index 150\n\n"),
        TEXT.replace("index 150\n", f"index 150\n{'A' * 43}=\n"),
        TEXT.replace("index 150\n", f"index 150\n{'A' * 40}\n"),
        TEXT.replace("index 150\n", "index 150\n \n"),
        TEXT.replace("\n\n", "\n", 1),
        TEXT.replace("\n\n", "\n\n\n", 1),
        TEXT.replace("=\n", "\n", 1),
        TEXT + "\n",
        TEXT[:-1],
        f"c2sp.org/tlog-proof@v1\nindex 150\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\n\n{NOTE}",
    ],
)
def test_proofs_that_must_fail(text: str) -> None:
    """A proof with anything missing, added, misplaced or in a second spelling is refused."""
    refused(text)


def test_proofs_that_are_no_text() -> None:
    """Bytes that are not UTF-8 are refused."""
    refused(b"\xff" + TEXT.encode(), ProofError)


@pytest.mark.parametrize(
    ("index", "path", "extra"), [(-1, [], None), (2**64 - 1, [], None), (0, [bytes(31)], None), (0, [], b"")]
)
def test_proofs_that_cannot_be(index: int, path: list[bytes], extra: bytes | None) -> None:
    """A proof whose text would not parse back to it cannot be made."""
    with pytest.raises(ProofError):
        Proof(index, path, NOTE, extra)


def test_a_signed_text_that_is_no_checkpoint() -> None:
    """A good signature over another text proves nothing."""
    refused(Proof(INDEX, PROOF.path, sign("hello\n", SIGNER)).format(), CheckpointError)
