"""Settings: one table, a row a setting, read once at start-up.

They come from YOQ_* environment variables and from the config given to create_app(), which wins. A plugin declares its
own with the same class: see Setting.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar, cast, get_args, overload

import platformdirs
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from yoq_web.app_local import AppLocal
from yoq_web.names import find_nearest

VERSION = version("yoq-web")
"""The version of the software, as installed."""

REQUIRED_PLUGINS = ("audit",)
"""Plugins without which the application refuses to start: an unaudited admin API is a defect."""

TOKEN_FORM = re.compile(r"[0-9a-f]{64}")
"""How a bearer token looks: 32 random bytes as lower-case hex."""

JOIN_TOKEN_FORM = re.compile(r"[0-9A-Za-z._~+/=-]{16,256}")
"""How the agents' join token looks: what an Authorization header can carry and yoq takes for plain text."""

AuditFailure = Literal["spool", "refuse", "continue"]
"""What to do when an operation cannot be recorded."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED = 96
"""So many bits stand before an IPv4 address that is mapped into IPv6."""

T = TypeVar("T")


class SettingsError(Exception):
    """A setting or a file in the data directory cannot be used; the message names it and says what to do."""


class Setting(Generic[T]):
    """One setting: its environment variable, how its text is read, what it is if not given, and what it means.

    `parse` raises SettingsError for a text of no use. `default` computes the value if none is given; `shown` says it in
    words. A plugin declares one as `COLOUR = Setting("YOQ_NOTICES_COLOUR", …)`, contributes it with
    `Contribution(settings=(COLOUR,))`, and reads it with `current_settings()[COLOUR]`.
    """

    def __init__(
        self,
        variable: str,
        help: str,  # noqa: A002 - click's word
        parse: Callable[[str], T],
        default: Callable[[Settings], T],
        shown: str,
    ) -> None:
        self.variable = variable
        self.help = help
        self.parse = parse
        self.default = default
        self.shown = shown

    @overload
    def __get__(self, settings: None, owner: type[Settings]) -> Self: ...

    @overload
    def __get__(self, settings: Settings, owner: type[Settings]) -> T: ...

    def __get__(self, settings: Settings | None, owner: type[Settings]) -> Self | T:
        return self if settings is None else settings[self]


def parse_path(text: str) -> Path:
    """Read a path, of which `~` is the home; raises SettingsError for a user without one."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # a user whom the system does not know, as in many containers
        raise SettingsError("this user has no home directory; set YOQ_DATA_DIR to an absolute path") from None


def _find_user_data_dir() -> Path:
    folder = platformdirs.user_data_path("yoq-web")
    if not folder.is_absolute():  # as above
        raise SettingsError("this user has no home directory; set YOQ_DATA_DIR")
    return folder


def _parse_database_url(url: str) -> str:
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise SettingsError("YOQ_DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://")
    try:
        database = make_url(url).database
    except (ArgumentError, ValueError):  # whose text may show the password
        raise SettingsError("YOQ_DATABASE_URL is not a URL: is its port a number?") from None
    if not database:
        raise SettingsError("YOQ_DATABASE_URL names no database after the last slash")
    return url


def _parse_hex(variable: str, text: str) -> str:
    if not TOKEN_FORM.fullmatch(text):
        raise SettingsError(f"{variable} must be 64 lower-case hexadecimal characters (try: openssl rand -hex 32)")
    return text


