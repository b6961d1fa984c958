"""What an account may read and write: a small model of access control lists.

Roles decide by table, as servicenow.md section 12 lists them; the tables of catalog variables and of journal entries
have switches of their own, because on real instances their rights are granted apart (section 7). Rules narrow that
further, for a table, a column or one row, to show what a missing right looks like.

Nobody changes what is internal: journal entries are append-only, answers to catalog variables are not to be updated,
and the dictionary follows from the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

import msgspec

from reconciler.sandbox.servicenow.schema import Row, Schema
from reconciler.sandbox.servicenow.switches import InstanceSwitches

Operation = Literal["read", "write", "create", "delete", "query_range"]

READERS = frozenset({"itil", "sn_request_read", "sn_request_write"})
WRITERS = frozenset({"itil", "sn_request_write"})
ADMIN_ROLE = "admin"

VARIABLE_TABLES = frozenset({"sc_item_option", "sc_item_option_mtom", "sc_multi_row_question_answer"})
AUDIT_TABLES = frozenset({"sys_audit", "sysevent"})
INTERNAL_TABLES = VARIABLE_TABLES | AUDIT_TABLES | {"sys_journal_field", "sys_choice", "sys_dictionary"}
OPEN_TABLES = frozenset(
    {
        "sys_user",
        "sys_user_group",
        "cmn_cost_center",
        "cmn_department",
        "sc_cat_item",
        "item_option_new",
        "sys_choice",
        "sys_dictionary",
    }
)
"""What every signed-in account reads."""
APPROVERS_OWN = frozenset({"state", "comments"})


class Caller(msgspec.Struct, frozen=True):
    """Somebody who is signed in."""

    sys_id: str
    user_name: str
    roles: frozenset[str]
    time_zone: str

    def has_any(self, roles: Collection[str]) -> bool:
        """Whether the caller has one of these roles, or is an administrator."""
        return ADMIN_ROLE in self.roles or not self.roles.isdisjoint(roles)


class AclRule(msgspec.Struct, frozen=True):
    """One narrowing. Empty `column` and `row` are the whole table, empty `user` is everybody.

    Whom it concerns may do the operation only with one of `roles`; a rule for everybody spares administrators.
    """

    table: str
    operation: Operation
    column: str = ""
    row: str = ""
    roles: tuple[str, ...] = ()
    user: str = ""


class Access:
    """Judges one operation at a time; it knows rows only as far as they are handed to it."""

    def __init__(self, schema: Schema, switches: InstanceSwitches) -> None:
        self._schema = schema
        self._switches = switches
        self.rules: list[AclRule] = []
        self.stands_in: Callable[[str, str], bool] = lambda _approver, _user: False
        """Whether a user may decide in an approver's place now; the instance knows."""

    def may(
        self, caller: Caller, operation: Operation, table: str, *, column: str = "", row: Row | None = None
    ) -> bool:
        """Whether `caller` may do this to the table, to one row of it, or to one column."""
        if not self._by_role(caller, operation, table):
            return False
        if any(self._denies(rule, caller, operation, table, column, row) for rule in self.rules):
            return False
        if operation != "write" or row is None:
            return True
        if self._switches.closed_is_read_only and self._is_closed(table, row):
            return False
        if table == "sysapproval_approver":  # only its approver decides an approval, or a delegate (section 9)
            approver = row.get("approver", "")
            is_theirs = approver == caller.sys_id or self.stands_in(approver, caller.sys_id)
            return is_theirs and (not column or column in APPROVERS_OWN)
        return True

    def can_read(self, caller: Caller, table: str, row: Row) -> bool:
        """Whether `caller` sees this row."""
        return self.may(caller, "read", table, row=row)

    def can_create(self, caller: Caller, table: str) -> bool:
        """Whether `caller` may add rows."""
        return self.may(caller, "create", table)

    def can_write(self, caller: Caller, table: str, row: Row) -> bool:
        """Whether `caller` may change this row."""
        return self.may(caller, "write", table, row=row)

    def can_write_column(self, caller: Caller, table: str, column: str, row: Row | None = None) -> bool:
        """Whether `caller` may set this column, of this row or of a new one."""
        return self.may(caller, "write", table, column=column, row=row)

    def can_delete(self, caller: Caller, table: str, row: Row) -> bool:
        """Whether `caller` may remove this row."""
        return self.may(caller, "delete", table, row=row)

    def can_read_column(self, caller: Caller, table: str, column: str) -> bool:
        """Whether `caller` sees this column."""
        return self.may(caller, "read", table, column=column)

    def can_query(self, caller: Caller, table: str, column: str, *, ranged: bool) -> bool:
        """Whether `caller` may search by this column, and by ranges of it or sort by it (query ACLs, section 2).

        Only rules that name the column count, and for ranges those for the operation `query_range`: a table that may
        not be read at all is still counted (section 4), its rows are dropped afterwards.
        """
        operations: tuple[Operation, ...] = ("read", "query_range") if ranged else ("read",)
        return not any(
            rule.column and self._denies(rule, caller, operation, table, column, None)
            for operation in operations
            for rule in self.rules
        )

    def _by_role(self, caller: Caller, operation: Operation, table: str) -> bool:
        is_admin = ADMIN_ROLE in caller.roles
        if operation == "read":
            if table == "sys_journal_field" and not self._switches.journal_is_readable:
                return False
            if table in AUDIT_TABLES and not self._switches.audit_is_readable:
                return is_admin
            if table in VARIABLE_TABLES and not self._switches.variables_are_readable:
                return False
            return is_admin or table in OPEN_TABLES or bool(caller.roles & READERS)
        if table in INTERNAL_TABLES:
            return False
        if is_admin or (table == "sysapproval_approver" and operation == "write"):
            return True
        if table == "sys_attachment":
            return bool(caller.roles & WRITERS)
        if not self._schema.extends(table, "task") or (operation == "delete" and table != "sc_task"):
            return False
        return bool(caller.roles & WRITERS)

    def _denies(
        self, rule: AclRule, caller: Caller, operation: Operation, table: str, column: str, row: Row | None
    ) -> bool:
        if rule.operation != operation or not self._schema.extends(table, rule.table):
            return False
        if rule.user not in {"", caller.user_name} or rule.column not in {"", column}:
            return False
        if rule.row and (row is None or row.get("sys_id") != rule.row):
            return False
        is_spared = ADMIN_ROLE in caller.roles and not rule.user
        return not is_spared and not caller.roles & set(rule.roles)

    def _is_closed(self, table: str, row: Row) -> bool:
        return self._schema.extends(table, "task") and row.get("active") == "false"
