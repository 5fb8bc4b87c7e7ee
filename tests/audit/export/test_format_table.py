"""The table of the formats, which a further one joins by a row; and what OCSF says of each operation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Api
from tests.support.audit_copy import add_row, copy_audit, run_with_copy
from tests.support.commandline import output
from tests.support.export import export
from tests.support.ocsf_schema import check
from tests.support.tampering import seal
from tests.support.trail import make_entry, store
from yoq_web import create_app, current_operations

OTHERS = {"access_denied"}
"""Operations that are of no activity: where a request is refused nothing was done, to nothing."""

ACTIVITIES = {"create": (1, "Create"), "read": (2, "Read"), "update": (3, "Update"), "delete": (4, "Delete")}


def test_every_operation_names_its_activity(api: Api, database_url: str) -> None:
    """OCSF: an entry of each operation is of the activity that this declares; what nobody declares is Other."""
    operations = current_operations(api.app)
    assert {name for name, operation in operations.items() if operation.activity is None} == OTHERS
    labels = [*operations, "gone_delete", "secret_made_up"]
    store(database_url, [make_entry(number, action=label) for number, label in enumerate(labels)])
    seal(api.app)
    events = [json.loads(line) for line in export(api, "format=ocsf").splitlines()][: len(labels)]
    assert [event["api"]["operation"] for event in events] == labels
    for event in events:
        label = event["api"]["operation"]
        activity = operations[label].activity if label in operations else None
        assert (event["activity_id"], event["activity_name"]) == ACTIVITIES.get(activity or "", (99, label))
        check("api_activity", event)


MODULE = """
from yoq_web import current_operations

def encode_entries(rows):
    known = current_operations()
    return "".join(f"{row[0]}:{row[3]}:{row[3] in known}\\n" for row in rows).encode()

def encode_error(reason):
    return b"broken off\\n"
"""


@pytest.mark.program
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_format_is_a_module_and_a_row(tmp_path: Path, database_url: str) -> None:
    """With these two the API, its description and the command write a format."""
    copy = copy_audit(tmp_path)
    (copy / "export" / "places.py").write_text(MODULE)
    formats = copy / "export" / "formats.py"
    formats.write_text(formats.read_text().replace("import csv, ", "import csv, places, "))
    row = '"places": Format("txt", "text/x-places", places.encode_entries, places.encode_error, b"places\\n"),'
    add_row(formats, "FORMATS", row)
    run_with_copy(copy, try_places, YOQ_DATABASE_URL=database_url)


def try_places() -> None:
    """Show, where there is a format `places`, that it is written everywhere."""
    api = Api(create_app())
    assert api("GET", "/v1/secrets").status_code == 200
    answer = api("GET", "/v1/audit/export?format=places")
    assert answer.text == "places\n0:secret_list:True\n1:audit_export:True\n"
    assert answer.headers["Content-Type"] == "text/x-places"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.txt"'
    described = api("GET", "/openapi.json").json["paths"]["/v1/audit/export"]["get"]  # type: ignore[index]
    assert "text/x-places" in str(described["responses"]["200"]["content"])
    [parameter] = [found for found in described["parameters"] if found["name"] == "format"]
    assert "places" in parameter["schema"]["enum"]
    assert "`places`" in parameter["description"]
    assert output(api.app, "audit", "export", "--format", "places", "--actor", "api-token") == answer.text