def _parse_node(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise SettingsError("YOQ_NODE must be 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _parse_join_token(text: str) -> str:
    if not JOIN_TOKEN_FORM.fullmatch(text):
        raise SettingsError(
            "YOQ_JOIN_TOKEN must be 16 to 256 letters, digits and . _ ~ + / = - (try: openssl rand -hex 32)"
        )
    return text


def _parse_agent_timeout(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise SettingsError("YOQ_AGENT_TIMEOUT must be a number of seconds, 1 to 99999")
    return int(text)


def _parse_audit_failure(word: str) -> AuditFailure:
    if word not in get_args(AuditFailure):
        raise SettingsError("YOQ_AUDIT_FAILURE must be spool, refuse or continue")
    return cast("AuditFailure", word)


def _parse_words(text: str) -> frozenset[str]:
    return frozenset(_split(text))


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(_parse_network(word) for word in _split(text))


def _parse_network(word: str) -> Network:
    try:
        network = ipaddress.ip_network(word, strict=False)
        if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= MAPPED:
            mapped = network.network_address.ipv4_mapped
            return network if mapped is None else ipaddress.ip_network((mapped, network.prefixlen - MAPPED))
    except ValueError:
        raise SettingsError(f"YOQ_TRUSTED_PROXIES: {word!r} is not an IP address or network") from None
    return network


def _suggest(name: str, known: Iterable[str]) -> str:
    nearest = find_nearest(name, known)
    return f": did you mean {nearest}?" if nearest else ""


class Settings:
    """What the operator chose. Built by `load()`; never changes while the application lives."""

    data_dir = Setting[Path](
        "YOQ_DATA_DIR",
        "database, keys, the admin token and the spool",
        parse_path,
        lambda _settings: _find_user_data_dir(),
        "the user's data directory",
    )
    database_url = Setting[str](
        "YOQ_DATABASE_URL",
        "`sqlite:///…` or `postgresql+psycopg://…`",
        _parse_database_url,
        lambda settings: _parse_database_url(f"sqlite:///{settings.data_dir / 'yoq.db'}"),
        "`yoq.db` in the data directory",
    )
    api_token = Setting[str | None](
        "YOQ_API_TOKEN",
        "the admin token, 64 lower-case hex characters",
        lambda text: _parse_hex("YOQ_API_TOKEN", text),
        lambda _settings: None,
        "the file `api_token`, made at the first start",
    )
    join_token = Setting[str | None](
        "YOQ_JOIN_TOKEN",
        "what agents authenticate with, all with the same: 16 to 256 characters, like `openssl rand -hex 32`",
        _parse_join_token,
        lambda _settings: None,
        "none: no agent can join",
    )
    agent_timeout = Setting[int](
        "YOQ_AGENT_TIMEOUT",
        "seconds of silence after which an agent is offline",
        _parse_agent_timeout,
        lambda _settings: 30,
        "`30`",
    )
    master_key = Setting[bytes | None](
        "YOQ_MASTER_KEY",
        "the master key of the secrets, 64 lower-case hex characters, instead of a file",
        lambda text: bytes.fromhex(_parse_hex("YOQ_MASTER_KEY", text)),
        lambda _settings: None,
        "the file `secrets.key`, made at the first use",
    )
    node = Setting[str](
        "YOQ_NODE",
        "this machine's name in the trail",
        _parse_node,
        lambda _settings: _parse_node(socket.gethostname()),
        "its host name",
    )
    trusted_proxies = Setting[tuple[Network, ...]](
        "YOQ_TRUSTED_PROXIES",
        "addresses or networks whose `X-Forwarded-For` or `Forwarded` is believed",
        _parse_networks,
        lambda _settings: (),
        "none",
    )
    blocked_plugins = Setting[frozenset[str]](
        "YOQ_BLOCKED_PLUGINS", "names of plugins not to load", _parse_words, lambda _settings: frozenset(), "none"
    )
    audit_failure = Setting[AuditFailure](
        "YOQ_AUDIT_FAILURE",
        "what to do when an operation cannot be recorded: `spool` its record, and refuse it if the disk takes none; "
        "`refuse` it at once; or `continue` even so, with the record in memory",
        _parse_audit_failure,
        lambda _settings: "spool",
        "`spool`",
    )

    def __init__(self, given: Mapping[str, str]) -> None:
        """Keep the texts that are given, by their variables; each is read when it is first asked for."""
        self._given = dict(given)
        self._values: dict[Setting[Any], Any] = {}
        self.error: SettingsError | None = None
        """Why nothing but what is offline can be done with these."""

    def __getitem__(self, setting: Setting[T]) -> T:
        """Return a setting's value. Raises SettingsError for a text of no use."""
        if setting not in self._values:
            text = self._given.get(setting.variable)
            self._values[setting] = setting.default(self) if text is None else setting.parse(text)
        return cast("T", self._values[setting])

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is SQLite, which a first start makes ready by itself."""
        return self.database_url.startswith("sqlite")

    def list_mistakes(self, declared: Iterable[Setting[Any]], plugins: Mapping[str, bool]) -> list[str]:
        """Say what has no effect, given what is declared beside TABLE, and of each installed plugin whether it does.

        A plugin that declares none may read variables of its own, which begin with its name.
        """
        own = tuple(f"YOQ_{name.upper()}_" for name, declares in plugins.items() if not declares)
        known = [setting.variable for setting in (*TABLE, *declared)]
        unknown = [name for name in self._given if name not in known and not name.startswith(own)]
        found = [f"there is no setting {name}{_suggest(name, known)}" for name in sorted(unknown)]
        absent = sorted(self.blocked_plugins - set(plugins))
        said = "YOQ_BLOCKED_PLUGINS names {!r}, which is not installed"
        return found + [said.format(name) + _suggest(name, plugins) for name in absent]

    @classmethod
    def make_unusable(cls, error: SettingsError) -> Settings:
        """Return settings with which an application can be built for its help and its offline commands alone."""
        blocked = os.environ.get("YOQ_BLOCKED_PLUGINS")
        given = {"YOQ_DATABASE_URL": "sqlite:////dev/null"} | ({"YOQ_BLOCKED_PLUGINS": blocked} if blocked else {})
        settings = cls(given)
        settings.error = error
        return settings

    @classmethod
    def load(cls, config: Mapping[str, Any]) -> Settings:
        """Read the settings; `config` wins over the environment. Raises SettingsError for a value of no use."""
        given = {name: value for name, value in os.environ.items() if name.startswith("YOQ_") and value}
        given.update({name: str(value) for name, value in config.items() if name.startswith("YOQ_")})
        settings = cls(given)
        for setting in TABLE:
            settings[setting]
        if settings.join_token is not None and settings.join_token == settings.api_token:
            raise SettingsError("YOQ_JOIN_TOKEN must differ from YOQ_API_TOKEN: every agent knows it")
        return settings


TABLE: tuple[Setting[Any], ...] = tuple(row for row in vars(Settings).values() if isinstance(row, Setting))
"""The core's settings, in the order in which they are listed."""

current_settings: AppLocal[Settings] = AppLocal("settings")
"""The settings that the application was built with."""
