"""Signed notes: published vectors, every rule on its own, and what happens to a note that was touched."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from yoq_audit.tlog.codec import encode_base64
from yoq_audit.tlog.errors import NoteError
from yoq_audit.tlog.note import Signer, Verifier, sign, verify

C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

# Fixed keys: parametrized tests must have the same names in every process.
ALICE = Signer("example.com/alice", Ed25519PrivateKey.from_private_bytes(b"alice".ljust(32)))
BOB = Signer("example.com/bob", Ed25519PrivateKey.from_private_bytes(b"bob".ljust(32)))
TEXT = "first\n\nthird\n"
NOTE = sign(TEXT, ALICE)
LINE = NOTE.removeprefix(TEXT + "\n")
BLOB = LINE.split()[2]
BAD_NAMES = (
    "",
    "two words",
    "tab\tname",
    "line\nname",
    "non\u00a0breaking",
    "thin\u2009space",
    "a+b",
    "\u3000",
    "nul\0",
)


def resigned(blob: bytes, name: str = ALICE.name) -> str:
    """A signature line with any content."""
    return f"— {name} {encode_base64(blob)}\n"


def refused(note: str | bytes, *signers: Signer, match: str = ".") -> None:
    """The note is not opened with the keys of these signers, of Alice if none is named."""
    with pytest.raises(NoteError, match=match):
        verify(note, [signer.verifier for signer in signers or (ALICE,)])


def test_the_published_note() -> None:
    """The specification's vector verifies, from text and from bytes."""
    key = Verifier.from_vkey(C2SP_KEY)
    assert (key.name, key.key_id.hex(), key.vkey) == ("example.com/foo", "530d903a", C2SP_KEY)
    for note in (C2SP_NOTE, C2SP_NOTE.encode()):
        opened = verify(note, [key])
        assert (opened.text, opened.verified, opened.unknown) == ("This is an example message.\n", (key,), ())


def test_the_format_of_a_note() -> None:
    """A note is its text, an empty line and a line with em dash, name, key id and a signature over the text alone."""
    assert NOTE.encode().startswith(TEXT.encode() + b"\n\xe2\x80\x94 example.com/alice ")
    blob = base64.b64decode(BLOB)
    assert (blob[:4], len(blob)) == (ALICE.verifier.key_id, 68)
    ALICE.private_key.public_key().verify(blob[4:], TEXT.encode())


@pytest.mark.parametrize(
    "text", ["\n", "\n\n", "a\n", "a\n\nb\n", "\na\n", "— a AAAA\n", "a\n\n— x AAAAAAA=\n", "é — \u2028 \x7f\n"]
)
def test_texts_that_can_be_signed(text: str) -> None:
    """A text may be short, have empty lines anywhere and look like a signature: the last empty line separates."""
    assert verify(sign(text, ALICE), [ALICE.verifier]).text == text


@pytest.mark.parametrize("text", ["", "a", "a\nb", "a\r\n", "a\t\n", "\0\n", "a\x1f\n", "\ud800\n"])
def test_texts_that_cannot_be_signed(text: str) -> None:
    """A text without a final newline, with a control character or with what is no character is not signed."""
    with pytest.raises(NoteError):
        sign(text, ALICE)


def test_who_can_sign() -> None:
    """A note needs a signature, each key signs once, and there are at most a hundred."""
    for signers in ((), (ALICE, ALICE), [Signer.generate(f"key{number}") for number in range(101)]):
        with pytest.raises(NoteError):
            sign(TEXT, *signers)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_must_fail(name: str) -> None:
    """A key name that is empty or has a space of any kind or a plus is refused in a key and in a signature line."""
    with pytest.raises(NoteError):
        Signer.generate(name)
    with pytest.raises(NoteError):
        Verifier(name, bytes(32))
    with pytest.raises(NoteError):
        Verifier.from_vkey(f"{name}+530d903a+{C2SP_KEY.split('+', 2)[2]}")
    refused(f"{NOTE}— {name} {BLOB}\n")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "— \n",
        "—\n",
        "— name\n",
        "— name \n",
        f"name {BLOB}\n",
        f"- name {BLOB}\n",
        f"\u2013 name {BLOB}\n",
        f"—\u00a0name {BLOB}\n",
        f" — name {BLOB}\n",
        f"—  name {BLOB}\n",
        f"— name  {BLOB}\n",
        f"— name {BLOB} \n",
        f"— name {BLOB} more\n",
        f"— name {BLOB}",
        f"— name {BLOB}\r\n",
        f"— name {BLOB[:-1]}\n",
        f"— name {BLOB.rstrip('=')}\n",
        f"— name {BLOB}=\n",
        f"— name {BLOB[:8]}\\{BLOB[8:]}\n",
        f"— name -{BLOB[1:]}\n",
        "— name AAAAAA==\n",
        "— name AAAA\n",
        "— name AAAAAAB=\n",
        "— na+me AAAAAAA=\n",
        "text\n",
    ],
)
def test_one_malformed_line_refuses_the_note(line: str) -> None:
    """A signature line that is malformed refuses the whole note, before or behind a good one, or alone."""
    refused(f"{TEXT}\n{line}")
    if line:
        refused(f"{NOTE}{line}")
    if line.endswith("\n"):
        refused(f"{TEXT}\n{line}{LINE}")


