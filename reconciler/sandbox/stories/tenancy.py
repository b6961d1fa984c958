"""The directory of Contoso at the start: what it owns, who is in which group, and who holds what since when.

Everything is built through the directory's building methods with the clock at the instant of the past, so states and
audit entries follow from the sandbox's own rules: the group errors below are worked out, not written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from reconciler.sandbox.directory import Directory
from reconciler.sandbox.directory.audit import Actor
from reconciler.sandbox.stories.people import COLLEAGUES, DOMAIN, EVERYONE, HEADS, SERVICE_DESK, START, Person
from reconciler.sandbox.stories.tickets import STORIES
from reconciler.sandbox.world import World

# part number -> seats bought. Visio Plan 1 and Power BI Premium Per User are full at the start, see `_fill_seats`.
SEATS = {
    "SPE_E3": 60,
    "SPE_E5": 12,
    "MCOEV": 10,
    "MCOMEETADV": 10,
    "MCOPSTN1": 6,
    "MCOPSTN2": 6,
    "VISIOCLIENT": 15,
    "VISIOONLINE_PLAN1": 3,
    "PROJECTPROFESSIONAL": 12,
    "PROJECT_P1": 10,
    "POWER_BI_PRO": 5,
    "PBI_PREMIUM_PER_USER": 2,
    "POWERAUTOMATE_ATTENDED_RPA": 5,
    "POWERAPPS_PER_USER": 6,
    "Microsoft_Teams_Enterprise_New": 5,
    "Microsoft_Teams_Premium": 5,
}
SEAT_FREES_AT = {"VISIOONLINE_PLAN1": START + timedelta(days=20), "PBI_PREMIUM_PER_USER": START + timedelta(days=12)}

STAFF = "M365-E3-Staff"
NO_TEAMS = "M365-E3-Kiosk"
VISIO = "M365-Visio-Plan-2"
CALLING = "M365-Calling-International"
POWER_PLATFORM = "M365-Power-Platform"
VISIO_PLANTS = "AD-Visio-Plants"
EXTRA_PLANS_OFF = ("SWAY", "YAMMER_ENTERPRISE", "KAIZALA_O365_P3")

# These have no suite by group: their story starts with nothing, with a direct licence, or with another group.
NOT_STAFF = frozenset(
    {
        "Anna Berger",  # nothing assigned at all
        "Ivan Petrov",  # contractors have no suite
        "Julia Costa",
        "Noor Jansen",  # nothing held before
        "Farid Haddad",  # E5
        "Hanna Virtanen",  # E5
        "Paula Gomez",  # E5
        "Marco Bianchi",  # direct E3 without Teams
        "Carl Johansson",  # E3 by the other group
        "Stefan Wolf",  # left
        "Tara Kowalska",  # nothing yet
        "Chris Young",  # somebody else by now
        "Bianca Ferrari",  # a new hire
        "Lena Fischer",  # E3 direct, asks for E5
        "Vera Lang",
    }
)


class Tenancy:
    """Builds the directory; `ids` maps names of people to object ids, `groups` names of groups to theirs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._directory: Directory = world.directory
        self.ids: dict[str, str] = {}
        self.groups: dict[str, str] = {}

    def build(self) -> None:
        """Everything, in an order that lets each step find what it names."""
        self._directory.country = "DE"
        for part_number, seats in SEATS.items():
            self._directory.add_sku(part_number, enabled=seats)
        for part_number, at in SEAT_FREES_AT.items():
            self._world.at(at, {"kind": "buy_seats", "part_number": part_number, "seats": 1})
        for person in (p for p in EVERYONE if p.known):
            self._add(person)
        self._add_groups()
        self._fill_seats()
        self._tell_stories()
        self._add_special_accounts()
        self._world.clock.advance(timedelta(0))  # what the past left to be done is done

    @contextmanager
    def _past(self, at: datetime) -> Iterator[None]:
        """Do something at an instant before the start."""
        self._world.clock.set_to(START, at)
        try:
            yield
        finally:
            self._world.clock.set_to(START, START)

    def _add(self, person: Person) -> None:
        user_id = self._directory.add_user(
            person.upn,
            display_name=person.entra_name or person.name,
            usage_location=person.country if person.located else None,
            country=person.country,
            enabled=person.enabled,
            synced=person.synced,
            department=person.department,
            employee_type="Contractor" if person.contractor else "Employee",
            employee_id=person.entra_number or person.number,
            created_at=person.born,
            appears_at=person.appears,
            manager=self.ids.get(person.manager or ""),
            job_title=person.title,
        )
        self.ids[person.name] = user_id
        self._directory.user(user_id).app_roles = list(person.roles)
        if person.telephone:
            self._directory.user(user_id).telephone_number = person.telephone

    def _add_groups(self) -> None:
        add = self._directory.add_group
        self.groups = {
            STAFF: add(STAFF, licenses={"SPE_E3": ()}),
            NO_TEAMS: add(NO_TEAMS, licenses={"SPE_E3": ("TEAMS1",)}),
            VISIO: add(VISIO, licenses={"VISIOCLIENT": ()}),
            CALLING: add(CALLING, licenses={"MCOPSTN2": ()}),
            POWER_PLATFORM: add(POWER_PLATFORM, licenses={"POWERAPPS_PER_USER": (), "PBI_PREMIUM_PER_USER": ()}),
            VISIO_PLANTS: add(VISIO_PLANTS, licenses={"VISIOCLIENT": ()}, synced=True),
            "Tier 0 Administrators": add("Tier 0 Administrators", role_assignable=True),
            "All Germany": add("All Germany", kind="dynamic"),
            "Engineering News": add("Engineering News", kind="microsoft365"),
            "Plant Mailing": add("Plant Mailing", kind="mail_enabled"),
        }
        self._directory.add_member(self.groups["Tier 0 Administrators"], self.ids["Robert Novak"])
        for person in EVERYONE:
            if person.known and person.name not in NOT_STAFF:
                self._join(person.name, STAFF, START - timedelta(days=200))

    def _fill_seats(self) -> None:
        """Ordinary people with ordinary licences; two products end up full."""
        for name in ("Ingrid Sorensen", "Mei Tanaka", "Kate Osborne"):
            self._grant(name, "VISIOONLINE_PLAN1", days=150)
        for name in ("Thomas Brandt", "Elena Rossi"):
            self._grant(name, "PBI_PREMIUM_PER_USER", days=120)
        for name in ("Nikolai Orlov", "Sofia Lindqvist", "James Whitfield"):
            self._grant(name, "POWER_BI_PRO", days=140)
        for name in ("Liam Doyle", "Pedro Alves"):
            self._grant(name, "MCOMEETADV", days=90)
        for name in ("Jonas Keller", "Mei Tanaka"):
            self._join(name, VISIO, START - timedelta(days=80))
        self._grant("Priya Raman", "PROJECTPROFESSIONAL", days=160)

    def _tell_stories(self) -> None:
        with self._past(START - timedelta(minutes=1)):  # nine of its ten minutes are left
            self._directory.add_member(self.groups[VISIO], self.ids["Chloe Martin"], processed=False)
        self._grant("Emma Larsson", "MCOEV", days=120)
        self._grant("Emma Larsson", "MCOPSTN1", days=90)
        self._join("Emma Larsson", CALLING, closed_at("RITM0010005"))
        self._grant("Farid Haddad", "SPE_E5", days=200)
        self._grant("Greta Holm", "PROJECT_P1", at=closed_at("RITM0010007"))
        self._grant("Marco Bianchi", "SPE_E3", days=180, disabled=("TEAMS1", *EXTRA_PLANS_OFF))
        self._directory.set_provisioning(self.ids["Noor Jansen"], "POWER_AUTOMATE_ATTENDED_RPA", ends_in="Error")
        self._grant("Paula Gomez", "SPE_E5", days=200)
        self._grant("Paula Gomez", "MCOPSTN2", days=100)
        self._grant("Lena Fischer", "SPE_E3", days=300)
        self._grant("Vera Lang", "SPE_E3", days=300)
        self._grant("Quentin Moreau", "PROJECT_P1", at=closed_at("RITM0010017"))
        self._directory.withdraw(
            self.ids["Quentin Moreau"], "PROJECT_P1", actor=self.actor("Tom Weber"), at=START - timedelta(hours=18.5)
        )
        self._grant("Rachel Stone", "PROJECTPROFESSIONAL", at=closed_at("RITM0010018"))
        self._directory.overwrite_usage_location(self.ids["Tara Kowalska"], None, every_s=1800.0)
        self._grant("Ulrich Baum", "PROJECTPROFESSIONAL", at=closed_at("RITM0010021"))
        self._join("William Clarke", POWER_PLATFORM, closed_at("RITM0010024"))
        self._directory.fail_assignments(self.ids["Xenia Popova"], 500)
        self._grant("Yusuf Demir", "PROJECT_P1", at=closed_at("RITM0010027"), by="Oliver Grant")
        self._join("Carl Johansson", NO_TEAMS, START - timedelta(days=200))
        self._grant("Hanna Virtanen", "SPE_E5", days=30)

    def _add_special_accounts(self) -> None:
        """Accounts that are no ordinary person, and who holds which directory role."""
        add = self._directory.add_user
        glass = add(f"break.glass@{DOMAIN}", display_name="Break Glass", mail="", mailbox=None)
        guest = f"alex_fabrikam.example#EXT#@{DOMAIN}"
        add(guest, display_name="Alex Partner", user_type="Guest", mail="alex@fabrikam.example", mailbox=None)
        add(f"licences@{DOMAIN}", display_name="Licence Desk", enabled=False, mailbox="shared")
        add(f"room.berlin@{DOMAIN}", display_name="Room Berlin", enabled=False, mailbox="room")
        attendant = f"attendant@{DOMAIN}"
        add(attendant, display_name="Reception", enabled=False, mail="", mailbox=None, is_resource=True)
        roles = self._directory.roles
        roles.assign("Global Administrator", glass)
        roles.assign("Global Administrator", self.groups["Tier 0 Administrators"])
        roles.assign("License Administrator", self.ids["Nina Schulz"])
        roles.assign("License Administrator", self.ids["Oliver Grant"], eligible=True)
        roles.assign("Teams Administrator", self.ids["Tom Weber"])
        roles.assign("User Administrator", self.ids["David Okafor"])

    def actor(self, name: str) -> Actor:
        """A person as the audit log names them."""
        person = next(p for p in (*SERVICE_DESK, *HEADS, *COLLEAGUES) if p.name == name)
        return Actor(user_id=self.ids[name], upn=person.upn, name=name)

    def _join(self, name: str, group: str, at: datetime) -> None:
        with self._past(at):
            self._directory.add_member(self.groups[group], self.ids[name], at=at)

    def _grant(
        self,
        name: str,
        part_number: str,
        *,
        days: float = 0,
        at: datetime | None = None,
        disabled: tuple[str, ...] = (),
        by: str | None = None,
    ) -> None:
        since = at or START - timedelta(days=days)
        self._directory.grant(self.ids[name], part_number, disabled=disabled, at=since)
        if by is not None:
            actor = self.actor(by)
            self._directory.audit("Change user license", user_id=self.ids[name], actor=actor, at=since)


def closed_at(number: str) -> datetime:
    """When a ticket was closed."""
    closed = next(s.closed for s in STORIES if s.number == number)
    if closed is None:
        raise LookupError(f"{number} is not closed")
    return closed
