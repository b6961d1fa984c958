"""What the people of Contoso do in the weeks after the start: the human half of the stories that need one.

| day | ticket | who does what |
|---|---|---|
| 3 | RITM0010028 | the identity team puts the person into the on-premises group, and the sync brings the membership |
| 3 | RITM0010029 | the colleague gives the task back to the queue |
| 4 | RITM0010010 | the requester answers the question: the service desk writes the end date into the form |
| 4 | RITM0010031 | an administrator moves the person into the group whose E3 has Teams switched on |
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from reconciler.sandbox.directory.audit import Actor
from reconciler.sandbox.directory.happenings import SYNC_SERVICE
from reconciler.sandbox.stories.desk import Desk
from reconciler.sandbox.stories.people import START
from reconciler.sandbox.stories.tenancy import NO_TEAMS, STAFF, VISIO_PLANTS, Tenancy
from reconciler.sandbox.world import World

JULIAS_END = "2027-01-15"  # 72 days after the answer; the contractors' rule allows 90


def schedule(world: World, tenancy: Tenancy, desk: Desk) -> None:
    """Put the people's doings into the world's future."""
    move(world, 3, tenancy, join=VISIO_PLANTS, who="Zoe Bakker", by=SYNC_SERVICE)
    move(world, 4, tenancy, join=STAFF, leave=NO_TEAMS, who="Carl Johansson", by=tenancy.actor("Tom Weber"))
    (task,) = world.instance.records("sc_task", request_item=desk.tickets["RITM0010029"])
    change(world, 3, "sc_task", task["sys_id"], by="oliver.grant", assigned_to="")
    julia = desk.tickets["RITM0010010"]
    (asked,) = (o for o in _answers(world, julia) if o["question"] == "end_date")
    change(world, 4, "sc_item_option", asked["sys_id"], by="nina.schulz", value=JULIAS_END)
    change(world, 4, "sc_req_item", julia, by="nina.schulz", work_notes=f"Needed until {JULIAS_END}, she says.")


def move(world: World, day: int, tenancy: Tenancy, *, who: str, by: Actor, join: str, leave: str = "") -> None:
    """Let a person change groups on a day, as `by` (a person of Contoso, or the sync)."""
    actor = msgspec.to_builtins(by)
    event = {"kind": "move", "user": tenancy.ids[who], "by": actor, "join": tenancy.groups[join]}
    world.at(START + timedelta(days=day), event | ({"leave": tenancy.groups[leave]} if leave else {}))


def change(world: World, day: int, table: str, sys_id: str, *, by: str, **values: str) -> None:
    """Let a person change a record in the forms on a day."""
    event = {"kind": "edit", "table": table, "sys_id": sys_id, "by": by, "values": values}
    world.at(START + timedelta(days=day), event)


def _answers(world: World, ritm: str) -> list[dict[str, str]]:
    """The item's answers, each with the name of its question."""
    found = []
    for tie in world.instance.records("sc_item_option_mtom", request_item=ritm):
        (option,) = world.instance.records("sc_item_option", sys_id=tie["sc_item_option"])
        (question,) = world.instance.records("item_option_new", sys_id=option["item_option_new"])
        found.append({"sys_id": option["sys_id"], "question": question["name"]})
    return found
