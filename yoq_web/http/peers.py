"""The peer: from which address a request came, where proxies stand in between and say so each in its own way."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from flask import Request
from structlog.stdlib import get_logger

from yoq_web.app_local import AppLocal
from yoq_web.settings import Network

log = get_logger("yoq_web")

SHOWN = 100
"""Characters of a word that cannot be read that the log shows."""

TOLD = 16
"""Of no more proxies than so many the log says that their words cannot be read."""

_unread: AppLocal[set[str]] = AppLocal("unread", lambda _app: set())
"""The proxies that wrote what cannot be read: each is told of once."""


def find_peer(asked: Request, proxies: tuple[Network, ...]) -> str | None:
    """Find who sent the request: the nearest address that is no proxy of ours. Only proxies' words are believed.

    These are `X-Forwarded-For` or else `Forwarded` (RFC 7239), of which each proxy writes the last word; several lines
    of a header are one. Where a word is no address, it is the proxy's own that counts.
    """
    address = _read_remote(asked.remote_addr)
    if not proxies or address is None or not _is_proxy(address, proxies):
        return address
    for word in _list_forwarded(asked):
        found = read_address(word)
        if found is None:
            _tell_once(address, word)
            break
        address = found
        if not _is_proxy(address, proxies):
            break
    return address


def read_address(word: str) -> str | None:
    """Read an address as load balancers write it; None if it is none.

    That is with or without a port, quotes, brackets around an IPv6 one, or its zone; an IPv4 address that is mapped
    into IPv6 is an IPv4 address.
    """
    word = word.strip().strip('"').strip()
    if word.startswith("["):
        word, closed, port = word[1:].partition("]")
        return _parse(word) if closed and (not port or _is_port(port)) else None
    host, colon, port = word.rpartition(":")
    return _parse(word) or (_parse(host) if _is_port(colon + port) else None)


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()


def _parse(text: str) -> str | None:
    try:
        # Another machine's name for its interface says nothing here.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _read_remote(address: str | None) -> str | None:
    return (_parse(address) or address) if address and ":" in address else address


def _is_proxy(address: str, proxies: tuple[Network, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a socket's path
        return False
    return any(found in network for network in proxies)


def _list_forwarded(asked: Request) -> Iterator[str]:
    """List what was written of the request's way, the nearest first."""
    for name, read in HEADERS.items():
        value = asked.headers.get(name, "")
        if value.strip(" \t,"):
            return (read(element) for element in split_backwards(value) if element.strip())
    return iter(())


def split_backwards(text: str) -> Iterator[str]:
    """Split a list at its commas, the last element first.

    Backwards, as whoever began it may have left a quote open to swallow what a proxy added behind.
    """
    end, quoted = len(text), False
    for place in range(len(text) - 1, -1, -1):
        if text[place] == '"':
            quoted = not quoted
        elif text[place] == "," and not quoted:
            yield text[place + 1 : end]
            end = place
    yield text[:end]


def read_for(element: str) -> str:
    """Read what an element of `Forwarded` has for `for`; "" if nothing."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    return {name.strip().lower(): value for name, _, value in pairs}.get("for", "")


HEADERS: dict[str, Callable[[str], str]] = {"X-Forwarded-For": str, "Forwarded": read_for}
"""The headers that tell a request's way, and how an element is read; of two the first counts."""


def _tell_once(proxy: str, word: str) -> None:
    told = _unread()
    if proxy not in told and len(told) < TOLD:
        told.add(proxy)
        log.warning(
            "what a proxy says of its client cannot be read, so that its own address is recorded",
            proxy=proxy,
            said=word[:SHOWN],
        )
