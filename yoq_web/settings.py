"""Settings: read once at start-up from YOQ_* environment variables and the config given to create_app().

The README's table lists every variable; tests/test_readme.py compares the two.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import platformdirs
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

REQUIRED_PLUGINS = ("audit",)
"""Plugins without which the application refuses to start: an unaudited admin API is a defect."""

VARIABLES = (
    "YOQ_DATA_DIR",
    "YOQ_DATABASE_URL",
    "YOQ_API_TOKEN",
    "YOQ_JOIN_TOKEN",
    "YOQ_AGENT_TIMEOUT",
    "YOQ_MASTER_KEY",
    "YOQ_NODE",
    "YOQ_TRUSTED_PROXIES",
    "YOQ_BLOCKED_PLUGINS",
    "YOQ_AUDIT_FAILURE",
    "YOQ_LOG_ORIGIN",
    "YOQ_AUDIT_RETENTION",
)
"""Every variable there is; beside them a plugin may read those that begin with YOQ_ and its name."""

TOKEN_FORM = re.compile(r"[0-9a-f]{64}")
"""How a bearer token looks: 32 random bytes as lower-case hex."""

JOIN_TOKEN_FORM = re.compile(r"[0-9A-Za-z._~+/=-]{16,256}")
"""How the agents' join token looks: what an Authorization header can carry and yoq takes for plain text."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """A setting or a file in the data directory cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator chose. Built by `load()`; never changes while the application lives."""

    data_dir: Path
    database_url: str = field(repr=False)
    node: str
    api_token: str | None = field(default=None, repr=False)
    master_key: bytes | None = field(default=None, repr=False)
    join_token: str | None = field(default=None, repr=False)
    """What agents authenticate with; without it none can."""
    agent_timeout: int = 30
    """Seconds of silence after which an agent is offline."""
    blocked_plugins: frozenset[str] = frozenset()
    trusted_proxies: tuple[Network, ...] = ()
    audit_failure: Literal["spool", "refuse"] = "spool"
    log_origin: str
    audit_retention: str | None = None
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Every YOQ_* variable, for plugins' own settings."""

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is SQLite, which a first start makes ready by itself."""
        return self.database_url.startswith("sqlite")

    def mistaken(self, plugins: Iterable[str]) -> list[str]:
        """What is wrong with the settings although they can be used, given the names of the installed plugins."""
        names = set(plugins)
        own = tuple(f"YOQ_{name.upper()}_" for name in names)
        unknown = [name for name in self.given if name not in VARIABLES and not name.startswith(own)]
        found = [f"there is no setting {name}" for name in sorted(unknown)]
        absent = sorted(self.blocked_plugins - names)
        return found + [f"YOQ_BLOCKED_PLUGINS names {name!r}, which is not installed" for name in absent]

    @classmethod
    def load(cls, config: Mapping[str, Any]) -> Settings:
        """Read the settings; `config` wins over the environment. Raises SettingsError for a value of no use."""
        given = {name: value for name, value in os.environ.items() if name.startswith("YOQ_") and value}
        given.update({name: str(value) for name, value in config.items() if name.startswith("YOQ_")})
        data_dir = Path(given.get("YOQ_DATA_DIR") or platformdirs.user_data_path("yoq-web")).expanduser().absolute()
        token = given.get("YOQ_API_TOKEN")
        if token is not None and not TOKEN_FORM.fullmatch(token):
            raise SettingsError(
                "YOQ_API_TOKEN must be 64 lower-case hexadecimal characters (try: openssl rand -hex 32)"
            )
        node = _node(given.get("YOQ_NODE") or socket.gethostname())
        return cls(
            data_dir=data_dir,
            database_url=_database_url(given.get("YOQ_DATABASE_URL") or f"sqlite:///{data_dir / 'yoq.db'}"),
            node=node,
            api_token=token,
            master_key=_master_key(given.get("YOQ_MASTER_KEY")),
            join_token=_join_token(given.get("YOQ_JOIN_TOKEN"), token),
            agent_timeout=_agent_timeout(given.get("YOQ_AGENT_TIMEOUT", "30")),
            blocked_plugins=frozenset(_words(given.get("YOQ_BLOCKED_PLUGINS", ""))),
            trusted_proxies=tuple(_network(word) for word in _words(given.get("YOQ_TRUSTED_PROXIES", ""))),
            audit_failure=_audit_failure(given.get("YOQ_AUDIT_FAILURE", "spool")),
            audit_retention=_audit_retention(given.get("YOQ_AUDIT_RETENTION")),
            log_origin=_log_origin(given.get("YOQ_LOG_ORIGIN") or f"yoq-web/{node}"),
            given=given,
        )


def _database_url(url: str) -> str:
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise SettingsError("YOQ_DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://")
    try:
        database = make_url(url).database
    except (ArgumentError, ValueError):  # whose text may show the password
        raise SettingsError("YOQ_DATABASE_URL is not a URL: is its port a number?") from None
    if not database:
        raise SettingsError("YOQ_DATABASE_URL names no database after the last slash")
    return url


def _master_key(text: str | None) -> bytes | None:
    if text is not None and not TOKEN_FORM.fullmatch(text):
        raise SettingsError("YOQ_MASTER_KEY must be 64 lower-case hexadecimal characters (try: openssl rand -hex 32)")
    return None if text is None else bytes.fromhex(text)


def _node(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise SettingsError("YOQ_NODE must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _join_token(text: str | None, api_token: str | None) -> str | None:
    if text is not None and not JOIN_TOKEN_FORM.fullmatch(text):
        raise SettingsError(
            "YOQ_JOIN_TOKEN must be 16 to 256 letters, digits and . _ ~ + / = - (try: openssl rand -hex 32)"
        )
    if text is not None and text == api_token:
        raise SettingsError("YOQ_JOIN_TOKEN must differ from YOQ_API_TOKEN: every agent knows it")
    return text


def _agent_timeout(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise SettingsError("YOQ_AGENT_TIMEOUT must be a number of seconds, 1 to 99999")
    return int(text)


def _audit_failure(word: str) -> Literal["spool", "refuse"]:
    if word not in ("spool", "refuse"):
        raise SettingsError("YOQ_AUDIT_FAILURE must be spool or refuse")
    return cast("Literal['spool', 'refuse']", word)


def _audit_retention(age: str | None) -> str | None:
    if age is not None and not re.fullmatch(r"[1-9][0-9]{0,5}[hdw]", age, re.ASCII):
        raise SettingsError("YOQ_AUDIT_RETENTION must be a number and h, d or w, like 400d")
    return age


def _log_origin(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/-]{1,128}", name):
        raise SettingsError("YOQ_LOG_ORIGIN must be 1 to 128 letters, digits, dots, dashes, underscores or slashes")
    return name


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _network(word: str) -> Network:
    try:
        return ipaddress.ip_network(word, strict=False)
    except ValueError:
        raise SettingsError(f"YOQ_TRUSTED_PROXIES: {word!r} is not an IP address or network") from None
