"""The group `audit`, with every command of the trail."""

from __future__ import annotations

from yoq_audit import entry_view, in_doubt, key_commands
from yoq_audit.export import commands as export
from yoq_audit.proofs import commands as proofs
from yoq_audit.proofs import consistency
from yoq_audit.query import commands as query
from yoq_audit.retention import commands as retention
from yoq_audit.verification import commands as verification
from yoq_web import CommandGroup

group = CommandGroup(
    "audit",
    help="Read the audit trail.",
    commands=[
        query.list_command,
        entry_view.show_command,
        query.stats_command,
        export.follow_command,
        export.export_command,
        export.verify_export_command,
        proofs.prove_command,
        proofs.check_command,
        consistency.check_command,
        verification.verify_command,
        retention.prune_command,
        retention.erase_command,
        retention.archives,
        key_commands.key_group,
        key_commands.accept_head_command,
        in_doubt.settle_command,
    ],
)
