"""The 34 tickets of Contoso as ServiceNow holds them at the start. What each person has is in `tenancy`.

One row a ticket: its number, what it asks for, how far it is, when. The story that it tells stands above it; the
table of all stories, with what a reconciler should make of them, is in docs/sandbox.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.sandbox.stories.forms import LICENCE, PROJECT, TEAM
from reconciler.sandbox.stories.people import START

# What the form showed whoever approved, in euro a month.
PRICES = {
    "audio-conferencing": "3.80",
    "calling-plan-domestic": "11.30",
    "calling-plan-international": "22.60",
    "m365-e3": "36.00",
    "m365-e5": "57.00",
    "power-apps-premium": "18.70",
    "power-automate-premium": "14.10",
    "power-bi-pro": "13.10",
    "project-plan-1": "9.40",
    "project-plan-3": "28.10",
    "teams": "4.90",
    "teams-phone": "9.40",
    "visio-plan-1": "4.70",
    "visio-plan-2": "14.10",
    "visio-plan-2-plant": "14.10",
}

DESK_QUEUE = "M365 Licence Desk"
AGENT = "Contoso Assistant"
INTEGRATION = "Procurement Integration"


@dataclass(frozen=True)
class Story:
    """One ticket. `how` is closed, cancelled, waiting, approved; `asked` and `closed` are instants, aware UTC."""

    number: str
    person: str
    product: str
    how: str
    asked: datetime
    closed: datetime | None = None
    item: str = LICENCE
    why: str = "Needed for my daily work."
    start: str = ""
    end: str = ""
    duration: str = ""
    opened_by: str | None = None
    desktop: str = ""
    price: str | None = None
    task_for: str = ""  # the person the task is assigned to, "" for nobody
    rows: Sequence[tuple[str, str]] = ()  # (person, product) of the multi-row set
    approvers: Sequence[str] = ()  # beyond the manager


def _ago(days: float, **more: float) -> datetime:
    return START - timedelta(days=days, **more)


def _closed(number: int, person: str, product: str, days: float, **more: Any) -> Story:
    """Closed complete so many days ago, asked for two days earlier."""
    return Story(f"RITM{number:07}", person, product, "closed", _ago(days + 2), _ago(days), **more)


def _open(number: int, person: str, product: str, how: str, days: float, **more: Any) -> Story:
    return Story(f"RITM{number:07}", person, product, how, _ago(days), **more)


STORIES: tuple[Story, ...] = (
    # No usage location, so nothing could be assigned. ServiceNow and Entra agree on the country.
    _closed(10001, "Anna Berger", "project-plan-3", 4, why="I plan the Leipzig line move."),
    # Visio comes by group here; nobody put the person into it.
    _closed(10002, "Bram de Vries", "visio-plan-2", 3),
    # Put into the group a minute ago; the group's licences take ten.
    Story("RITM0010003", "Chloe Martin", "visio-plan-2", "closed", _ago(1), START - timedelta(minutes=1)),
    # Example A: Teams Phone on E3, no location.
    _open(10004, "Daniel Hughes", "teams-phone", "approved", 1),
    # By group, and the group is in error: an older manual Domestic Calling Plan excludes it.
    _closed(10005, "Emma Larsson", "calling-plan-international", 6),
    # E5 includes Teams Phone and voice works.
    _closed(10006, "Farid Haddad", "teams-phone", 5),
    # The desktop client was asked for; the fulfiller gave Plan 1, which has none.
    _closed(
        10007, "Greta Holm", "project-plan-1", 3, item=PROJECT, desktop="true", why="I need the Project desktop client."
    ),
    # Every seat is taken.
    _closed(10008, "Henrik Olsen", "visio-plan-1", 2),
    # Example B: a contractor, for 30 days.
    _open(
        10009,
        "Ivan Petrov",
        "project-plan-3",
        "approved",
        1,
        item=PROJECT,
        desktop="true",
        duration="30 days",
        why="Rollout planning until the end of my contract extension.",
    ),
    # A contractor without an end date.
    _open(10010, "Julia Costa", "project-plan-3", "approved", 1, item=PROJECT, desktop="true"),
    # Unknown to Entra, for longer than any sync takes.
    _closed(10011, "Karim Aziz", "project-plan-1", 10),
    # A dear product, not approved yet.
    _open(
        10012, "Lena Fischer", "m365-e5", "waiting", 1, approvers=("Thomas Brandt",), why="Audit needs Power BI and E5."
    ),
    # A direct E3 with the Teams plan switched off.
    _closed(10013, "Marco Bianchi", "teams", 4),
    # The assignment is accepted, its only proof plan ends in Error.
    _open(10014, "Noor Jansen", "power-automate-premium", "approved", 1),
    # Closed complete and cancelled at once.
    Story("RITM0010015", "Oscar Nilsson", "audio-conferencing", "cancelled", _ago(6), _ago(4)),
    # Holds the International Calling Plan, which excludes the Domestic one.
    _open(10016, "Paula Gomez", "calling-plan-domestic", "approved", 1),
    # Granted last month, taken away by hand yesterday.
    _closed(10017, "Quentin Moreau", "project-plan-1", 26),
    # Granted for two weeks; they ended a week ago.
    _closed(10018, "Rachel Stone", "project-plan-3", 21, start="2026-10-12", end="2026-10-26"),
    # The account has been disabled since.
    _closed(10019, "Stefan Wolf", "project-plan-1", 14),
    # No location, and the account is synced: the next sync writes its empty value over ours.
    _closed(10020, "Tara Kowalska", "project-plan-1", 3),
    # All is well.
    _closed(10021, "Ulrich Baum", "project-plan-3", 18, end="2026-12-31"),
    # The same person and product, for longer.
    _closed(10022, "Ulrich Baum", "project-plan-3", 12, end="2027-03-31", why="The follow-up project."),
    # Proposed in a chat, by an assistant's account.
    _open(10023, "Vera Lang", "m365-e5", "waiting", 1, opened_by=AGENT, why="Asked for in a chat with the assistant."),
    # The group also carries a SKU without a seat, so it gives nothing.
    _closed(10024, "William Clarke", "power-apps-premium", 5),
    # Example A gone wrong: Graph fails each time.
    _open(10025, "Xenia Popova", "teams-phone", "approved", 1),
    # The sign-in name now belongs to somebody who joined later.
    Story("RITM0010026", "Chris Young", "project-plan-1", "closed", _ago(27), _ago(25)),
    # The period is over; the licence was given by hand.
    _closed(10027, "Yusuf Demir", "project-plan-1", 24, start="2026-10-09", end="2026-10-28"),
    # By a group that is mastered on-premises.
    _open(10028, "Zoe Bakker", "visio-plan-2-plant", "approved", 1),
    # A colleague has the task.
    _open(10029, "Aaron Fields", "audio-conferencing", "approved", 1, task_for="Oliver Grant"),
    # A new hire: the account is synced tomorrow.
    Story("RITM0010030", "Bianca Ferrari", "m365-e3", "closed", _ago(5), _ago(1, hours=-6)),
    # Holds E3 by a group that switches Teams off.
    _closed(10031, "Carl Johansson", "teams", 4),
    # Three people, two seats.
    _open(
        10032,
        "Dora Meier",
        "power-bi-pro",
        "approved",
        1,
        item=TEAM,
        rows=(("Dora Meier", "power-bi-pro"), ("Emil Koch", "power-bi-pro"), ("Fiona Byrne", "power-bi-pro")),
        why="Quarterly reporting for the controllers.",
    ),
    # Ordered by software.
    _open(10033, "Gavin Reid", "project-plan-1", "approved", 1, opened_by=INTEGRATION, why="Order 4500017731."),
    # E5, plan fine, but no number.
    _closed(10034, "Hanna Virtanen", "teams-phone", 4),
)
