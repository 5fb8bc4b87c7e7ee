"""django-auditlog: change a row, and the library stores a LogEntry in the same transaction; list the newest fifty."""

from __future__ import annotations

import hmac
import json
import os
import time
from typing import Any

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["PEER_DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 15,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=8000",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "auditlog"],
    MIDDLEWARE=["auditlog.middleware.AuditlogMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["PEER_TOKEN"],
    USE_TZ=True,
)
django.setup()

from auditlog.models import LogEntry  # noqa: E402 - needs the settings
from auditlog.registry import auditlog  # noqa: E402 - needs the settings
from django.core.management import call_command  # noqa: E402 - needs the settings
from django.core.wsgi import get_wsgi_application  # noqa: E402 - needs the settings
from django.db import connection, models, transaction  # noqa: E402 - needs the settings
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402 - needs the settings
from django.urls import path  # noqa: E402 - needs the settings

NAMES = 80
SHOWN = (
    "id",
    "timestamp",
    "actor_id",
    "actor_email",
    "action",
    "content_type_id",
    "object_pk",
    "object_id",
    "object_repr",
    "changes",
    "changes_text",
    "serialized_data",
    "remote_addr",
    "remote_port",
    "cid",
    "additional_data",
)


class Value(models.Model):
    """A value by name."""

    name = models.TextField(primary_key=True)
    text = models.TextField()
    updated_at = models.BigIntegerField()

    class Meta:
        """Where it is stored."""

        app_label = "peer"
        db_table = "peer_values"


def answer(request: HttpRequest, found: Any) -> HttpResponse:
    """The answer, if the request has the token."""
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given, f"Bearer {os.environ['PEER_TOKEN']}"):
        return HttpResponse(status=401)
    response = JsonResponse(found(), safe=False)
    response["Content-Length"] = str(len(response.content))
    return response


def set_value(request: HttpRequest) -> HttpResponse:
    """Change a value."""

    def change() -> dict[str, str]:
        body = json.loads(request.body)
        with transaction.atomic():
            value: Any = Value.objects.get(name=body["name"])
            value.text, value.updated_at = body["text"], int(time.time())
            value.save()
        return {"status": "ok"}

    return answer(request, change)


def list_entries(request: HttpRequest) -> HttpResponse:
    """The newest fifty entries, with as many members as ours have."""
    return answer(request, lambda: list(LogEntry.objects.order_by("-id").values(*SHOWN)[:50]))


urlpatterns = [path("set", set_value), path("entries", list_entries)]

call_command("migrate", verbosity=0)
with connection.schema_editor() as editor:
    editor.create_model(Value)
auditlog.register(Value)
for number in range(NAMES):
    Value.objects.create(name=f"n{number}", text="", updated_at=0)
connection.close()
application = get_wsgi_application()
