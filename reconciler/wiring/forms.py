"""What the configuration calls by name and ServiceNow by sys_id: catalogue items and groups; and how tickets of an
item are answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from desired_state.items import Item
from desired_state.model import ProductKey, Ticket
from reconciler.answers import Manners
from reconciler.clients.servicenow import ServiceNow
from reconciler.config import Settings, Tenant
from reconciler.errors import UserError
from reconciler.wiring.kept import Ids

_SYS_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Named:
    """What ServiceNow calls the items and groups of these names: asked for once, and then known by `ids`."""

    servicenow: Callable[[], ServiceNow]
    ids: Ids

    def items(self, names: Iterable[str]) -> dict[str, str]:
        """sys_ids of the items that have one of these names alone."""
        wanted = set(names)
        missing = sorted(wanted - self.ids.items.keys())
        found = self.servicenow().items(missing) if missing else {}
        self.ids.items.update({name: sys_id for name, sys_id in found.items() if isinstance(sys_id, str)})
        return {name: self.ids.items[name] for name in wanted & self.ids.items.keys()}

    def group(self, name: str) -> str | None:
        """sys_id of the group of that exact name, None for none. Raises Rejected when it means several."""
        if name not in self.ids.groups and (found := self.servicenow().group(name)) is not None:
            self.ids.groups[name] = found
        return self.ids.groups.get(name)


def items(settings: Settings, name: str, known: Named) -> dict[str, Item]:
    """The configured catalogue items by sys_id. Raises UserError for one that the instance does not have."""
    configured = settings.items_for(name)
    named = [item.name for item in configured if item.sys_id is None]
    ids = known.items(named)
    found: dict[str, Item] = {}
    for item in configured:
        sys_id = item.sys_id or ids.get(item.name)
        if sys_id is None:
            raise UserError(
                f"{settings.source}: ServiceNow has no single catalogue item named '{item.name}'; "
                "correct the name in [[items]], or give the item's sys_id"
            )
        found[sys_id] = item
    return found


def groups(settings: Settings, tenant: Tenant, configured: Iterable[Item], known: Named) -> dict[str, str]:
    """sys_ids of the ServiceNow groups that the configuration names, by name. Raises UserError."""
    own = tenant.servicenow
    named = {*own.our_groups, *own.queues.values(), *(i.follow_up_group for i in configured)} - {""}
    found = {name: known.group(name) for name in sorted(named)}
    for name, sys_id in found.items():
        if not isinstance(sys_id, str):
            raise UserError(f"{settings.source}: ServiceNow has no single group named '{name}'")
    return {name: sys_id for name, sys_id in found.items() if isinstance(sys_id, str)}


def reviews(settings: Settings, configured: Iterable[Item], known: Named) -> dict[str, str]:
    """sys_ids of the catalogue items for manual review, by name. Raises UserError."""
    named = {i.review_item for i in configured} - {""}
    words = sorted(n for n in named if not _SYS_ID.fullmatch(n))
    found = known.items(words)
    for name in words:
        if name not in found:
            raise UserError(f"{settings.source}: ServiceNow has no single catalogue item named '{name}'")
    return found


def manners(
    settings: Settings,
    tenant: Tenant,
    *,
    known: Mapping[str, Item],
    by_name: Mapping[str, str],
    review_items: Callable[[], Mapping[str, str]],
    our_groups: frozenset[str],
) -> Callable[[Ticket], Manners]:
    """How each ticket is answered. `known` are the items by sys_id, `by_name` and `review_items` the sys_ids of the
    groups and review items that the configuration names; the latter are asked for when a ticket is answered."""
    levels = {ProductKey(k): o.answers for k, o in settings.products.items() if o.answers is not None}
    own = tenant.servicenow
    queues = {owner: by_name[name] for owner, name in own.queues.items() if name}

    def for_ticket(ticket: Ticket) -> Manners:
        item = known.get(ticket.item)
        if item is None:
            return Manners()
        return Manners(
            level=tenant.answers,
            levels=levels,
            may_reopen=item.reopen,
            follow_up_group=by_name.get(item.follow_up_group, ""),
            queues=queues,
            closes=item.close,
            our_groups=our_groups,
            evidence=item.attach_evidence,
            reopen_path=own.reopen_path,
            reopened_stage=own.reopened_stage,
            reopened_request_state=own.reopened_request_state,
            review_item=review_items().get(item.review_item, item.review_item),
            review_variable=item.review_variable,
        )

    return for_ticket
