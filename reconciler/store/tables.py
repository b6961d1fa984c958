"""The rows of the store, all of them. They stay in this folder: callers get frozen values.

Every row carries its tenant. Text that is JSON is written by one writer in one form, so equal values are equal text
and an unchanged row is never written again. The ledger's row is declared in `desired_state.ledger`, the others by
subject in `rows`.
"""

from __future__ import annotations

from sqlalchemy import MetaData

import desired_state.ledger
from reconciler.store.rows import (  # noqa: F401 - each is part of the schema
    agents,
    approvals,
    audit,
    configs,
    cycles,
    guards,
    licences,
    notices,
    questions,
    sessions,
    shadows,
    tickets,
)

EVERYONE = "*"  # the tenant of what concerns all tenants

# The whole schema: importing every module of rows makes them part of what migrations and checks see.
METADATA: MetaData = desired_state.ledger.LedgerRow.metadata