@pytest.mark.parametrize(
    "note", ["", "\n", "\n\n", TEXT, TEXT + "\n", NOTE + "\n", NOTE[:-1], TEXT + LINE, "\n" + LINE, LINE]
)
def test_notes_that_must_fail(note: str) -> None:
    """A note without a text, an empty line, signatures or the last newline is refused."""
    refused(note)


@pytest.mark.parametrize("bad", [b"\x00", b"\r", b"\t", b"\x1f", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_bytes_that_must_fail(bad: bytes) -> None:
    """Control characters and what is not UTF-8 refuse the note, wherever they stand and whoever signed them."""
    signature = ALICE.private_key.sign(b"a" + bad + b"\n")
    line = b"\xe2\x80\x94 example.com/alice " + base64.b64encode(ALICE.verifier.key_id + signature) + b"\n"
    refused(b"a" + bad + b"\n\n" + line)
    refused(NOTE.encode() + bad)


def test_a_character_that_is_none() -> None:
    """Half a surrogate pair in text is refused like wrong UTF-8."""
    refused("a\ud800\n\n" + LINE)


def test_unknown_signatures_are_ignored() -> None:
    """Signatures of unknown keys do no harm, even under a known name or a known id, and are told once each."""
    other = Signer.generate(ALICE.name)
    same_id = resigned(base64.b64decode(BLOB), "example.com/mallory")
    lines = [resigned(b"12345"), resigned(b"12345"), same_id, sign(TEXT, other).removeprefix(TEXT + "\n"), LINE]
    opened = verify(f"{TEXT}\n{''.join(lines)}", [ALICE.verifier])
    assert opened.verified == (ALICE.verifier,)
    assert [f"{line}\n" for line in opened.unknown] == lines[1:4]
    refused(f"{TEXT}\n{''.join(lines[:4])}", match="no known key")
    refused(NOTE, BOB, match="no known key")
    with pytest.raises(NoteError, match="no known key"):
        verify(NOTE, [])


def test_several_keys() -> None:
    """All known keys that signed are told, in the order of their lines; sixteen signatures and more are accepted."""
    opened = verify(sign(TEXT, BOB, ALICE), [ALICE.verifier, BOB.verifier])
    assert opened.verified == (BOB.verifier, ALICE.verifier)
    many = [Signer.generate(f"key{number}") for number in range(100)]
    note = sign(TEXT, *many)
    assert verify(note, [signer.verifier for signer in many]).verified == tuple(signer.verifier for signer in many)
    refused(note + LINE, match="more than 100")


def test_a_wrong_signature_of_a_known_key() -> None:
    """One wrong signature of a known key refuses the note, though another known key's is right."""
    wrong = sign("other\n", ALICE).removeprefix("other\n\n")
    for lines in (wrong + sign(TEXT, BOB).removeprefix(TEXT + "\n"), sign(TEXT, BOB).removeprefix(TEXT + "\n") + wrong):
        refused(f"{TEXT}\n{lines}", ALICE, BOB, match="is wrong")
    for signature in (b"x", bytes(63), bytes(64), bytes(65)):
        refused(f"{TEXT}\n{resigned(ALICE.verifier.key_id + signature)}", match="is wrong")


def test_the_first_signature_of_a_key_counts() -> None:
    """A later line of a key that has already verified is skipped; a wrong one before the right one is not."""
    wrong = sign("other\n", ALICE).removeprefix("other\n\n")
    assert verify(NOTE + wrong + LINE, [ALICE.verifier]).verified == (ALICE.verifier,)
    refused(f"{TEXT}\n{wrong}{LINE}", match="is wrong")


def test_two_keys_with_one_id() -> None:
    """Two known keys that share name and id are ambiguous, and nothing is opened with them."""
    with pytest.raises(NoteError, match="both"):
        verify(NOTE, [ALICE.verifier, Verifier.from_vkey(ALICE.vkey)])


def test_any_flipped_bit_fails() -> None:
    """No bit of a note can be flipped without the note being refused."""
    data = NOTE.encode()
    for at in range(len(data)):
        for bit in range(8):
            refused(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])


@given(at=st.integers(0, len(NOTE)), end=st.integers(0, len(NOTE)), put=st.text(alphabet="\n \r—+=Aa\0é", max_size=3))
@settings(deadline=None, max_examples=300)
def test_a_touched_note_never_opens_to_another_text(at: int, end: int, put: str) -> None:
    """Whatever is cut out of a note or put into it, it is refused or opens to the text that was signed."""
    try:
        opened = verify(NOTE[: min(at, end)] + put + NOTE[max(at, end) :], [ALICE.verifier])
    except NoteError:
        return
    assert opened.text == TEXT
