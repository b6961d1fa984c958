"""`reconciler audit`: the log that an auditor can verify offline."""

from __future__ import annotations

import click

from reconciler.cli.audit.exporting import export
from reconciler.cli.audit.keeping import checkpoint, erase, key, remove
from reconciler.cli.audit.proving import check, prove
from reconciler.cli.audit.verifying import verify

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """Verify the audit log, prove and export parts of it, keep it within its terms."""


for command in (verify, prove, check, export, key, checkpoint, remove, erase):
    audit.add_command(command)
