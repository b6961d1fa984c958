"""The people of Contoso: who they are in ServiceNow and, for those that Entra knows, in the directory.

One row a person. What a story needs of a person is in the keyword arguments of the row; everything else is ordinary.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)  # a Monday
DOMAIN = "contoso.example"

# department -> (cost centre, name of its head)
DEPARTMENTS = {
    "Executive": ("CC-1000", "Elena Rossi"),
    "Finance": ("CC-1100", "Thomas Brandt"),
    "Procurement": ("CC-1200", "Thomas Brandt"),
    "Sales": ("CC-2100", "Sofia Lindqvist"),
    "Marketing": ("CC-2200", "James Whitfield"),
    "Engineering": ("CC-3100", "Priya Raman"),
    "Manufacturing": ("CC-3200", "Hans van Dijk"),
    "IT": ("CC-4100", "Robert Novak"),
    "Human Resources": ("CC-4200", "Claire Dubois"),
    "Legal": ("CC-4300", "Laura McBride"),
    "Customer Service": ("CC-5100", "Miguel Santos"),
}


@dataclass(frozen=True)
class Person:
    """One person. `number` is the employee number in both systems; instants are aware UTC."""

    name: str
    number: str
    country: str
    department: str
    title: str
    contractor: bool = False
    located: bool = True  # whether Entra has a usage location
    known: bool = True  # whether Entra has an account at all
    enabled: bool = True
    synced: bool = False
    born: datetime | None = None  # when Entra's account was made; a year before START by default
    appears: datetime | None = None  # when a sync will make it
    telephone: str | None = None  # the Teams number, without which voice does not work
    entra_name: str | None = None  # where the account now belongs to somebody else
    entra_number: str | None = None
    login: str | None = None
    roles: tuple[str, ...] = ()  # in the daemon's own application, as ID tokens carry them

    @property
    def user_name(self) -> str:
        """Sign-in name before the @, the same in both systems."""
        return self.login or ".".join(self.name.lower().replace("van dijk", "vandijk").split())

    @property
    def upn(self) -> str:
        return f"{self.user_name}@{DOMAIN}"

    @property
    def cost_center(self) -> str:
        return DEPARTMENTS[self.department][0]

    @property
    def manager(self) -> str | None:
        """Name of the manager: the head of the department, for heads the head of the company."""
        head = DEPARTMENTS[self.department][1]
        if head != self.name:
            return head
        return None if self.department == "Executive" else DEPARTMENTS["Executive"][1]


def _days(n: float) -> timedelta:
    return timedelta(days=n)


APPROVER, AUDITOR, ADMIN = "Licence.Approver", "Licence.Auditor", "Licence.Admin"
MAY_APPROVE = (APPROVER,)

HEADS = (
    Person("Elena Rossi", "100001", "DE", "Executive", "Managing Director", roles=MAY_APPROVE),
    Person("Thomas Brandt", "100002", "DE", "Finance", "Head of Finance", roles=MAY_APPROVE),
    Person("Sofia Lindqvist", "100003", "SE", "Sales", "Head of Sales", roles=MAY_APPROVE),
    Person("James Whitfield", "100004", "GB", "Marketing", "Head of Marketing", roles=MAY_APPROVE),
    Person("Priya Raman", "100005", "DE", "Engineering", "Head of Engineering", roles=MAY_APPROVE),
    Person("Hans van Dijk", "100006", "NL", "Manufacturing", "Head of Manufacturing", roles=MAY_APPROVE),
    Person("Claire Dubois", "100007", "FR", "Human Resources", "Head of Human Resources", roles=MAY_APPROVE),
    Person("Robert Novak", "100008", "PL", "IT", "Head of IT", roles=(APPROVER, ADMIN)),
    Person("Laura McBride", "100009", "GB", "Legal", "General Counsel", roles=MAY_APPROVE),
    Person("Miguel Santos", "100010", "ES", "Customer Service", "Head of Customer Service", roles=MAY_APPROVE),
)

SERVICE_DESK = (
    Person("Nina Schulz", "100101", "DE", "IT", "Licence Desk Lead", roles=(APPROVER, ADMIN)),
    Person("Oliver Grant", "100102", "GB", "IT", "Licence Desk Agent"),
    Person("Petra Nowak", "100103", "PL", "IT", "Telecom Engineer", roles=MAY_APPROVE),
    Person("David Okafor", "100104", "GB", "IT", "Identity Engineer"),
    Person("Tom Weber", "100105", "DE", "IT", "Collaboration Administrator"),
)

# In the order of their tickets, RITM0010001 and on.
REQUESTERS = (
    Person("Anna Berger", "100201", "DE", "Engineering", "Project Engineer", located=False),
    Person("Bram de Vries", "100202", "NL", "Manufacturing", "Process Designer", login="bram.devries"),
    Person("Chloe Martin", "100203", "FR", "Human Resources", "Organisation Designer"),
    Person("Daniel Hughes", "100204", "US", "Sales", "Account Executive", located=False, telephone="+1 206 555 0104"),
    Person("Emma Larsson", "100205", "SE", "Sales", "Key Account Manager"),
    Person("Farid Haddad", "100206", "GB", "Customer Service", "Team Lead", telephone="+44 20 7946 0106"),
    Person("Greta Holm", "100207", "SE", "Engineering", "Programme Manager"),
    Person("Henrik Olsen", "100208", "DE", "Engineering", "Systems Analyst"),
    Person("Ivan Petrov", "100209", "PL", "Engineering", "Consultant", contractor=True),
    Person("Julia Costa", "100210", "ES", "Marketing", "Freelance Planner", contractor=True),
    Person("Karim Aziz", "100211", "FR", "Legal", "Paralegal", known=False),
    Person("Lena Fischer", "100212", "DE", "Legal", "Compliance Analyst"),
    Person("Marco Bianchi", "100213", "DE", "Procurement", "Buyer"),
    Person("Noor Jansen", "100214", "NL", "Finance", "Process Automation Specialist"),
    Person("Oscar Nilsson", "100215", "SE", "Sales", "Sales Engineer"),
    Person("Paula Gomez", "100216", "ES", "Customer Service", "Dispatcher"),
    Person("Quentin Moreau", "100217", "FR", "Marketing", "Campaign Planner"),
    Person("Rachel Stone", "100218", "GB", "Legal", "Contract Manager"),
    Person("Stefan Wolf", "100219", "DE", "Manufacturing", "Shift Supervisor", enabled=False),
    Person("Tara Kowalska", "100220", "PL", "Manufacturing", "Planner", located=False, synced=True),
    Person("Ulrich Baum", "100221", "DE", "Engineering", "Project Lead"),
    Person("Vera Lang", "100223", "DE", "Human Resources", "People Analyst"),
    Person("William Clarke", "100224", "GB", "Engineering", "Low-code Developer"),
    Person("Xenia Popova", "100225", "US", "Sales", "Inside Sales", located=False, telephone="+1 206 555 0125"),
    Person(
        "Chris Young",
        "100226",
        "GB",
        "Marketing",
        "Copywriter",
        login="c.young",
        born=START - _days(13),
        entra_name="Claire Young",
        entra_number="100590",
    ),
    Person("Yusuf Demir", "100227", "DE", "Manufacturing", "Quality Engineer"),
    Person("Zoe Bakker", "100228", "NL", "Manufacturing", "Plant Layout Engineer"),
    Person("Aaron Fields", "100229", "US", "Sales", "Sales Director"),
    Person(
        "Bianca Ferrari",
        "100230",
        "DE",
        "Finance",
        "Junior Accountant",
        synced=True,
        appears=START + timedelta(hours=21),
    ),
    Person("Carl Johansson", "100231", "SE", "Customer Service", "Agent"),
    Person("Dora Meier", "100232", "DE", "Finance", "Controller"),
    Person("Emil Koch", "100233", "DE", "Finance", "Controller"),
    Person("Fiona Byrne", "100234", "GB", "Finance", "Controller"),
    Person("Gavin Reid", "100235", "GB", "Procurement", "Category Manager"),
    Person("Hanna Virtanen", "100236", "SE", "Customer Service", "Agent"),
)

COLLEAGUES = (
    Person("Ingrid Sorensen", "100301", "SE", "Engineering", "Developer"),
    Person("Jonas Keller", "100302", "DE", "Engineering", "Developer"),
    Person("Kate Osborne", "100303", "GB", "Marketing", "Designer"),
    Person("Liam Doyle", "100304", "GB", "Sales", "Account Manager"),
    Person("Mei Tanaka", "100305", "DE", "Engineering", "Architect"),
    Person("Nikolai Orlov", "100306", "PL", "Finance", "Accountant", roles=(AUDITOR,)),
    Person("Olga Ivanova", "100307", "PL", "Customer Service", "Agent"),
    Person("Pedro Alves", "100308", "ES", "Sales", "Account Manager"),
)

EVERYONE = (*HEADS, *SERVICE_DESK, *REQUESTERS, *COLLEAGUES)
