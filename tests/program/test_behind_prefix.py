"""Behind a proxy that serves under a prefix and takes it away, whoever follows the program's links stays under it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from tests.conftest import ADMIN
from tests.support.proxy import behind_prefix
from tests.support.served import Served, serve

pytestmark = pytest.mark.program

AUTHORIZED = {"Authorization": f"Bearer {ADMIN}"}

PREFIX = "/ops/yoq"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The served program; it was told of its proxy as the docs say."""
    folder: Path = tmp_path_factory.mktemp("behind")
    with serve(folder, YOQ_API_TOKEN=ADMIN, YOQ_TRUSTED_PROXIES="127.0.0.1") as served:
        yield served


@pytest.fixture
def address(program: Served) -> Iterator[str]:
    """The address of its proxy, prefix included."""
    with behind_prefix(program.url, PREFIX) as made:
        yield made


def test_a_browser_finds_the_description_and_stays_there(address: str) -> None:
    """The start leads to /docs, every link of which leads somewhere; it says nothing of the address behind."""
    page = requests.get(f"{address}/", timeout=30)
    assert (page.status_code, page.url) == (200, f"{address}/docs")
    links = [link for link in re.findall(r'href="([^"]*)"', page.text) if not link.startswith("#")]
    assert links
    for link in links:
        assert requests.get(urljoin(page.url, link), timeout=30).status_code == 200, link
    assert not re.search(r"https?://(127|localhost)", page.text)


def test_a_walk_through_pages_stays_there(address: str) -> None:
    """The link to each next page, of the trail and of the other lists, is one of the proxy's."""
    for name in "abcde":
        body = {"name": name, "value": "hunter2"}
        requests.post(f"{address}/v1/secrets", headers=AUTHORIZED, json=body, timeout=30).raise_for_status()
    for path in ("/v1/secrets?limit=2", "/v1/audit?limit=2&action=secret_set"):
        page = requests.get(address + path, headers=AUTHORIZED, timeout=30)
        found = page.json()
        while "next" in page.links:
            page = requests.get(urljoin(page.url, page.links["next"]["url"]), headers=AUTHORIZED, timeout=30)
            found += page.json()
        assert (page.status_code, len(found)) == (200, 5), path


def test_the_description_says_where_the_api_is(program: Served, address: str) -> None:
    """A client that is made of /openapi.json asks under the prefix; without a proxy, at the root."""
    for base in (address, program.url):
        document = requests.get(f"{base}/openapi.json", timeout=30)
        [server] = document.json()["servers"]
        # As OpenAPI has it: what a path is appended to is found as a link in the document would be.
        found = requests.get(
            urljoin(document.url, server["url"]).rstrip("/") + "/v1/policies", headers=AUTHORIZED, timeout=30
        )
        assert (found.status_code, found.url) == (200, f"{base}/v1/policies")
