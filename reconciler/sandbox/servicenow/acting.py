"""What users of the instance do: read, write and delete rows under its access rules.

`Records` holds the truth and the business rules; here is judged who may reach them. A user is named by user name.
Two kinds of them never sign in: `system` and `admin` are the platform itself and are asked nothing, and people act
through forms at the desk, with the rights of `itil` unless they were given other roles.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from reconciler.sandbox.servicenow.access import Access, AclRule, Caller, Operation
from reconciler.sandbox.servicenow.credentials import Credentials
from reconciler.sandbox.servicenow.records import Records
from reconciler.sandbox.servicenow.refusals import AclDenied, InvalidTable, NoRecord
from reconciler.sandbox.servicenow.schema import Row, Schema
from reconciler.sandbox.servicenow.switches import InstanceSwitches

PLATFORM = frozenset({"system", "admin"})
DESK_ROLES = frozenset({"itil"})


class Acting:
    """The part of an instance that acts for a named user; `Instance` brings the attributes."""

    schema: Schema
    switches: InstanceSwitches
    truth: Records
    access: Access
    credentials: Credentials
    attachments: dict[str, bytes]

    # --- reading, whoever asks

    def record(self, table: str, sys_id: str) -> dict[str, str] | None:
        """A copy of one row with every column, "" where empty; None when there is none.

        Raises:
            InvalidTable: there is no such table.
        """
        found = self._find(table, sys_id)
        return None if found is None else self._full(*found)

    def records(self, table: str, **equals: str) -> list[dict[str, str]]:
        """Copies of the rows whose columns have these values, oldest first.

        Raises:
            InvalidTable: there is no such table.
        """
        self._check_table(table)
        column, value = next(iter(equals.items()), ("", ""))
        rows = self.truth.with_value(table, column, value) if column else [row for _, row in self.truth.all(table)]
        found = [row for row in rows if all(row.get(name, "") == wanted for name, wanted in equals.items())]
        found.sort(key=lambda row: (row.get("sys_created_on", ""), row["sys_id"]))
        return [self._full(row.get("sys_class_name") if self.truth.is_task(table) else table, row) for row in found]

    def rows(self, table: str) -> Mapping[str, Row]:
        """The stored rows by sys_id, sparse and not copied: for reading only.

        Raises:
            InvalidTable: there is no such table.
        """
        self._check_table(table)
        parts = [self.truth.store.table(name).by_id for name in self.schema.concrete(table)]
        return parts[0] if len(parts) == 1 else ChainMap(*parts)

    def all_ids(self, table: str) -> list[str]:
        """The sys_ids of a table, in no particular order.

        Raises:
            InvalidTable: there is no such table.
        """
        return list(self.rows(table))

    def notes(self, sys_id: str, element: str = "work_notes") -> list[str]:
        """Texts of the journal of a record, in the order in which they were written."""
        return [entry["value"] for entry in self.truth.journal(sys_id, element)]

    def user(self, name: str) -> dict[str, str] | None:
        """The row of the user of that user name."""
        return self.record("sys_user", self.truth.user_id(name))

    # --- rights

    def may(
        self, user: str, operation: Operation, table: str, field: str | None = None, row: Row | None = None
    ) -> bool:
        """Whether a user may do this to the table, to one row of it, or to one column."""
        if user in PLATFORM:
            return True
        if row is not None and self.truth.is_task(table):
            table = row.get("sys_class_name", table)
        return self.access.may(self._acting(user), operation, table, column=field or "", row=row)

    def hide(self, table: str, sys_id: str, from_user: str) -> None:
        """Let one user no longer see a row."""
        self.access.rules.append(AclRule(table, "read", row=sys_id, user=from_user))

    def hide_field(self, table: str, field: str, from_user: str) -> None:
        """Let one user no longer see a column."""
        self.access.rules.append(AclRule(table, "read", column=field, user=from_user))

    def freeze_field(self, table: str, field: str, for_user: str) -> None:
        """Let one user no longer write a column."""
        self.access.rules.append(AclRule(table, "write", column=field, user=for_user))

    def show(self, table: str, name: str, to_user: str) -> None:
        """Take back what hid or froze a row or column for one user."""
        self.access.rules[:] = [
            rule
            for rule in self.access.rules
            if (rule.table, rule.user) != (table, to_user) or name not in {rule.row, rule.column}
        ]

    # --- writing as a user

    def insert(self, table: str, values: Mapping[str, str], *, by: str) -> str:
        """Add a row under the business rules and return its sys_id. Unknown columns are ignored.

        Raises:
            InvalidTable: there is no such table.
            AclDenied: the user may not.
            PolicyFailed: a field is missing.
        """
        self._check_table(table)
        if self.schema.concrete(table) != (table,) or not self.may(by, "create", table):
            raise AclDenied.on("Insert")
        return self.truth.insert(table, self._writable(table, values, by, None, "Insert"), by=by)

    def update(self, table: str, sys_id: str, values: Mapping[str, str], *, by: str) -> dict[str, str]:
        """Change a row under the business rules; returns what it became.

        Raises:
            InvalidTable: there is no such table.
            NoRecord: there is no such row, or the user cannot see it.
            AclDenied: the user may not.
            RuleAborted: a business rule of the instance stopped it.
            PolicyFailed: a field is missing.
        """
        name, row = self._visible(table, sys_id, by)
        if not self.may(by, "write", name, row=row):
            raise AclDenied.on("Update")
        self.truth.update(name, sys_id, self._writable(name, values, by, row, "Update"), by=by)
        return self._full(name, self.truth.store.table(name).by_id[sys_id])

    def delete(self, table: str, sys_id: str, *, by: str) -> None:
        """Remove a row, and with an attachment its content.

        Raises:
            InvalidTable: there is no such table.
            NoRecord: there is no such row, or the user cannot see it.
            AclDenied: the user may not.
        """
        name, row = self._visible(table, sys_id, by)
        if not self.may(by, "delete", name, row=row):
            raise AclDenied.on("Delete")
        self.truth.delete(name, sys_id)
        self.attachments.pop(sys_id, None)

    # --- how

    def _acting(self, user: str) -> Caller:
        sys_id = self.truth.user_id(user)
        roles = frozenset(self.credentials.roles.get(sys_id, ()))
        if not roles and sys_id not in self.credentials.passwords:
            roles = DESK_ROLES
        row = self.truth.store.get("sys_user", sys_id) or {}
        return Caller(sys_id, user, roles, row.get("time_zone") or self.switches.system_time_zone)

    def _check_table(self, table: str) -> None:
        if not self.schema.has(table):
            raise InvalidTable(table)

    def _find(self, table: str, sys_id: str) -> tuple[str, Row] | None:
        self._check_table(table)
        return self.truth.find(table, sys_id)

    def _visible(self, table: str, sys_id: str, user: str) -> tuple[str, Row]:
        found = self._find(table, sys_id)
        if found is None or not self.may(user, "read", found[0], row=found[1]):
            raise NoRecord
        return found

    def _writable(
        self, table: str, values: Mapping[str, str], user: str, row: Row | None, operation: str
    ) -> dict[str, str]:
        """The values that may be written; one that may not is refused or dropped, as the instance is set."""
        kept: dict[str, str] = {}
        for name, value in values.items():
            if self.schema.column(table, name) is None or self.may(user, "write", table, name, row):
                kept[name] = value
            elif self.switches.field_denied == "acl_403" and (row is None or row.get(name, "") != value):
                raise AclDenied.on(operation)
        return kept

    def _full(self, table: str | None, row: Row) -> dict[str, str]:
        columns = self.schema.columns(table or row["sys_class_name"])
        return {column: row.get(column, "") for column in columns}
