"""Reading and changing users (graph.md sections 3 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.sandbox.directory import User
from reconciler.sandbox.graph import listing
from reconciler.sandbox.graph.answers import Answer, Problem, bad_request, not_implemented, unsupported_query
from reconciler.sandbox.graph.calls import Call
from reconciler.sandbox.graph.properties import Properties

_EQ = frozenset({"eq", "ne", "in"})
_TEXT = _EQ | {"ge", "le", "startswith"}

# Property -> operators; graph.md section 3, column "$filter".
USER_FILTERS: Mapping[str, frozenset[str]] = {
    "id": _EQ,
    "userPrincipalName": _TEXT | {"endswith"},
    "mail": _TEXT | {"endswith"},
    "displayName": _TEXT,
    "givenName": _TEXT,
    "surname": _TEXT,
    "jobTitle": _TEXT,
    "accountEnabled": _EQ,
    "usageLocation": _TEXT,
    "country": _TEXT,
    "department": _EQ | {"ge", "le"},
    "employeeType": _TEXT,
    "employeeId": _TEXT,
    "onPremisesSyncEnabled": _EQ,
    "userType": _EQ,
    "createdDateTime": _EQ | {"ge", "le"},
    "assignedLicenses": frozenset({"eq", "count"}),
    "assignedLicenses/skuId": frozenset({"any"}),
    "assignedPlans/servicePlanId": frozenset({"any"}),
    "assignedPlans/capabilityStatus": frozenset({"any"}),
}
USER_ORDER = ("displayName", "userPrincipalName", "createdDateTime")


class Users:
    """Routes under /users that are neither delta nor licences."""

    def __init__(self, properties: Properties) -> None:
        self._properties = properties

    def search(self, call: Call) -> Answer:
        """GET /users"""
        if "$skip" in call.query:
            raise bad_request("'$skip' is not supported by the service.")
        if "$search" in call.query:
            raise not_implemented("$search")
        names = self._properties.user_names(call.select(), unknown=call.switches.unknown_select, in_list=True)
        wanted = listing.read_filter(call, USER_FILTERS, "User")
        expand = self._manager_names(call)
        if expand is not None and call.is_advanced:
            raise unsupported_query()
        order = listing.ordering(call, USER_ORDER)
        ids = call.store.user_ids()
        value = self._properties.user_value
        return listing.answer_list(
            call,
            lambda i: _visible(call, ids[i]),
            len(ids),
            context="users",
            matches=lambda u: wanted is None or wanted.matches(lambda path: value(u, path)),
            show=lambda u: self._row(call, u, names, expand),
            order=None if order is None else (lambda u: str(value(u, order[0])).casefold()),
            descending=bool(order and order[1]),
            licence_filter=wanted is not None and any(t.path.startswith("assignedLicenses") for t in wanted.tests),
        )

    def count(self, call: Call) -> Answer:
        """GET /users/$count"""
        wanted = listing.read_filter(call, USER_FILTERS, "User") if call.is_advanced else None
        value = self._properties.user_value
        people = (_visible(call, user_id) for user_id in call.store.user_ids())
        matching = (u for u in people if u and (wanted is None or wanted.matches(lambda p, u=u: value(u, p))))  # type: ignore[misc]
        return listing.count_only(call, sum(1 for _ in matching))

    def get(self, call: Call, key: str) -> Answer:
        """GET /users/{id or UPN}"""
        call.refuse_options("$select", "$expand", "$count")
        names = self._properties.user_names(call.select(), unknown=call.switches.unknown_select, in_list=False)
        user = call.store.live_user(key, stale=call.is_stale)
        body = {"@odata.context": call.context("users/$entity")}
        return Answer(200, body | self._row(call, user, names, self._manager_names(call)))

    def patch(self, call: Call, key: str) -> Answer:
        """PATCH /users/{id}: only usageLocation."""
        changes = {name: value for name, value in call.json().items() if not name.startswith("@odata.")}
        user = call.store.live_user(key)
        if set(changes) != {"usageLocation"}:
            raise not_implemented(f"changing {', '.join(sorted(changes)) or 'nothing'} of a user")
        call.directory.changes.set_usage_location(user.user_id, changes["usageLocation"], actor=call.actor)
        return Answer(204)

    def manager(self, call: Call, key: str) -> Answer:
        """GET /users/{id}/manager"""
        user = call.store.live_user(key, stale=call.is_stale)
        names = self._properties.user_names(call.select(), unknown=call.switches.unknown_select, in_list=False)
        manager = None if user.manager_id is None else _visible(call, user.manager_id)
        if manager is None:
            # The exact text is UNCONFIRMED (graph.md section 2).
            raise Problem(
                404,
                "Request_ResourceNotFound",
                "Resource 'manager' does not exist or one of its queried reference-property objects are not present.",
            )
        head = {"@odata.context": call.context("directoryObjects/$entity"), "@odata.type": "#microsoft.graph.user"}
        return Answer(200, head | self._properties.user(manager, names))

    def _row(self, call: Call, user: User, names: list[str], expand: list[str] | None) -> dict[str, Any]:
        row = self._properties.user(user, names)
        if expand is not None:
            manager = None if user.manager_id is None else _visible(call, user.manager_id)
            if manager is not None:
                row["manager"] = {"@odata.type": "#microsoft.graph.user", **self._properties.user(manager, expand)}
        return row

    def _manager_names(self, call: Call) -> list[str] | None:
        """Properties of an expanded manager, or None when none is asked for."""
        text = call.query.get("$expand")
        if text is None:
            return None
        name, _, inner = text.partition("(")
        if name.strip() != "manager":
            raise not_implemented(f"$expand={text}")
        select = inner.rstrip(")").partition("$select=")[2]
        chosen = [s.strip() for s in select.split(",")] if select else None
        return self._properties.user_names(chosen, unknown=call.switches.unknown_select, in_list=False)


def _visible(call: Call, user_id: str) -> User | None:
    """A user as the list's replica or index shows it; None when it shows nobody."""
    store = call.store
    user = store.seen(store.users, user_id, advanced=call.is_advanced, stale=call.is_stale)
    return None if user is None or user.deleted_at is not None else user
