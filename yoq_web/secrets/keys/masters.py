"""Master keys, which wrap the data keys: a file, the environment, or what a plugin keeps, such as a KMS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from yoq_web import files
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.hooks.host import current_host
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.problems import Problem
from yoq_web.secrets.keys.encryption import KEY_BYTES, WrongKey, compute_key_id, unwrap, wrap
from yoq_web.secrets.models import SecretKey
from yoq_web.settings import SettingsError, current_settings

KEY_FILE = "secrets.key"
VARIABLE = "YOQ_MASTER_KEY"

PLUGIN = "plugin:"
"""How `master` begins for a key that a plugin wrapped: its name follows. Else it is the id of a master key."""

Place = Literal["plugin", "environment", "file", "new-file"]


def find_key_file() -> Path:
    """Return where the master key is kept unless the environment or a plugin has it."""
    return current_settings().data_dir / KEY_FILE


def find_kept_file(master: str) -> Path:
    """Return where a master key is kept that is not, or not yet, the one in use."""
    return find_key_file().with_name(f"{KEY_FILE}.{master}")


@dataclass(frozen=True)
class Wrapper:
    """A master key that wraps data keys. `name` is stored with them; `master` is None if a plugin keeps it."""

    name: str
    master: bytes | None = field(default=None, repr=False)

    def wrap(self, key: bytes) -> bytes:
        """Wrap a data key. Raises a Problem."""
        if self.master is not None:
            return wrap(self.master, key)
        wrapped = _wrap_by_plugin(key)
        if wrapped is None or wrapped[0] != self.name:
            raise _make_plugin_problem(self.name.removeprefix(PLUGIN))
        return wrapped[1]


def choose_wrapper(current: str | None, place: Place | None = None) -> Wrapper:
    """Choose who wraps a key: `place`, else a plugin that does, else the environment's master key, else the file's.

    `current` is the `master` of the key in use, or None in a database without any: only there a missing key file is
    made unasked. Raises a Problem.
    """
    if place in (None, "plugin") and (wrapped := _wrap_by_plugin(os.urandom(KEY_BYTES))):
        return Wrapper(wrapped[0])
    if place == "plugin":
        raise Problem(409, "no plugin wraps keys", "none of those in use answers yoq_wrap_key")
    master = current_settings().master_key if place in (None, "environment") else None
    if place == "environment" and master is None:
        raise Problem(409, "there is no master key in the environment", f"set {VARIABLE}")
    if master is None and place == "new-file":
        master = os.urandom(KEY_BYTES)
        _write_key(find_kept_file(compute_key_id(master)), master)
    elif master is None:
        if current is not None:
            promote(current)  # a process that wrapped with a new file was killed before it put it in its place
        master = _read_key_file(make=current is None or place == "file")
    return Wrapper(compute_key_id(master), master)


def unwrap_key(row: SecretKey) -> bytes:
    """Unwrap the data key of a row. Raises a Problem that says which master key it needs, and destroys nothing."""
    if row.wrapped is None:
        return _find_master(row.id, row.id)
    try:
        if row.master.startswith(PLUGIN):
            key = _unwrap_by_plugin(row.master.removeprefix(PLUGIN), row.wrapped)
        else:
            key = unwrap(_find_master(row.master, row.id), row.id, row.wrapped)
    except WrongKey:
        key = b""
    if compute_key_id(key) != row.id:
        said = f"what the master key {row.master} unwraps is not the data key {row.id}; nothing was changed"
        raise Problem(500, "the secrets key cannot be used", said)
    return key


def is_kept(master: str) -> bool:
    """Tell, without reading anything, whether the master key that wrapped a key is where it can be read again."""
    return master.startswith(PLUGIN) or current_settings().master_key is not None or find_key_file().exists()


def check_master(master: str, key_id: str) -> None:
    """Raise a Problem if the master key that wrapped a data key is missing or another one. Plugins are not asked."""
    if not master.startswith(PLUGIN):
        _find_master(master, key_id)


def _read_key_file(*, make: bool) -> bytes:
    path = find_key_file()
    if not make and not path.exists():
        raise Problem(500, "the secrets key is missing", f"put back {path}; nothing was changed")
    return _read_key(path)


def promote(master: str) -> None:
    """Put the kept key file of a master key in the place of the one in use, which is kept by its own id."""
    new = find_kept_file(master)
    if not new.exists():
        return
    content = _read_key(new)
    if find_key_file().exists():
        old = _read_key(find_key_file())
        _write_key(find_kept_file(compute_key_id(old)), old)
    files.replace(find_key_file(), content)
    new.unlink()


def _find_master(master: str, key_id: str) -> bytes:
    """Find the master key of this id, wherever it is. Raises a Problem."""
    there = list(_list_candidates(master))
    for _, key in there:
        if compute_key_id(key) == master:
            return key
    if not there:
        said = f"put back {find_key_file()}, or set {VARIABLE}: its id is {master}; nothing was changed"
        raise Problem(500, "the secrets key is missing", said)
    found = ", ".join(f"{where} is {compute_key_id(key)}" for where, key in there)
    said = f"the data key {key_id} needs the master key {master}, {found}; put the right one back; nothing was changed"
    raise Problem(500, "wrong key", said)


def _list_candidates(master: str) -> Iterator[tuple[str, bytes]]:
    for path in (find_kept_file(master), find_key_file()):
        if path.exists():  # else it is made
            yield str(path), _read_key(path)
    if (key := current_settings().master_key) is not None:
        yield VARIABLE, key


def _read_key(path: Path) -> bytes:
    try:
        key = files.read_or_create(path, lambda: os.urandom(KEY_BYTES))
    except SettingsError as error:
        raise Problem(500, "the secrets key cannot be used", str(error)) from None
    if len(key) != KEY_BYTES:
        raise Problem(500, "the secrets key cannot be used", f"{path} must hold {KEY_BYTES} bytes")
    return key


def _write_key(path: Path, key: bytes) -> None:
    try:
        files.read_or_create(path, lambda: key)
    except SettingsError as error:
        raise Problem(500, "the secrets key cannot be used", str(error)) from None


def _wrap_by_plugin(key: bytes) -> tuple[str, bytes] | None:
    for ask in current_host().find_implementations("yoq_wrap_key"):
        try:
            wrapped = ask(key=key)
            if wrapped is None:
                continue
            if not isinstance(wrapped, bytes) or not wrapped:
                raise TypeError("it returned something other than bytes")
        except HOOK_ERRORS as error:
            report_hook_failure(ask.plugin, "yoq_wrap_key", error)
            raise _make_plugin_problem(ask.plugin) from error
        # What cannot be unwrapped again would be lost.
        if _unwrap_by_plugin(ask.plugin, wrapped) != key:
            raise _make_plugin_problem(ask.plugin)
        return PLUGIN + ask.plugin, wrapped
    return None


def _unwrap_by_plugin(name: str, wrapped: bytes) -> bytes:
    for ask in current_host().find_implementations("yoq_unwrap_key"):
        if ask.plugin == name:
            try:
                key = ask(wrapped=wrapped)
            except HOOK_ERRORS as error:
                report_hook_failure(ask.plugin, "yoq_unwrap_key", error)
                raise _make_plugin_problem(name) from error
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                raise WrongKey
            return key
    said = f"the plugin {name} wrapped the data key and is not in use, or does not answer yoq_unwrap_key"
    raise Problem(500, "the secrets key is missing", f"{said}; nothing was changed")


def _make_plugin_problem(name: str) -> Problem:
    return Problem(503, "the master key cannot be used", f"the plugin {name} failed; nothing was changed")
