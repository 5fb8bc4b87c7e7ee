"""Token names: none that a reader of the trail may take for another's, or for an actor that is no token."""

# ruff: noqa: RUF001 - letters that look like others are what this file is about

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from tests.conftest import Api
from yoq_web.actors import RESERVED_LABELS
from yoq_web.tokens.names import find_fault, is_reserved, make_skeleton

CONFUSABLE = {
    "a": "аαạ\N{MATHEMATICAL BOLD SMALL A}ａɑᴀⓐ",
    "c": "сⅽｃᴄ",
    "d": "ԁⅾɗ",
    "e": "еéεẹ",
    "h": "һհħ",
    "i": "іıíI1l|ⅰɪ",
    "j": "јϳ",
    "k": "кκᴋ",
    "l": "1Iӏⅼ|ǀɭ",
    "m": "мⅿᴍ",
    "n": "ոпñɴ",
    "o": "0оοօøº",
    "p": "рρᴘ",
    "s": "ѕſƽꜱ",
    "t": "тτŧᴛ",
    "u": "υսüᴜ",
    "y": "уүγÿʏ",
    "-": "‐‑–—−_ ",
}
"""Characters that pass for one of those in the built-in labels (from UTS 39's table, and capitals)."""

INVISIBLE = (
    "\u200b",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\u3164",
    "\uffa0",
    "\ufe0f",
    "\u2800",
    "\U000e0100",
)


def create(api: Api, name: str) -> tuple[int, Any]:
    """What making a token of this name is answered."""
    answer = api("POST", "/v1/tokens", json={"name": name, "scopes": ["*"]})
    return answer.status_code, answer.json["error"] if answer.status_code != 201 else None  # type: ignore[index]


def pass_for(label: str) -> set[str]:
    """Names that a reader may take for this label."""
    names = {label.upper(), label.title(), label.swapcase(), label.replace("-", ""), label.replace("-", " ")}
    for place, character in enumerate(label):
        for other in CONFUSABLE.get(character, ""):
            names.add(label[:place] + other + label[place + 1 :])
    for old, new in (("m", "rn"), ("i", "l"), ("l", "1")):
        names.add(label.replace(old, new))
    return names - {label}


@pytest.mark.parametrize("label", RESERVED_LABELS)
def test_no_name_passes_for_a_built_in_actor(label: str) -> None:
    """By case, spaces, dashes, accents, or whatever letters and digits look alike in any font."""
    assert is_reserved(label)
    assert {name for name in pass_for(label) if not is_reserved(name) and find_fault(name) is None} == set()


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    "name", ["SYSTEM", "Local", "LOCAI", "systern", "api token", "API-TOKEN", "ｌｏｃａｌ", "unauthent1cated"]
)
def test_it_is_refused_where_it_is_made(api: Api, name: str) -> None:
    """And the refusal is recorded, as that of the label itself is."""
    assert create(api, name) == (409, "the name is reserved")
    assert [(entry["target"], entry["outcome"]) for entry in api.entries()] == [(name, "failed")]


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    "name", [" ci", "ci ", "\u00a0ci", "ci\u3000", *(f"c{sign}i" for sign in INVISIBLE), *INVISIBLE]
)
def test_what_is_not_seen_is_refused(api: Api, name: str) -> None:
    """Spaces at the ends, and characters that show nothing: 400, as nothing could be made of the name."""
    assert create(api, name) == (400, "invalid name")


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("name", ["ѕystem1", "сі-bot", "deploy бот", "αlpha", "ꓢꓬꓢꓔꓰꓟ", "ᏚᎽᏚᎢᎬᎷ", "ⲟⲕ"])
def test_scripts_are_not_mixed(api: Api, name: str) -> None:
    """Letters of several scripts, but for those that East Asian names mix; and scripts that nobody writes."""
    assert create(api, name) == (400, "invalid name")


@pytest.mark.parametrize(
    "name", ["ci", "deploy bot ü", "бот", "ボット", "東京 ci-1", "봇", "روبوت", "node_7.example", "a+b@c", "🚀 ci"]
)
def test_other_names_are_to_be_had(api: Api, name: str) -> None:
    """In every script, with spaces inside and signs."""
    assert create(api, name)[0] == 201
    assert name in [token["name"] for token in api("GET", "/v1/tokens").json]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "other",
    ["CI-bot", "ci-b0t", "cl-bot", "c1-bot", "ci–bot", "ci-böt", "ｃｉ-bot", "сі-вот", "ci\u2011bot", "cí-bo\u0323t"],
)
def test_no_name_passes_for_another_tokens(api: Api, other: str) -> None:
    """Whichever of the two came first, and were it revoked: the trail keeps its name for ever."""
    for first, second in (("ci-bot", other), (f"{other} 2", "ci-bot 2")):
        assert create(api, first)[0] == 201
        assert api("DELETE", f"/v1/tokens/{first}").status_code == 200
        assert create(api, second) == (409, "the name looks like another")
        assert create(api, first)[1] == f"failed to create token (does '{first}' already exist?)"
    assert create(api, "ci-bot 3")[0] == 201


def test_spaces_inside_count_as_one(api: Api) -> None:
    """A table and a page show several as one."""
    assert create(api, "deploy bot")[0] == 201
    assert create(api, "deploy  bot") == (409, "the name looks like another")
    assert create(api, "deploy\u00a0bot")[0] == 400


def test_however_a_letter_is_written_it_is_one() -> None:
    """Every letter and digit of Unicode that has another form there (NFKC) is as one with it."""
    for code in range(0x80, 0x30000):
        character = chr(code)
        plain = unicodedata.normalize("NFKC", character)
        if character.isprintable() and plain != character:
            assert make_skeleton(character) == make_skeleton(plain), hex(code)
