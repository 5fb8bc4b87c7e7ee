"""What an import would do with each thing in yoq's database: bring it, leave it as it is here, or say what differs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from yoq_web.actors import make_label
from yoq_web.commands.output import checked
from yoq_web.policies.operations import add_policy, find_action, name_rule
from yoq_web.policies.schemas import PolicyIn
from yoq_web.problems import Problem
from yoq_web.secrets.operations import compare_secret, set_secret
from yoq_web.secrets.schemas import SecretIn
from yoq_web.settings import TOKEN_FORM
from yoq_web.tokens.models import Token
from yoq_web.tokens.operations import check_token, import_token, refuse_label, revoke_token
from yoq_web.tokens.schemas import TokenIn
from yoq_web.yoq_import.encryption import decrypt
from yoq_web.yoq_import.source import EncryptedSecret, Source, YoqToken

Kind = Literal["secret", "policy", "token"]

State = Literal["new", "equal", "differs", "refused", "left out"]
"""How a thing of yoq's stands here. `refused` cannot be brought as it is; `left out` needs not be."""


@dataclass(frozen=True)
class Item:
    """One thing of yoq's. `note` says why it is refused, left out or different; `bring` makes it so here, if it can."""

    kind: Kind
    name: str
    state: State
    note: str | None = None
    bring: Callable[[], object] | None = field(default=None, compare=False, repr=False)


def make_plan(session: Session, source: Source, key: bytes | None) -> list[Item]:
    """Compare all of a source with what is here, inside a unit of work. Without a key the secrets are left out.

    Raises a Problem if the key opens none of the secrets.
    """
    origin = str(source.path)
    values = {} if key is None else {secret.name: _decrypt(key, secret) for secret in source.secrets}
    if values and not any(value is not None for value in values.values()):
        raise Problem(400, f"the key opens none of the secrets: it is not the one that {source.path} was used with")
    return [
        *(_plan_secret(session, name, value, origin) for name, value in values.items()),
        *(_plan_policy(session, *rule, origin) for rule in source.policies),
        *(_plan_token(session, token, origin) for token in source.tokens),
    ]


def _decrypt(key: bytes, secret: EncryptedSecret) -> bytes | None:
    return decrypt(key, secret.nonce, secret.ciphertext, secret.tag)


def _plan_secret(session: Session, name: str, value: bytes | None, origin: str) -> Item:
    if value is None:
        return Item("secret", name, "refused", "it cannot be decrypted: it was altered, or made under another key")
    try:
        secret = checked(SecretIn, name=name, value=value.decode())
    except UnicodeDecodeError:
        return Item("secret", name, "refused", "its value is not UTF-8 text")
    except Problem as problem:
        return _refuse("secret", name, problem)
    text = secret.value.get_secret_value()
    equal = compare_secret(session, name, text)
    if equal:
        return Item("secret", name, "equal")
    bring = partial(set_secret, name, text, origin=origin)
    return Item("secret", name, "new" if equal is None else "differs", bring=bring)


def _plan_policy(session: Session, source: str, target: str, action: str, origin: str) -> Item:
    name, _ = name_rule(source, target)
    try:
        rule = checked(PolicyIn, source=source, target=target, action=action)
    except Problem as problem:
        return _refuse("policy", name, problem)
    there = find_action(session, rule.source, rule.target)
    if there == rule.action:
        return Item("policy", name, "equal")
    bring = partial(add_policy, rule.source, rule.target, rule.action, origin=origin)
    note = None if there is None else f"{there} here, {rule.action} there"
    return Item("policy", name, "new" if there is None else "differs", note, bring)


def _plan_token(session: Session, token: YoqToken, origin: str) -> Item:
    here = session.scalar(select(Token).where(Token.name == token.name)) if token.name.isprintable() else None
    if here is not None:
        return _compare_token(here, token, origin)
    if token.revoked_at is not None:
        return Item("token", token.name, "left out", "it is revoked")
    if token.expires_at is not None and token.expires_at <= time.time():
        return Item("token", token.name, "left out", "it has expired")
    try:
        wanted = checked(TokenIn, name=token.name, scopes=list(token.scopes))
        _check_token(session, wanted, token)
    except Problem as problem:
        return _refuse("token", token.name, problem)
    bring = partial(import_token, wanted, token.secret_hash, token.created_at, token.expires_at, origin)
    return Item("token", token.name, "new", bring=bring)


def _check_token(session: Session, wanted: TokenIn, token: YoqToken) -> None:
    """Raise a Problem if a token cannot be created as it is."""
    check_token(wanted)
    refuse_label(session, make_label(token.name))
    if not TOKEN_FORM.fullmatch(token.secret_hash):
        raise Problem(400, "what is stored of it is no SHA-256")
    if other := session.scalar(select(Token.name).where(Token.secret_hash == token.secret_hash)):
        raise Problem(409, f"its text is that of {other}")


def _compare_token(here: Token, token: YoqToken, origin: str) -> Item:
    """Compare two tokens of one name. Of what differs only a revocation can be brought: nothing else ever changes."""
    name = token.name
    if here.secret_hash != token.secret_hash:
        return Item("token", name, "differs", "another token has this name here, and names are never given twice")
    if (here.revoked_at is None) != (token.revoked_at is None):
        if here.revoked_at is None:
            return Item(
                "token", name, "differs", "active here, revoked there", partial(revoke_token, name, origin=origin)
            )
        return Item("token", name, "differs", "revoked here, for good")
    if set(here.scopes.split(",")) != set(token.scopes) or here.expires_at != token.expires_at:
        return Item("token", name, "differs", "other scopes or another end, which a token never changes")
    return Item("token", name, "equal")


def _refuse(kind: Kind, name: str, problem: Problem) -> Item:
    return Item(kind, name, "refused", problem.error if not problem.detail else f"{problem.error}: {problem.detail}")
