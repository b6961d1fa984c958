"""The ServiceNow instance of Contoso at the start: people, groups, forms, and the tickets of `STORIES`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reconciler.sandbox import hosts
from reconciler.sandbox.servicenow import Instance
from reconciler.sandbox.servicenow.instance import BORN
from reconciler.sandbox.stories.forms import FORMS, PROJECT
from reconciler.sandbox.stories.people import DEPARTMENTS, EVERYONE, Person
from reconciler.sandbox.stories.tickets import AGENT, DESK_QUEUE, INTEGRATION, PRICES, STORIES, Story

QUEUES = (DESK_QUEUE, "Telecom", "Identity")
ROLES = ("itil", "sn_request_read", "sn_request_write", "snc_internal")

# how -> state, stage, approval of the item; approval of the request; state of its task
HOW = {
    "closed": ("3", "complete", "approved", "approved", None),
    "cancelled": ("3", "Request Cancelled", "approved", "approved", "4"),
    "approved": ("2", "fulfillment", "approved", "approved", "1"),
    "waiting": ("1", "waiting_for_approval", "requested", "requested", None),
}


class Desk:
    """Builds the instance; `ids` maps names of people and software to sys_ids, `tickets` numbers to theirs."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.ids: dict[str, str] = {}
        self.tickets: dict[str, str] = {}
        self._centers: dict[str, str] = {}
        self._queues: dict[str, str] = {}
        self._items: dict[str, str] = {}

    def build(self) -> None:
        """Everything, in an order that lets each step find what it names."""
        add_access(self._instance)
        for department, (code, _) in DEPARTMENTS.items():
            self._centers[code] = self._instance.add_cost_center(department, code)
        for person in EVERYONE:
            self._add(person)
        for code, head in DEPARTMENTS.values():
            self._instance.change("cmn_cost_center", self._centers[code], by="admin", at=BORN, manager=self.ids[head])
        for name, user_name in ((AGENT, "agent.assistant"), (INTEGRATION, "svc.procurement")):
            self.ids[name] = self._instance.add_person(user_name, email="", name=name, title="Software account")
        self._queues = {name: self._instance.add_group(name) for name in QUEUES}
        self._items = {name: self._instance.add_item(name, **form) for name, form in FORMS.items()}
        for story in STORIES:
            self.tickets[story.number] = self._order(story)

    def _add(self, person: Person) -> None:
        self.ids[person.name] = self._instance.add_person(
            person.user_name,
            email=person.upn,
            name=person.name,
            employee_number=person.number,
            country=person.country,
            department=person.department,
            cost_center=self._centers[person.cost_center],
            manager=self.ids.get(person.manager or "", ""),
            title=f"{person.title} (contractor)" if person.contractor else person.title,
            active=person.enabled,
        )

    def _order(self, story: Story) -> str:
        state, stage, approval, request_approval, task_state = HOW[story.how]
        person = next(p for p in EVERYONE if p.name == story.person)
        task: dict[str, Any] | None = None
        if task_state is not None:
            task = {
                "state": task_state,
                "assignment_group": self._queues[DESK_QUEUE],
                "assigned_to": self.ids[story.task_for] if story.task_for else "",
            }
        return self._instance.order(
            story.number,
            item=self._items[story.item],
            requested_for=self.ids[story.person],
            opened_by=self.ids[story.opened_by or story.person],
            variables=self._answers(story, person),
            rows=[{"user": self.ids[name], "product": product} for name, product in story.rows],
            opened_at=story.asked,
            state=state,
            stage=stage,
            approval=approval,
            request_approval=request_approval,
            closed_at=story.closed,
            closed_by=self.ids["Oliver Grant"] if story.closed else "",
            approvers=self._approvers(story, person),
            task=task,
            price=story.price or PRICES[story.product],
            close_notes="Licence granted." if story.how == "closed" else "",
        )

    def _answers(self, story: Story, person: Person) -> dict[str, str]:
        answers = {
            "justification": story.why,
            "cost_center": self._centers[person.cost_center],
            "manager": self.ids[person.manager] if person.manager else "",
            "start_date": story.start,
            "end_date": story.end,
            "duration": story.duration,
        }
        if not story.rows:
            answers["user"] = self.ids[story.person]
            if story.item == PROJECT:
                answers["desktop_client"] = story.desktop
            else:
                answers["product"] = story.product
        return answers

    def _approvers(self, story: Story, person: Person) -> list[tuple[str, str, Any]]:
        manager = person.manager or "Thomas Brandt"
        if story.how == "waiting":
            later = [(self.ids[name], "not requested", None) for name in story.approvers]
            return [(self.ids[manager], "requested", None), *later]
        return [(self.ids[manager], "approved", story.asked + timedelta(hours=3))]


def add_access(instance: Instance) -> None:
    """The account that the sandbox's published credentials sign in to, by every way that ServiceNow has."""
    user = instance.add_integration_user(hosts.SERVICENOW_USER, hosts.SERVICENOW_PASSWORD, roles=ROLES)
    instance.add_oauth_client(hosts.SERVICENOW_CLIENT_ID, hosts.SERVICENOW_CLIENT_SECRET, user)
    instance.add_api_key(hosts.SERVICENOW_API_KEY, user)
