"""The truth of the instance and the one way to change it: rows in, business rules, system fields, journals.

Every writer passes here, whether it is a REST call or the story being told, so `sys_updated_on`, `sys_mod_count` and
the journal always agree with what happened. Access rules are not applied here: they belong to the caller.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.sandbox.servicenow import rules
from reconciler.sandbox.servicenow.refusals import AclDenied, PolicyFailed, RuleAborted
from reconciler.sandbox.servicenow.rows import RowStore
from reconciler.sandbox.servicenow.schema import JOURNALS, Kind, Row, Schema
from reconciler.sandbox.servicenow.stamps import stamp
from reconciler.sandbox.servicenow.switches import InstanceSwitches

if TYPE_CHECKING:
    from reconciler.sandbox.servicenow.paths import Path

FIRST_NUMBER = 20001  # automatic numbers start here; stories use lower ones
SEQUENCE = "_sequence"  # kept with a journal entry, no column of it: seconds are too coarse to order entries
REOPEN_RULE = "Closed items are read only"
REOPEN_RULE_ID = "6f0c4c4d0a0a0b8c00f2a6a0f1c2d3e4"


class Records:
    """Rows with the platform's behaviour. Not thread-safe: the service holds the world's lock."""

    def __init__(
        self, schema: Schema, *, now: Callable[[], datetime], rng: random.Random, switches: InstanceSwitches
    ) -> None:
        self.schema = schema
        self.store = RowStore()
        self.now = now
        self.rng = rng
        self.switches = switches
        self.numbers: dict[str, int] = {}
        self.entries = 0
        """Journal entries written so far: their order within one second."""
        self.paths: dict[tuple[int, str, str], Path | None] = {}
        """Dot-walked columns by revision of the schema, table and text; `paths.resolve` keeps it."""
        self.version = 0
        """Grows with each write; what was counted at one version holds until the next."""

    # --- reading

    def find(self, table: str, sys_id: str) -> tuple[str, Row] | None:
        """The row and the concrete table it lives in, or None."""
        for name in self.schema.concrete(table):
            row = self.store.get(name, sys_id)
            if row is not None:
                return name, row
        return None

    def all(self, table: str) -> Iterator[tuple[str, Row]]:
        """Every row of `table` and its children as (concrete table, row)."""
        for name in self.schema.concrete(table):
            for row in self.store.table(name).by_id.values():
                yield name, row

    def with_value(self, table: str, column: str, *values: str) -> list[Row]:
        """Rows whose column is exactly one of the values, oldest first."""
        found: list[Row] = []
        for name in self.schema.concrete(table):
            rows = self.store.table(name)
            found.extend(rows.by_id[sys_id] for sys_id in rows.with_value(column, values))
        return sorted(found, key=lambda row: (row.get("sys_created_on", ""), row["sys_id"]))

    def display(self, table: str, sys_id: str) -> str:
        """What people read for a referenced row; "" when it does not exist."""
        found = self.find(table, sys_id) if self.schema.has(table) else None
        if found is None:
            return ""
        name, row = found
        column = self.schema.tables[name].display
        return row.get(column, "") if column else row["sys_id"]

    def journal(self, sys_id: str, *elements: str) -> list[Row]:
        """Journal entries of a record, oldest first; with `elements`, only theirs."""
        entries = self.with_value("sys_journal_field", "element_id", sys_id)
        wanted = [entry for entry in entries if not elements or entry["element"] in elements]
        return sorted(wanted, key=lambda entry: int(entry[SEQUENCE]))

    # --- writing

    def new_id(self) -> str:
        """32 hex digits, drawn from the instance's chance."""
        return f"{self.rng.getrandbits(128):032x}"

    def next_number(self, prefix: str) -> str:
        """The next automatic number, such as RITM0020001."""
        value = self.numbers.get(prefix, FIRST_NUMBER)
        self.numbers[prefix] = value + 1
        return f"{prefix}{value:07d}"

    def _count_number(self, prefix: str, number: str) -> None:
        """Let automatic numbers come after one that was given."""
        digits = number.removeprefix(prefix)
        if digits.isdecimal():
            self.numbers[prefix] = max(self.numbers.get(prefix, FIRST_NUMBER), int(digits) + 1)

    def insert(
        self, table: str, values: Mapping[str, str], *, by: str, at: datetime | None = None, sys_id: str = ""
    ) -> str:
        """Add a row and return its sys_id. Unknown columns are ignored.

        Raises:
            Refusal: a rule of the instance stopped it.
        """
        at_text = stamp(at or self.now())
        spec = self.schema.tables[table]
        row = {name: c.default for name, c in self.schema.columns(table).items() if c.default}
        row.update(self._kept(table, values))
        row["sys_id"] = sys_id or self.new_id()
        journals = self._take_journals(table, row)
        self._stamp(table, row, by=by, at_text=at_text, created=True)
        if self.is_task(table):
            row["sys_class_name"] = table
            if not row.get("number"):
                row["number"] = self.next_number(spec.prefix)
            row.setdefault("opened_at", at_text)
            if not row.get("opened_by"):
                row["opened_by"] = self.user_id(by)
            rules.settle_task({}, row)
            self._close_stamps({}, row, by=by, at_text=at_text)
        elif "sys_class_name" in self.schema.columns(table):
            row.setdefault("sys_class_name", table)
        self._put(table, row)
        self._write_journals(table, row["sys_id"], journals, by=by, at_text=at_text)
        return row["sys_id"]

    def adopt(self, table: str, values: Mapping[str, str], *, by: str, at: datetime) -> str:
        """Add a row exactly as told, no business rule asked, and return its sys_id: for a story's past."""
        row = {name: c.default for name, c in self.schema.columns(table).items() if c.default}
        row.update(values)
        row["sys_id"] = self.new_id()
        if self.is_task(table):
            row["sys_class_name"] = table
            self._count_number(self.schema.tables[table].prefix, row.get("number", ""))
        self._stamp(table, row, by=by, at_text=stamp(at), created=True)
        self._put(table, row)
        return row["sys_id"]

    def update(
        self,
        table: str,
        sys_id: str,
        values: Mapping[str, str],
        *,
        by: str,
        at: datetime | None = None,
        stamped: bool = True,
    ) -> Row:
        """Change one row under the business rules and return what it became; not `stamped`, without a trace of when.

        Raises:
            KeyError: there is no such row.
            Refusal: a rule of the instance stopped it.
        """
        found = self.find(table, sys_id)
        if found is None:
            raise KeyError(sys_id)
        name, old = found
        at_text = stamp(at or self.now())
        changes = self._kept(name, values)
        new = {**old, **changes}
        journals = self._take_journals(name, new)
        reverted: Row | None = None
        if self.is_task(name):
            reverted = self._apply_task_rules(name, old, new, changes, journals, by=by, at_text=at_text)
        if name == "sysapproval_approver" and new.get("state") == "rejected" and old.get("state") != "rejected":
            self._need_comments(journals)
        if {k: v for k, v in new.items() if v} != {k: v for k, v in old.items() if v} or (
            journals and self.switches.journal_bumps
        ):
            if stamped:
                self._stamp(name, new, by=by, at_text=at_text)
            self._put(name, new)
        self._write_journals(name, sys_id, journals, by=by, at_text=at_text)
        self._write_audit(name, old, new, by=by, at_text=at_text)
        self._after(name, old, new, at=at)
        if reverted is not None:
            undone = {**new, **reverted}
            self._stamp(name, undone, by="system", at_text=at_text)
            self._put(name, undone)
        return new

    def delete(self, table: str, sys_id: str) -> None:
        """Remove one row.

        Raises:
            KeyError: there is no such row.
        """
        found = self.find(table, sys_id)
        if found is None:
            raise KeyError(sys_id)
        self.version += 1
        self.store.drop(found[0], sys_id)

    def touch(self, table: str, sys_id: str, *, by: str = "system", at: datetime | None = None) -> None:
        """Let something outside our sight update a row without changing what it says."""
        found = self.find(table, sys_id)
        if found is None:
            raise KeyError(sys_id)
        name, old = found
        row = dict(old)
        self._stamp(name, row, by=by, at_text=stamp(at or self.now()))
        self._put(name, row)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever is written inside is taken back at the end."""
        with self.store.undone():
            yield
        self.version += 1

    def user_id(self, user_name: str) -> str:
        """The sys_id of a user by name, "" when there is none."""
        rows = self.store.table("sys_user")
        return next(iter(rows.with_value("user_name", (user_name,))), "")

    def is_task(self, table: str) -> bool:
        """Whether the table extends task."""
        return self.schema.extends(table, "task")

    # --- how

    def _kept(self, table: str, values: Mapping[str, str]) -> dict[str, str]:
        """Known columns only, cut to their lengths: both without a word (sections 1 and 19)."""
        kept: dict[str, str] = {}
        for name, value in values.items():
            column = self.schema.column(table, name)
            # System fields are the platform's own (section 1).
            if column is None or column.kind is Kind.JOURNAL_LIST or name.startswith("sys_"):
                continue
            cut = column.length if column.length and self.switches.lengths_truncate else None
            kept[name] = value[:cut]
        return kept

    def _take_journals(self, table: str, row: dict[str, str]) -> dict[str, str]:
        """Journal texts out of a row: they become entries, the column itself stays empty."""
        named = [n for n, c in self.schema.columns(table).items() if c.kind in JOURNALS and n in row]
        return {name: entry for name in named if (entry := row.pop(name))}

    def _write_journals(self, table: str, sys_id: str, journals: Row, *, by: str, at_text: str) -> None:
        for element, value in journals.items():
            self.entries += 1
            entry = {
                # Ids grow, so that entries of one second sort as they were written.
                "sys_id": f"{self.entries:08x}{self.new_id()[8:]}",
                "name": table,
                "element": element,
                "element_id": sys_id,
                "value": value[:4000] if self.switches.lengths_truncate else value,
                SEQUENCE: str(self.entries),
            }
            self.entries += 1
            self._stamp("sys_journal_field", entry, by=by, at_text=at_text, created=True)
            self._put("sys_journal_field", entry)

    def _write_audit(self, table: str, old: Row, new: Row, *, by: str, at_text: str) -> None:
        """Who moved an approval, and from what: the instance audits this one field."""
        if table != "sysapproval_approver" or old.get("state") == new.get("state"):
            return
        entry = {
            "sys_id": self.new_id(),
            "tablename": table,
            "documentkey": new["sys_id"],
            "fieldname": "state",
            "oldvalue": old.get("state", ""),
            "newvalue": new.get("state", ""),
            "user": by,
            "record_checkpoint": new.get("sys_mod_count", ""),
        }
        self._stamp("sys_audit", entry, by=by, at_text=at_text, created=True)
        self._put("sys_audit", entry)

    def _apply_task_rules(
        self, table: str, old: Row, new: dict[str, str], changes: Row, journals: Row, *, by: str, at_text: str
    ) -> Row | None:
        """Settle `new` in place; returns what another rule will put back, if one does."""
        reverted: Row | None = None
        if table != "sc_task" and rules.would_reopen(old, changes):
            match self.switches.reopen:
                case "acl_403":
                    raise AclDenied.on("Update")
                case "rule_abort_403":
                    raise RuleAborted.by(REOPEN_RULE, REOPEN_RULE_ID, table)
                case "accepted_then_reverted":
                    reverted = {k: old.get(k, "") for k in ("state", "active", "stage", "closed_at", "closed_by")}
                case "allowed":
                    pass
        rules.settle_task(old, new)
        if table == "sc_task" and old.get("active") != "false" and new.get("active") == "false":
            missing = [
                column.label
                for name in self.switches.task_close_mandatory
                if (column := self.schema.column(table, name)) and not new.get(name) and name not in journals
            ]
            if missing:
                raise PolicyFailed.wants(missing)
        self._close_stamps(old, new, by=by, at_text=at_text)
        return reverted

    def _close_stamps(self, old: Row, new: dict[str, str], *, by: str, at_text: str) -> None:
        # closed_at and closed_by stay filled when a task is opened again (section 10, unconfirmed).
        if old.get("active", "true") != "false" and new.get("active") == "false":
            if new.get("closed_at", "") == old.get("closed_at", ""):
                new["closed_at"] = at_text
            if new.get("closed_by", "") == old.get("closed_by", ""):
                new["closed_by"] = self.user_id(by)

    def _need_comments(self, journals: Row) -> None:
        if self.switches.approval_comments_mandatory and not journals.get("comments"):
            raise PolicyFailed.wants(["Comments"])

    def _after(self, table: str, old: Row, new: Row, *, at: datetime | None) -> None:
        """What follows from a change in other records."""
        closed = old.get("active") != "false" and new.get("active") == "false"
        if self.switches.roll_up and closed and table in {"sc_task", "sc_req_item"}:
            link, parent = ("request_item", "sc_req_item") if table == "sc_task" else ("request", "sc_request")
            self._roll_up(table, link, parent, new.get(link, ""), at=at)
        if table != "sysapproval_approver" or old.get("state") == new.get("state"):
            return
        if self.switches.approval_asks_next and new.get("state") == "approved":
            self._ask_next(new, at=at)
        if self.switches.approval_rolls_up:
            self._settle_approval(new, at=at)

    def _ask_next(self, approved: Row, *, at: datetime | None) -> None:
        """Stages one after the other: the earliest approver who was not asked yet is asked now."""
        for row in self.store.table("sysapproval_approver").by_id.values():
            same = row.get("sysapproval", "") == approved.get("sysapproval", "")
            if same and row.get("document_id") == approved.get("document_id") and row.get("state") == "not requested":
                self.update("sysapproval_approver", row["sys_id"], {"state": "requested"}, by="system", at=at)
                return

    def _roll_up(self, child: str, link: str, parent: str, parent_id: str, *, at: datetime | None) -> None:
        if self.store.get(parent, parent_id) is None:
            return
        state = rules.rolled_up_state(row.get("state", "") for row in self.with_value(child, link, parent_id))
        if state is not None:
            self.update(parent, parent_id, {"state": state}, by="system", at=at)

    def _settle_approval(self, approver: Row, *, at: datetime | None) -> None:
        """A task follows its approvers; an item proceeds on approval and is cancelled on rejection."""
        task_id = approver.get("sysapproval", "") or approver.get("document_id", "")
        found = self.find("task", task_id)
        if found is None:
            return
        name, task = found
        rows = {r["sys_id"]: r for c in ("sysapproval", "document_id")
                for r in self.with_value("sysapproval_approver", c, task_id)}  # fmt: skip
        approval = rules.rolled_up_approval(r.get("state", "") for r in rows.values())
        if approval == task.get("approval"):
            return
        values = {"approval": approval}
        if name == "sc_req_item" and approval == "approved" and task.get("stage") == "waiting_for_approval":
            values["stage"] = "fulfillment"
        if name == "sc_req_item" and approval == "rejected":
            values |= {"stage": "Request Cancelled", "state": "4"}
        self.update(name, task_id, values, by="system", at=at)

    def _stamp(self, table: str, row: dict[str, str], *, by: str, at_text: str, created: bool = False) -> None:
        kept = self.schema.tables[table].system_columns
        if created:
            row["sys_created_on"], row["sys_created_by"] = at_text, by
        if "sys_updated_on" in kept:
            row["sys_updated_on"], row["sys_updated_by"] = at_text, by
            row["sys_mod_count"] = "0" if created else str(int(row.get("sys_mod_count") or "0") + 1)

    def _put(self, table: str, row: dict[str, str]) -> None:
        self.version += 1
        self.store.put(table, row["sys_id"], {k: v for k, v in row.items() if v})
