"""django-auditlog: change a row; the library stores a LogEntry in the same transaction. Reads how often to."""

from __future__ import annotations

import sys
import time
from typing import Any

import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sys.argv[1],
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=8000",
            },
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "auditlog"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from auditlog.models import LogEntry  # noqa: E402 - needs the settings
from auditlog.registry import auditlog  # noqa: E402 - needs the settings
from django.core.management import call_command  # noqa: E402 - needs the settings
from django.db import connection, models, transaction  # noqa: E402 - needs the settings


class Value(models.Model):
    """A value by name."""

    name = models.TextField(primary_key=True)
    text = models.TextField()
    updated_at = models.BigIntegerField()

    class Meta:
        """Where it is stored."""

        app_label = "peer"


def write(count: int) -> float:
    """The seconds that so many audited changes take."""
    started = time.perf_counter()
    for number in range(count):
        with transaction.atomic():
            value: Any = Value.objects.get(name=f"peer-{number % 20}")
            value.text = f"a value of some length {number} {started}"
            value.updated_at = int(time.time())
            value.save()
    return time.perf_counter() - started


def main() -> None:
    """Make the tables; then write as often as each line of standard input says."""
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Value)
    auditlog.register(Value)
    for number in range(20):
        Value.objects.create(name=f"peer-{number}", text="", updated_at=0)
    for line in sys.stdin:
        before = LogEntry.objects.count()
        seconds = write(int(line))
        if LogEntry.objects.count() - before != int(line):
            raise SystemExit("not every change was recorded")
        print(seconds, flush=True)


main()
