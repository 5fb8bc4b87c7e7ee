"""Keys of signed notes as text: what is read, what is refused, and that no secret is told."""

from __future__ import annotations

import pytest

from yoq_audit.tlog.errors import NoteError
from yoq_audit.tlog.note import Signer, Verifier, sign, verify

C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_gos_private_key() -> None:
    """A private key that Go wrote is read, has the public key that Go shows for it, and is written the same."""
    signer = Signer.decode(GO_PRIVATE)
    assert signer.vkey == GO_PUBLIC
    assert signer.encode() == GO_PRIVATE
    assert verify(sign("text\n", signer), [Verifier.from_vkey(GO_PUBLIC)]).text == "text\n"


def test_keys_that_anybody_can_sign_for() -> None:
    """A public key that is a point of small order, in whichever spelling, is refused."""
    field = 2**255 - 19
    eighth = 2707385501144840649318225287225658788936804267575313519463743609750303402022
    for y in (0, 1, field - 1, eighth, field - eighth, field, field + 1):
        for sign_of_x in (0, 1):
            with pytest.raises(NoteError, match="anybody can sign"):
                Verifier("log", (y | sign_of_x << 255).to_bytes(32, "little"))


def test_a_new_key_comes_back_from_its_text() -> None:
    """A generated key survives being written and read, its public half too, and no repr shows the secret."""
    signer = Signer.generate("yoq-web/node")
    again = Signer.decode(signer.encode())
    assert again.vkey == signer.vkey == Verifier.from_vkey(signer.vkey).vkey
    assert sign("text\n", again) == sign("text\n", signer)
    assert signer.encode().split("+", 4)[4] not in repr(signer)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903a+",
        C2SP_KEY.replace("530d903a", "530d903b"),
        C2SP_KEY.replace("530d903a", "530D903A"),
        C2SP_KEY.replace("530d903a", "0530d903a"),
        C2SP_KEY.replace("530d903a", "30d903a"),
        C2SP_KEY.replace("foo", "bar"),
        C2SP_KEY + "\n",
        " " + C2SP_KEY,
        C2SP_KEY + "AAAA",
        C2SP_KEY[:-4],
        C2SP_KEY[:-1] + "l",
        C2SP_KEY.replace("+Ae", "+BO"),
        C2SP_KEY.replace("+Ae", "+Ae\n"),
        "PRIVATE+KEY+" + C2SP_KEY,
        GO_PRIVATE,
    ],
)
def test_public_keys_that_must_fail(vkey: str) -> None:
    """A public key's text that is malformed, of another type, or whose id does not recompute is refused."""
    with pytest.raises(NoteError):
        Verifier.from_vkey(vkey)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GO_PUBLIC,
        GO_PRIVATE.removeprefix("PRIVATE+"),
        GO_PRIVATE.lower(),
        GO_PRIVATE.replace("c74f20a3", "c74f20a4"),
        GO_PRIVATE.replace("Peter", "Petra"),
        GO_PRIVATE + "\n",
        GO_PRIVATE[:-1] + "y",
        GO_PRIVATE[:-4],
        GO_PRIVATE + "AAAA",
        GO_PRIVATE.replace("+AY", "+BY"),
    ],
)
def test_private_keys_that_must_fail(text: str) -> None:
    """A private key's text that is malformed or does not belong to its id is refused without a word of it."""
    with pytest.raises(NoteError) as caught:
        Signer.decode(text)
    assert "EKFALVFGyNhPJEMzD1QID" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_public_key_has_32_bytes() -> None:
    """A key of another length is refused."""
    with pytest.raises(NoteError):
        Verifier("name", bytes(31))
