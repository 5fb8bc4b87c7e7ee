"""Token names: none may be mistaken in the trail for another's, or for an actor that is no token.

A token's name is what the trail calls whoever holds it. So names that a reader may take for one are as one: those that
differ by case, spaces, accents, how a character is written, or letters and digits that look alike (after UTS 39).
"""

from __future__ import annotations

import re
import unicodedata

from yoq_web.actors import RESERVED_LABELS

# ruff: noqa: RUF001 - letters that look like others are what this file is about

SCRIPTS = frozenset(
    {"ARABIC", "ARMENIAN", "BENGALI", "BOPOMOFO", "CJK", "CYRILLIC", "DEVANAGARI", "ETHIOPIC", "GEORGIAN", "GREEK"}
    | {"GUJARATI", "GURMUKHI", "HANGUL", "HEBREW", "HIRAGANA", "IDEOGRAPHIC", "KANNADA", "KATAKANA", "KHMER", "LAO"}
    | {"LATIN", "MALAYALAM", "MYANMAR", "ORIYA", "SINHALA", "TAMIL", "TELUGU", "THAANA", "THAI", "TIBETAN"}
)
"""The scripts in general use (UAX 31, table 5), by the word with which their letters' names begin."""

MIXED = frozenset({"LATIN", "BOPOMOFO", "CJK", "HANGUL", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA"})
"""Those that one name may mix (UTS 39: highly restrictive)."""

INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""What shows nothing although it counts as printable (UAX 44: default ignorable; and the empty Braille cell)."""

ALIKE = {
    "a": "аαɑ",
    "b": "вьβƅ",
    "c": "с",
    "d": "ԁ",
    "e": "еεɛ",
    "g": "ցɡ",
    "h": "һнηհ",
    "j": "јյ",
    "k": "кκĸ",
    "l": "1|!iіӏιɩǀı",
    "m": "мμ",
    "n": "пոν",
    "o": "0оοσօ",
    "p": "рρ",
    "q": "ԛ",
    "r": "г",
    "s": "ѕƨƽ",
    "t": "тτ",
    "u": "υս",
    "v": "ѵ",
    "w": "шѡԝω",
    "x": "хχ",
    "y": "уүγ",
    "z": "ζ",
}
"""Letters and digits that look like a Latin letter, or whose capitals look like its capital."""

LOOKS = str.maketrans({other: letter for letter, others in ALIKE.items() for other in others})

SEPARATORS = re.compile(r"[\W_]+")


def find_fault(name: str) -> str | None:
    """Say what is wrong with a name that no token may bear; None if nothing is."""
    if not name.isprintable() or name.startswith("--") or INVISIBLE.intersection(name):
        return "a token's name is printable text that does not begin with --"
    if name != name.strip():
        return "a token's name does not begin or end with a space"
    # Of a mathematical or wide letter it is the plain one that has a script.
    scripts = {
        re.split("[ -]", unicodedata.name(character, ""))[0]
        for character in unicodedata.normalize("NFKC", name)
        if character.isalpha()
    }
    if not scripts <= SCRIPTS or (len(scripts) > 1 and not scripts <= MIXED):
        return "a token's name is in the letters of one script: those of several may look alike"
    return None


def make_skeleton(label: str) -> str:
    """Make what is the same for all labels that a reader may take for this one."""
    text = label.casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", label).casefold())
        text = "".join(_simplify(character) for character in decomposed)
    return " ".join(text.translate(LOOKS).replace("rn", "m").replace("vv", "w").split())


def _simplify(character: str) -> str:
    category = unicodedata.category(character)
    if character.isascii() or category.startswith("M"):
        return "" if category.startswith("M") else character
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd" or character == "\N{MINUS SIGN}":
        return "-"
    words = unicodedata.name(character, "").split()
    letters = [word for word in words if len(word) == 1]
    return letters[0].lower() if words[:1] == ["LATIN"] and letters else character


def is_reserved(label: str) -> bool:
    """Tell whether a reader may take a label for that of an actor that is no token."""
    return _join(label) in RESERVED


def _join(label: str) -> str:
    return SEPARATORS.sub("", make_skeleton(label))


RESERVED = frozenset(map(_join, RESERVED_LABELS))
