"""Actor: who is acting. It lives on `flask.g`, is set at the start of each request and command and never inherited."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from yoq_web.app_local import ContextLocal
from yoq_web.scopes import ANYTHING, JOINING, is_granted

ActorKind = Literal["admin", "token", "join", "local", "system", "unauthenticated"]
"""What kinds of actors there are."""

LABEL_BYTES = 64
"""A named token's label in the trail is its name, cut to this many bytes of UTF-8 (yoq's rule), then with a mark."""

MOST_SCOPES = 256
"""So many scopes an actor may hold: each is looked at for every request."""
SCOPE_LENGTH = 256
"""So many characters a scope may have."""

LOGIN_UID = Path("/proc/self/loginuid")
NOBODY = 2**32 - 1
"""What the kernel says there of a process to which no login led, a service's for instance."""

CLAIMS = {"SUDO_USER": "claimed_sudo_user", "DOAS_USER": "claimed_doas_user"}
"""Variables that say who became another user, and the details as which their word is recorded."""

LOCAL_DETAILS = ("os_user", "os_uid", "login_user", "login_uid", *CLAIMS.values())
"""The details of the actor at the command line."""

RESERVED_LABELS = ("api-token", "join-token", "local", "system", "unauthenticated")
"""Labels of actors that are not named tokens; no token may pass for one of them."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is acting: a kind, the label that the trail shows, the scopes held, and facts recorded with each event.

    Of many or long facts those are recorded that fit (see clean_details() in operations/details.py).
    """

    kind: ActorKind
    label: str
    scopes: tuple[str, ...] = ()
    details: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(ActorKind):
            raise ValueError(f"{self.kind!r} is no kind of actor")
        # A label that cannot be stored would leave its actor's deeds unrecorded.
        if not is_storable_label(self.label):
            raise ValueError(f"an actor's label is 1 to {LABEL_BYTES} bytes of UTF-8 without NUL")
        # Of a text every character would count as a scope, and `secrets:*` holds the administrator's.
        scopes: object = self.scopes
        if not isinstance(scopes, tuple | list) or not all(isinstance(scope, str) for scope in scopes):
            raise TypeError("an actor's scopes are a tuple of texts")
        if len(scopes) > MOST_SCOPES or any(len(scope) > SCOPE_LENGTH for scope in scopes):
            raise ValueError(f"an actor has at most {MOST_SCOPES} scopes of {SCOPE_LENGTH} characters")
        if not all(isinstance(name, str) and _is_plain(value) for name, value in self.details.items()):
            raise TypeError("an actor's details are texts, numbers, or lists of them, by name")
        object.__setattr__(self, "scopes", tuple(scopes))
        # A copy that nobody can write to: an event holds its actor, and events do not change.
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))

    def allows(self, scope: str) -> bool:
        """Tell whether the actor holds `scope`."""
        return is_granted(self.scopes, scope)


def _is_plain(value: object) -> bool:
    plain = str | int | float | None
    return isinstance(value, plain) or (
        isinstance(value, list | tuple) and all(isinstance(item, plain) for item in value)
    )


def is_storable_label(label: object) -> bool:
    """Tell whether both databases can store `label` as an actor's."""
    if not isinstance(label, str) or "\0" in label:
        return False
    try:
        return 1 <= len(label.encode()) <= LABEL_BYTES
    except UnicodeEncodeError:
        return False


ADMIN = Actor("admin", "api-token", (ANYTHING,))
JOIN = Actor("join", "join-token", (JOINING,))
"""Any agent: all of them share one token."""
SYSTEM = Actor("system", "system", (ANYTHING,))
"""Nobody: what the program does by itself, because something happened or its time has come."""
UNAUTHENTICATED = Actor("unauthenticated", "unauthenticated")


_actor: ContextLocal[Actor | None] = ContextLocal("actor", None)


def make_local_actor() -> Actor:
    """Make whoever is at the command line: may do anything; the details say who that is.

    They are what the kernel knows: `os_uid` is the effective user of the process, `login_uid` who logged in, whoever
    that has become since, where the kernel keeps it; `os_user` and `login_user` are their names. What stands in the
    environment is anybody's word, and recorded as claimed.
    """
    found: dict[str, str | int] = {"os_user": _name_user(os.geteuid()), "os_uid": os.geteuid()}
    login = _read_login_uid()
    if login is not None:
        found |= {"login_user": _name_user(login), "login_uid": login}
    found |= {detail: claimed for variable, detail in CLAIMS.items() if (claimed := os.environ.get(variable))}
    return Actor("local", "local", (ANYTHING,), found)


def _name_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # no entry for this uid, as in many containers
        return f"#{uid}"


def _read_login_uid() -> int | None:
    try:
        uid = int(LOGIN_UID.read_text())
    except (OSError, ValueError):  # not Linux, or no /proc
        return None
    return None if uid == NOBODY else uid


def make_label(token_name: str) -> str:
    """Make the label that the trail shows for a named token: its name, or its beginning with `…` in 64 bytes."""
    encoded = token_name.encode()
    if len(encoded) <= LABEL_BYTES:
        return token_name
    return encoded[: LABEL_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def set_actor(actor: Actor) -> None:
    """Set the acting actor for this request or command, whatever was there before."""
    _actor.put(actor)


@contextmanager
def act_as_system() -> Iterator[None]:
    """Act as nobody in particular for a while: what happens by itself is nobody's deed."""
    # A pulse has no actor at all.
    before = _actor()
    set_actor(SYSTEM)
    try:
        yield
    finally:
        _actor.put(before)


def current_actor() -> Actor:
    """Return the acting actor. Raises RuntimeError where nobody set one: such code must not act."""
    actor = _actor()
    if actor is None:
        raise RuntimeError("no actor is set: act from a route or from a command of a CommandGroup")
    return actor
