"""Numbers and base64: each value has one spelling."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoq_audit.tlog.codec import decode_base64, encode_base64, parse_decimal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-0",
        "+1",
        "01",
        "00",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "0x1",
        "1e3",
        "1.0",
        "\uff11",
        "\u0663",
        str(2**64),
        pytest.param("9" * 5000, id="long"),
    ],
)
def test_numbers_that_must_fail(text: str) -> None:
    """A number has one spelling and fits into 64 bits."""
    with pytest.raises(ValueError, match=r"canonical|64 bits"):
        parse_decimal(text)
    assert (parse_decimal("0"), parse_decimal("10"), parse_decimal(str(2**64 - 1))) == (0, 10, 2**64 - 1)


@given(data=st.binary(max_size=40), at=st.integers(0, 60), put=st.sampled_from("\n \r=+/-_Aé"))
@settings(deadline=None, max_examples=300)
def test_base64_has_one_spelling(data: bytes, at: int, put: str) -> None:
    """Base64 text decodes only from the spelling that encoding gives."""
    text = encode_base64(data)
    assert decode_base64(text) == data
    for touched in (text[:at] + put + text[at:], text[:at] + put + text[at + 1 :], text[:at] + text[at + 1 :]):
        with suppress(ValueError):
            assert encode_base64(decode_base64(touched)) == touched
