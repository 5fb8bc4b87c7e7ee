"""The hooks a plugin may implement, in the order in which an application and then a request meets them.

Implementations name only the arguments they want and are plain functions: neither async nor wrappers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoq_web.hooks.host import hookspec

if TYPE_CHECKING:
    from flask import Flask, Request
    from sqlalchemy.orm import Session

    from yoq_web.actors import Actor
    from yoq_web.contributions.contribution import Contribution
    from yoq_web.operations.event import Event


@hookspec
def yoq_contribute(app: Flask) -> Contribution:  # type: ignore[empty-body]  # pluggy reads only the signature
    """Say, as data, what the plugin adds. Called at start-up.

    A plugin that changes the app itself is refused whole. The start waits for it, and says so after five seconds.

    If it raises, the plugin is refused whole; a required one stops start-up.
    """


@hookspec
def yoq_ready(app: Flask) -> None:
    """Start what needs a whole application. Called at the end of start-up, when everything is mounted.

    A plugin that changes the app itself is refused whole. The start waits for it, and says so after five seconds.

    If it raises, the plugin is refused whole; a required one stops start-up.
    """


@hookspec(firstresult=True)
def yoq_authenticate(request: Request) -> Actor | None:
    """Say whose request this is, or `None` for "not mine". Raise `Rejected` for credentials that are bad.

    The first actor wins; yoq-web's own tokens are looked at last. An actor that has too many scopes, or a label too
    long to be stored, cannot be made; of details that are many or long the entries keep what fits.

    If it raises anything else, the request is answered 503: a broken authenticator lets nobody in.
    """


@hookspec
def yoq_before_operation(event: Event, session: Session) -> None:
    """Look at an operation before it is done; raise `Veto` to refuse it. The text is told to the caller and kept.

    One that names `event` alone is called before the operation holds anything, on a thread beside the request's. It
    may take its time and ask other systems: after ten seconds, for all plugins together, the operation is refused. It
    may read the database, in a session of its own, and not write.

    One that names `session`, too, is called in the operation's transaction, before the change, and what it changes is
    committed with it. All other writers wait meanwhile. Of an external operation that is the transaction of its intent.

    If it raises anything else, the operation is refused as well (403), and recorded as `denied`.
    """


@hookspec(firstresult=True)
def yoq_wrap_key(key: bytes) -> bytes | None:
    """Encrypt a data key of the secrets with a master key that the plugin keeps; `None` leaves it to yoq-web.

    Called in an operation's transaction, seldom: when a data key is made, or wrapped anew. The first bytes win and are
    stored with the plugin's name; they are tried with `yoq_unwrap_key` before they are relied on.

    If it raises, the operation fails (503): nothing takes the place of a broken master key.
    """


@hookspec(firstresult=True)
def yoq_unwrap_key(wrapped: bytes) -> bytes | None:
    """Give back the data key that this plugin's `yoq_wrap_key` was given; no other plugin is asked.

    Called once a process and key, and to try what was wrapped.

    If it raises, or returns anything but that key, the operation fails and changes nothing.
    """


@hookspec
def yoq_record_operation(event: Event, session: Session) -> None:
    """Store the event in the operation's own transaction, after the change. Runs in a savepoint and may not commit.

    Of an external operation it is called twice, in transactions of their own: with the outcome `started` before the
    effect, and with the outcome after it. A `doubtful` event may be stored with its right outcome already: keep that.

    If it raises, what it did is undone, and nothing else: the operation and the other recorders go on. The event is
    kept in the spool and handed over again when things are better, after a crash perhaps twice, so store it by its id.
    With the policy `refuse`, or where the disk takes none, the operation fails instead.
    """


@hookspec
def yoq_operation_committed(event: Event) -> None:
    """Take note of a commit, on a thread of the plugin's own. The response waits a second for it at the most.

    The event's outcome is `ok`, or `failed` where what was committed is a failure: a release that failed at once.

    This is no delivery: of a plugin that is slow at most a thousand notices wait, further ones are dropped, counted and
    logged; those that wait are lost with the process. Whoever must miss nothing follows the trail by its places.

    If it raises, that is logged and counted; the others are told, and the answer is unaffected.
    """


@hookspec
def yoq_operation_failed(event: Event, error: BaseException) -> None:
    """Take note of a failure or denial that was rolled back and recorded, on a thread of the plugin's own.

    No delivery either: see `yoq_operation_committed`.

    If it raises, that is logged and counted; the others are told, and the answer is unaffected.
    """


@hookspec
def yoq_pulse(app: Flask) -> None:
    """Do what is due. Called every second while serving, and at the end of a command that performed an operation.

    Runs on a thread of the plugin's own; nothing waits for it but the end of a command, ten seconds at the most.

    If it raises, that is logged and counted, and it is called again the next time.
    """


@hookspec
def yoq_health() -> str | None:
    """Say what an operator should look at, in one short line that anybody may read, or `None`. Asked by `/health`.

    If it raises, that is logged and counted, and `/health` says that the plugin cannot say how it is. It is asked on
    a thread of its own and waited for a second: if it takes longer, what it said last is told for ten seconds, then
    that it does not answer. It is not asked again before it has returned.
    """


@hookspec(firstresult=True)
def yoq_describe_actor(actor: Actor) -> str | None:
    """Say more about an entry's actor for people to read, or `None`. Only its kind and label are known by then.

    The first description wins.

    If it raises, it is passed over. It is asked on a thread of its own: if it takes longer than a second it is passed
    over, too, and not asked again before it has returned.
    """
