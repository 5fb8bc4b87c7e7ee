"""The passphrase form of the age format, against the library that has it for whole texts."""

from __future__ import annotations

import io

import pyrage
import pytest

from yoq_web.backup import age

SIZES = (0, 1, age.CHUNK - 1, age.CHUNK, age.CHUNK + 1, 2 * age.CHUNK, 2 * age.CHUNK + 100)


@pytest.mark.parametrize("size", SIZES)
def test_what_we_seal_the_library_opens(size: int) -> None:
    """Streams of every length around the chunks' open elsewhere with the passphrase, and with us."""
    text = bytes(number % 251 for number in range(size))
    sealed, opened = io.BytesIO(), io.BytesIO()
    age.encrypt_with_passphrase("correct horse", 4)(io.BytesIO(text), sealed)
    assert pyrage.passphrase.decrypt(sealed.getvalue(), "correct horse") == text
    age.decrypt_with_passphrase("correct horse")(io.BytesIO(sealed.getvalue()), opened)
    assert opened.getvalue() == text


def test_what_the_library_seals_we_open() -> None:
    """A stream that another program sealed opens with the passphrase, and with no other."""
    text = b"x" * (age.CHUNK + 1)
    sealed, opened = pyrage.passphrase.encrypt(text, "correct horse"), io.BytesIO()
    age.decrypt_with_passphrase("correct horse")(io.BytesIO(sealed), opened)
    assert opened.getvalue() == text


def test_a_costly_head_is_refused() -> None:
    """A head that asks for more memory than anybody would give it is refused at once."""
    sealed = io.BytesIO()
    age.encrypt_with_passphrase("correct horse", 4)(io.BytesIO(b"x"), sealed)
    costly = sealed.getvalue().replace(b" 4\n", b" 30\n", 1)
    with pytest.raises(age.NotOpened):
        age.decrypt_with_passphrase("correct horse")(io.BytesIO(costly), io.BytesIO())
