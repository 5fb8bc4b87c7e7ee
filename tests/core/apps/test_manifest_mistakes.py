"""What is in a manifest.toml and would be passed over is told, or refused; nonsense is refused always."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.commandline import run
from tests.support.pages import block, page
from yoq_web.apps.manifest.fields import ManifestError
from yoq_web.apps.manifest.keys import ANY_NAME, MANIFEST, Keys, find_mistakes
from yoq_web.apps.manifest.toml import make_request_body

EXAMPLE = block(page("apps/manifest.md"), "toml")
"""A manifest with every key that there is: another test holds it against those that are read."""

SMALL = "[service.web]\nimage = 'web:1'\n"


def tables(value: Mapping[str, Any], keys: Keys) -> Iterator[tuple[Mapping[str, Any], Keys]]:
    """Every table in a value, with the keys that it may have."""
    yield value, keys
    for key, below in value.items():
        if isinstance(below, dict):
            yield from tables(below, keys.get(key, keys.get(ANY_NAME)))


def test_every_key_is_known() -> None:
    """The documented manifest has nothing that would be passed over, and every key that is known somewhere."""
    root = tomllib.loads(EXAMPLE)
    assert list(find_mistakes(root)) == []
    found = list(tables(root, MANIFEST))
    assert {key for _, keys in found for key in keys} - {ANY_NAME} <= {key for table, _ in found for key in table}


def test_a_key_too_many_in_every_table() -> None:
    """In each table a key that does not exist is found, with its whole path."""
    root = tomllib.loads(EXAMPLE)
    count = 0
    for table, keys in list(tables(root, MANIFEST)):
        if ANY_NAME not in keys:
            table["nonsense"] = 1  # type: ignore[index]
            [mistake] = find_mistakes(root)
            assert mistake.startswith("there is no key ")
            assert "nonsense: " in mistake
            del table["nonsense"]  # type: ignore[attr-defined]
            count += 1
    assert count > 15


def test_another_type_in_every_key() -> None:
    """Each value of another type than its key's is found, which would count as absent."""
    root = tomllib.loads(EXAMPLE)
    count = 0
    for table, _ in list(tables(root, MANIFEST)):
        for key, value in list(table.items()):
            for wrong in (1.5, "x" if not isinstance(value, str) and key != "required_labels" else 1):
                table[key] = wrong  # type: ignore[index]
                assert len(list(find_mistakes(root))) == 1, key
                count += 1
            table[key] = value  # type: ignore[index]
    assert count > 100


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ("replicas = 3", "there is no key service.web.replicas: there are image, command"),
        ("portz = ['80:80']", "there is no key service.web.portz: did you mean ports?"),
        ("[servcie.x]\nimage = 'i'", "there is no key servcie: did you mean service?"),
        ("cpu_limit = '500'", "service.web.cpu_limit is not a whole number"),
        ("[service.web.tls.acme]\nstagin = true", "there is no key service.web.tls.acme.stagin: did you mean staging?"),
    ],
)
def test_what_is_passed_over_is_told(app: Flask, tmp_path: Path, more: str, mistake: str) -> None:
    """A warning goes to standard error and the app is applied; with --strict it is not."""
    extra = "\n[service.web.tls]\ndomain = 'x.org'\n[service.web.tls.acme]\nemail = 'e'\n" if "acme" in more else ""
    more = more.replace("[service.web.tls.acme]\n", "") if extra else more
    file = tmp_path / "manifest.toml"
    file.write_text(f"{SMALL}{extra}{more}\n")
    for command in ("diff", "apply"):
        strict = run(app, "app", command, str(file), "--strict")
        assert strict.exit_code == 1
        assert mistake in strict.stderr
    warned = run(app, "app", "diff", str(file))
    assert warned.exit_code == 0
    assert f"warning: {mistake}" in warned.stderr
    assert "warning" not in warned.stdout


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_name_beside_the_services(tmp_path: Path, app: Flask) -> None:
    """A name at the top, as other formats have, is none here."""
    file = tmp_path / "manifest.toml"
    file.write_text(f"name = 'shop'\n{SMALL}")
    assert (
        "there is no key name: there are service, worker, cron, training" in run(app, "app", "diff", str(file)).stderr
    )


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("[service.web.tls]\ndomain = 'x.org'\npeer = 'nonsense'", "service 'web' tls.peer cannot be had here"),
        ("cpu_limit = -1", "service 'web' cpu_limit must be between 1 and"),
        ("memory_limit_mb = 0", "service 'web' memory_limit_mb must be between 1 and"),
        ("[worker.w]\nimage = ''", "worker 'w' has invalid image"),
        ("[cron.w]\nimage = 'a;b'\nevery = '1h'", "cron 'w' has invalid image"),
    ],
)
def test_nonsense_is_refused(more: str, error: str) -> None:
    """A value that no agent could act on is refused, with its place."""
    with pytest.raises(ManifestError, match=error):
        make_request_body(f"{SMALL}{more}", "shop", {})
