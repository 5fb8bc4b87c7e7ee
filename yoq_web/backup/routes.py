"""The HTTP API of backups. They are kept in a directory of the server's own; restoring is for the command line."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, send_file

from yoq_web.backup import operations
from yoq_web.backup.schemas import BackupIn, BackupOut
from yoq_web.database.pages import Page
from yoq_web.http.endpoints import Status, endpoint
from yoq_web.http.pages import PageQuery

blueprint = Blueprint("backup", __name__)

FAILURES = {
    409: "Another backup or a restore is at work, or no name is left",
    507: "The disk is full; nothing is left behind",
}


@blueprint.get("/v1/backups")
@endpoint(scope=operations.READ, query=PageQuery, answer=list[BackupOut])
def list_backups(query: PageQuery) -> Page[dict[str, object]]:
    """List the backups that the server keeps, the newest first."""
    return operations.list_backups(query.find_slice()).convert(asdict)


@blueprint.post("/v1/backups")
@endpoint(operations.backup_taken, body=BackupIn, answer=BackupOut, status=201, errors=FAILURES)
def take_backup(body: BackupIn) -> dict[str, object]:
    """Take a backup.

    It is encrypted, for the recipients given or with the key of the server's data directory, and kept in a directory
    of the server's own. The answer comes when it is complete.
    """
    return asdict(operations.keep_backup(body.recipients or ()))


@blueprint.get("/v1/backups/<name>")
@endpoint(operations.backup_read, answer=bytes, media_type="application/octet-stream")
def read_backup(name: str) -> Response:
    """Download a backup, as it is: encrypted."""
    return send_file(operations.read_backup(name), mimetype="application/octet-stream", as_attachment=True, max_age=0)


@blueprint.delete("/v1/backups/<name>")
@endpoint(operations.backup_delete)
def delete_backup(name: str) -> Status:
    """Delete a backup that the server keeps."""
    operations.delete_backup(name)
    return Status(status="removed")
