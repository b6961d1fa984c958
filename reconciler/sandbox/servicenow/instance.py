"""The truth of the pretend ServiceNow instance, and how a story puts people, items and tickets into it.

Stories and tests call this; HTTP callers go through `ServiceNowService`. Chance and time are arguments: the same
calls give the same sys_ids. `to_json` and `from_json` keep everything but the rows derived from the schema.
"""

from __future__ import annotations

import base64
import hmac
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from reconciler.sandbox.servicenow import ordering
from reconciler.sandbox.servicenow.access import Access, AclRule, Caller, Operation
from reconciler.sandbox.servicenow.acting import Acting
from reconciler.sandbox.servicenow.credentials import Credentials, OAuthClient
from reconciler.sandbox.servicenow.dictionary import DERIVED, write_dictionary
from reconciler.sandbox.servicenow.records import Records
from reconciler.sandbox.servicenow.schema import Column
from reconciler.sandbox.servicenow.stamps import stamp
from reconciler.sandbox.servicenow.switches import InstanceSwitches
from reconciler.sandbox.servicenow.tables import base_schema

Now = Callable[[], datetime]
ADMIN = "admin"
BORN = datetime(2020, 1, 1, tzinfo=UTC)
"""When the people and items of a story came to be."""


class Instance(Acting):
    """One instance: rows, rights, credentials and switches."""

    def __init__(self, *, now: Now, rng: random.Random) -> None:
        self.switches = InstanceSwitches()
        self.schema = base_schema()
        self.truth = Records(self.schema, now=now, rng=rng, switches=self.switches)
        self.access = Access(self.schema, self.switches)
        self.access.stands_in = self.stands_in
        self.credentials = Credentials()
        self.attachments: dict[str, bytes] = {}
        """Contents of attachments by sys_id."""
        self.hidden_until: dict[str, str] = {}
        """Rows that are not committed yet, by sys_id, and the stamp from which they show (section 6)."""
        self.rate_counts: dict[str, list[int]] = {}
        """Requests of this hour as [hour since 1970, count], by "user api"."""
        self._added_columns: list[tuple[str, Column]] = []
        write_dictionary(self.schema, self.truth.store)

    def now(self) -> datetime:
        """The sandbox clock."""
        return self.truth.now()

    # --- people, groups, cost

    def add_person(
        self,
        user_name: str,
        *,
        email: str,
        name: str,
        employee_number: str = "",
        country: str = "",
        department: str = "",
        cost_center: str = "",
        manager: str = "",
        title: str = "",
        active: bool = True,
        roles: Sequence[str] = (),
        time_zone: str = "",
    ) -> str:
        """Add a user and return the sys_id. References are sys_ids or names; unknown names are created, managers not.

        Raises:
            ValueError: the user name is taken.
        """
        if self.truth.user_id(user_name):
            raise ValueError(f"there is a user {user_name!r} already")
        first, _, last = name.partition(" ")
        sys_id = self.truth.insert(
            "sys_user",
            {
                "user_name": user_name,
                "email": email,
                "name": name,
                "first_name": first,
                "last_name": last,
                "employee_number": employee_number,
                "country": country,
                "title": title,
                "department": self._named("cmn_department", department),
                "cost_center": self._named("cmn_cost_center", cost_center),
                "manager": manager,
                "active": "true" if active else "false",
                "time_zone": time_zone,
            },
            by=ADMIN,
            at=BORN,
        )
        self.credentials.roles[sys_id] = list(roles)
        return sys_id

    def add_group(self, name: str, *, manager: str = "") -> str:
        """Add a group and return its sys_id."""
        return self.truth.insert(
            "sys_user_group", {"name": name, "manager": manager, "active": "true"}, by=ADMIN, at=BORN
        )

    def add_cost_center(self, name: str, code: str, manager: str = "") -> str:
        """Add a cost centre and return its sys_id."""
        return self.truth.insert("cmn_cost_center", {"name": name, "code": code, "manager": manager}, by=ADMIN, at=BORN)

    def _named(self, table: str, value: str) -> str:
        """The sys_id of a row given by sys_id, name or code; made when there is none."""
        if not value or self.truth.store.get(table, value):
            return value
        for column in ("name", "code"):
            if self.schema.column(table, column):
                rows = self.truth.with_value(table, column, value)
                if rows:
                    return rows[0]["sys_id"]
        return self.truth.insert(table, {"name": value, "code": value}, by=ADMIN, at=BORN)

    # --- catalogue and orders

    def add_item(
        self,
        name: str,
        *,
        price: str = "0",
        recurring_price: str = "0",
        short_description: str = "",
        variables: Sequence[Mapping[str, str]] = (),
        rows: Sequence[Mapping[str, str]] = (),
        rows_name: str = "rows",
    ) -> str:
        """Add a catalog item and return its sys_id.

        `variables` are {"name", "question_text", "type", "order", "reference"?, "mandatory"?}; `rows` are the columns
        of one multi-row set, in the same form. Types are the codes of section 7, text by default.
        """
        return ordering.add_item(
            self.truth,
            name,
            price=price,
            recurring_price=recurring_price,
            short_description=short_description,
            variables=variables,
            rows=rows,
            rows_name=rows_name,
            by=ADMIN,
            at=BORN,
        )

    def order(
        self,
        number: str,
        *,
        item: str,
        requested_for: str,
        opened_at: datetime,
        opened_by: str | None = None,
        variables: Mapping[str, str] | None = None,
        rows: Sequence[Mapping[str, str]] = (),
        state: str = "3",
        stage: str = "complete",
        approval: str = "approved",
        request_approval: str = "approved",
        active: bool | None = None,
        closed_at: datetime | None = None,
        closed_by: str = "",
        approvers: Sequence[tuple[str, str, datetime | None]] = (),
        task: Mapping[str, str] | None = None,
        price: str | None = None,
        close_notes: str = "",
        short_description: str = "",
    ) -> str:
        """Put an order into the past: request, item, answers, approvers and, with `task`, a catalog task.

        `approvers` are (user sys_id, state, when decided). A closed item without `closed_at` closed when it opened.
        Returns the sys_id of the item (RITM).

        Raises:
            KeyError: an answer to a question that the item does not ask, or an unknown item.
        """
        past = ordering.Past(
            number=number,
            item=item,
            requested_for=requested_for,
            opened_by=opened_by or requested_for,
            opened_at=opened_at,
            state=state,
            stage=stage,
            approval=approval,
            request_approval=request_approval,
            active=active,
            closed_at=closed_at,
            closed_by=closed_by,
            price=price,
            close_notes=close_notes,
            short_description=short_description,
        )
        return ordering.put_order(
            self.truth, past, variables=variables or {}, rows=rows, approvers=approvers, task=task
        )

    def decide(
        self,
        ritm: str,
        approver: str,
        state: str,
        *,
        comments: str = "",
        at: datetime | None = None,
        by: str = "",
        impersonator: str = "",
    ) -> None:
        """Let an approval of an item or of its request be decided, as on its page; `approver` is a sys_id.

        `by` is the user name of who does it, by default the approver: a delegate, an administrator, the integration
        user, or "system" for a due date. With `impersonator` (a user name) it is done in another's name, which the
        record itself does not show.

        Raises:
            KeyError: the person is not asked.
        """
        request = (self.truth.store.get("sc_req_item", ritm) or {}).get("request", "")
        asked = {
            row["sys_id"]: row
            for column in ("sysapproval", "document_id")
            for row in self.truth.with_value("sysapproval_approver", column, *{ritm, request} - {""})
        }
        row = next((r for r in asked.values() if r.get("approver") == approver), None)
        if row is None:
            raise KeyError(approver)
        values = {"state": state} | ({"comments": comments} if comments else {})
        actor = by or self.truth.store.table("sys_user").by_id[approver]["user_name"]
        if impersonator:
            self._note_impersonation("start", impersonator, actor, at)
        self.truth.update("sysapproval_approver", row["sys_id"], values, by=actor, at=at)
        if impersonator:
            self._note_impersonation("end", impersonator, actor, at)

    def _note_impersonation(self, moment: str, impersonator: str, name: str, at: datetime | None) -> None:
        # The names of event and parameters are UNCONFIRMED.
        values = {"name": f"impersonation.{moment}", "parm1": impersonator, "parm2": name, "user_name": impersonator}
        self.truth.insert("sysevent", values, by=impersonator, at=at)

    def add_delegate(
        self, user: str, delegate: str, *, starts: datetime, ends: datetime, approvals: bool = True
    ) -> str:
        """Let `delegate` act for `user` (sys_ids) for a time; the row's sys_id."""
        values = {
            "user": user,
            "delegate": delegate,
            "approvals": "true" if approvals else "false",
            "starts": stamp(starts),
            "ends": stamp(ends),
        }
        return self.truth.insert("sys_user_delegate", values, by=ADMIN, at=starts)

    def stands_in(self, approver: str, user: str) -> bool:
        """Whether `user` may approve for `approver` now; a delegate's delegate may not."""
        now = stamp(self.now())
        return any(
            row.get("delegate") == user
            and row.get("approvals") == "true"
            and row.get("starts", "") <= now <= row.get("ends", now)
            for row in self.truth.with_value("sys_user_delegate", "user", approver)
        )

    def change(self, table: str, sys_id: str, *, by: str = ADMIN, at: datetime | None = None, **values: str) -> None:
        """Change a row as a person would in the forms: under the business rules, `by` is a user name."""
        self.truth.update(table, sys_id, values, by=by, at=at)

    # --- who may sign in, and what they may do

    def add_integration_user(
        self, user_name: str, password: str, *, roles: Sequence[str], time_zone: str = "GMT", web_only: bool = True
    ) -> str:
        """Add a user that programs sign in as, "web service access only" unless told otherwise."""
        sys_id = self.add_person(
            user_name, email=f"{user_name}@contoso.example", name=user_name, roles=roles, time_zone=time_zone
        )
        web = {"web_service_access_only": "true" if web_only else "false", "internal_integration_user": "true"}
        self.truth.update("sys_user", sys_id, web, by=ADMIN, at=BORN)
        self.credentials.passwords[sys_id] = password
        return sys_id

    def set_password(self, user: str, password: str) -> None:
        """Let a person sign in with Basic authentication."""
        self.credentials.passwords[self._account(user)] = password

    def add_oauth_client(
        self, client_id: str, client_secret: str, user: str, *, public_keys: Sequence[str] = ()
    ) -> None:
        """Add an OAuth application whose application user is `user` (user name or sys_id)."""
        self.credentials.clients[client_id] = OAuthClient(client_secret, self._account(user), list(public_keys))

    def add_api_key(self, key: str, user: str) -> None:
        """Let `key` speak for `user` (user name or sys_id)."""
        self.credentials.api_keys[key] = self._account(user)

    def check_password(self, user: str, password: str) -> bool:
        """Whether this is the password of a user (user name) who is active and not locked out."""
        sys_id = self.truth.user_id(user)
        known = self.credentials.passwords.get(sys_id)
        is_right = known is not None and hmac.compare_digest(known.encode(), password.encode())
        return is_right and self.caller(sys_id) is not None

    def oauth_client(self, client_id: str) -> OAuthClient | None:
        """The OAuth application of that id."""
        return self.credentials.clients.get(client_id)

    def api_key_user(self, key: str) -> str | None:
        """The user name that a key speaks for."""
        row = self.truth.store.get("sys_user", self.credentials.api_keys.get(key, ""))
        return row["user_name"] if row else None

    def _account(self, user: str) -> str:
        """The sys_id of a user given by user name or sys_id."""
        sys_id = user if self.truth.store.get("sys_user", user) else self.truth.user_id(user)
        if not sys_id:
            raise ValueError(f"there is no user {user!r}")
        return sys_id

    def add_acl(
        self, table: str, operation: Operation, *, column: str = "", row: str = "", roles: Sequence[str] = ()
    ) -> None:
        """Narrow who may do something to a table, a column or one row; without roles only administrators may."""
        self.access.rules.append(AclRule(table, operation, column, row, tuple(roles)))

    def drop_acl(self, table: str, operation: Operation, *, column: str = "", row: str = "") -> None:
        """Lift what `add_acl` narrowed."""
        kept = [
            r for r in self.access.rules if (r.table, r.operation, r.column, r.row) != (table, operation, column, row)
        ]
        self.access.rules[:] = kept

    def add_column(self, table: str, column: Column) -> None:
        """Add or replace a column, such as a customer's `u_` column or another choice list."""
        self._added_columns.append((table, column))
        self.schema.add_column(table, column)
        write_dictionary(self.schema, self.truth.store)

    def caller(self, sys_id: str) -> Caller | None:
        """The user as a caller; None when inactive, locked out or unknown."""
        row = self.truth.store.get("sys_user", sys_id)
        if row is None or row.get("active") != "true" or row.get("locked_out") == "true":
            return None
        zone = row.get("time_zone") or self.switches.system_time_zone
        return Caller(sys_id, row["user_name"], frozenset(self.credentials.roles.get(sys_id, ())), zone)

    # --- keeping it

    def to_json(self) -> dict[str, Any]:
        """The whole instance, JSON-plain."""
        store = self.truth.store
        version, internal, gauss = self.truth.rng.getstate()
        return {
            "rows": {
                table: [dict(row) for row in store.table(table).by_id.values()]
                for table in store.names()
                if table not in DERIVED
            },
            "numbers": dict(self.truth.numbers),
            "entries": self.truth.entries,
            "rng": [version, list(internal), gauss],
            "switches": msgspec.to_builtins(self.switches),
            "credentials": msgspec.to_builtins(self.credentials),
            "acl": msgspec.to_builtins(self.access.rules),
            "columns": msgspec.to_builtins(self._added_columns),
            "attachments": {key: base64.b64encode(value).decode() for key, value in self.attachments.items()},
            "hidden_until": dict(self.hidden_until),
            "rate_counts": {key: list(value) for key, value in self.rate_counts.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, now: Now, rng: random.Random) -> Instance:
        """The instance that `to_json` wrote; `rng` takes up where its chance was."""
        version, internal, gauss = data["rng"]
        rng.setstate((version, tuple(internal), gauss))
        made = cls(now=now, rng=rng)
        kept = msgspec.convert(data["switches"], InstanceSwitches)
        for name in InstanceSwitches.__struct_fields__:  # in place: the parts of the instance share this one value
            setattr(made.switches, name, getattr(kept, name))
        for table, column in msgspec.convert(data["columns"], list[tuple[str, Column]]):
            made.add_column(table, column)
        for table, rows in data["rows"].items():
            for row in rows:
                made.truth.store.put(table, row["sys_id"], dict(row))
        made.truth.numbers.update(data["numbers"])
        made.truth.entries = data["entries"]
        made.credentials = msgspec.convert(data["credentials"], Credentials)
        made.access.rules.extend(msgspec.convert(data["acl"], list[AclRule]))
        made.attachments.update({key: base64.b64decode(value) for key, value in data["attachments"].items()})
        made.hidden_until.update(data["hidden_until"])
        made.rate_counts.update({key: list(value) for key, value in data["rate_counts"].items()})
        return made
