"""A client of the served program that openapi-python-client generates from the description it serves."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from requests.utils import parse_header_links

GENERATOR = Path(sys.executable).with_name("openapi-python-client")

PACKAGE = "generated_yoq_web"


def generate(url: str, folder: Path) -> None:
    """Generate the package into a folder; what the generator does not understand of the description is an error."""
    config = folder / "generator.yml"
    config.write_text("post_hooks: []")  # else it formats what nobody reads
    made = subprocess.run(
        [
            *(GENERATOR, "generate", "--url", f"{url}/openapi.json", "--meta", "none", "--fail-on-warning"),
            *("--config", config, "--output-path", folder / PACKAGE),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.returncode == 0, made.stdout + made.stderr


class Generated:
    """The generated client: called with an operation's id and arguments, it returns the answer as the client has it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.models = importlib.import_module(f"{PACKAGE}.models")

    def with_token(self, token: str) -> Generated:
        """The same client with another token."""
        return Generated(self.url, token)

    def __call__(self, operation: str, *arguments: object, **options: object) -> Any:
        """Perform one operation; the answer has `status_code`, `headers` and what was made of its body, `parsed`."""
        package = importlib.import_module(PACKAGE)
        # Without TLS: what is known of certificates is not read for each request.
        with package.AuthenticatedClient(base_url=self.url, token=self.token, verify_ssl=False) as client:
            return list_operations()[operation].sync_detailed(*arguments, client=client, **options)


def list_operations() -> dict[str, ModuleType]:
    """Every operation that was generated: its id, and the module of its functions."""
    api = importlib.import_module(f"{PACKAGE}.api")
    names = [module.name for module in pkgutil.walk_packages(api.__path__, f"{api.__name__}.") if not module.ispkg]
    return {name.rpartition(".")[2]: importlib.import_module(name) for name in names}


def read_next(answer: Any) -> str | None:
    """The cursor of the next page, from the Link of this one; None if there is none."""
    links = parse_header_links(answer.headers.get("Link", ""))
    following = [link["url"] for link in links if link["rel"] == "next"]
    return parse_qs(urlsplit(following[0]).query)["cursor"][0] if following else None
