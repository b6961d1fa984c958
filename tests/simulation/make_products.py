"""What the simulated sites sell, said again from the reference data: SKUs, proof plans, which groups bring what.

Names of plans and SKUs are Microsoft's; they are turned into ids by the sandbox's own catalogue, never by ours, so
that the oracle judges with rules of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sold:
    """A product as the reference data has it. `skus` may be assigned for it; `proofs` say that it works."""

    key: str
    skus: tuple[str, ...]
    proofs: tuple[str, ...]
    price: str
    mode: str = "any"  # any, all
    needs: tuple[str, ...] = ()  # plans that have to be on, all of them
    excludes: tuple[str, ...] = ()  # plans that nobody holds beside it
    replaces: tuple[str, ...] = ()  # products
    is_suite: bool = False
    probes: bool = False  # voice: a number is needed too
    group: str = ""  # the group's name, where a site brings it by group
    also: tuple[str, ...] = ()  # further SKUs of that group


SOLD = {
    p.key: p
    for p in (
        Sold("project-plan-1", ("PROJECT_P1", "PROJECTPROFESSIONAL"), ("PROJECT_P1", "PROJECT_PROFESSIONAL"), "9.40",
             group="G-Planner"),
        Sold("project-plan-3", ("PROJECTPROFESSIONAL",), ("PROJECT_CLIENT_SUBSCRIPTION",), "28.10"),
        Sold("visio-plan-1", ("VISIOONLINE_PLAN1", "VISIOCLIENT"), ("VISIOONLINE",), "4.70"),
        Sold("visio-plan-2", ("VISIOCLIENT",), ("VISIO_CLIENT_SUBSCRIPTION",), "14.10", group="G-Visio"),
        Sold("teams", ("Microsoft_Teams_Enterprise_New",), ("TEAMS1",), "4.90"),
        Sold("teams-phone", ("MCOEV",), ("MCOEV",), "9.40", needs=("TEAMS1",), probes=True),
        Sold("audio-conferencing", ("MCOMEETADV",), ("MCOMEETADV",), "3.80", needs=("TEAMS1",)),
        Sold("calling-plan-domestic", ("MCOPSTN1",), ("MCOPSTN1",), "11.30", needs=("TEAMS1", "MCOEV"),
             excludes=("MCOPSTN2",)),
        Sold("calling-plan-international", ("MCOPSTN2",), ("MCOPSTN2",), "22.60", needs=("TEAMS1", "MCOEV"),
             excludes=("MCOPSTN1",), replaces=("calling-plan-domestic",), group="G-Calling"),
        Sold("power-bi-pro", ("POWER_BI_PRO",), ("BI_AZURE_P2", "BI_AZURE_P3"), "13.10", group="G-PowerBI"),
        Sold("power-apps-premium", ("POWERAPPS_PER_USER",), ("POWERAPPS_PER_USER",), "18.70", group="G-Platform",
             also=("PBI_PREMIUM_PER_USER",)),
        Sold("power-automate-premium", ("POWERAUTOMATE_ATTENDED_RPA",), ("POWER_AUTOMATE_ATTENDED_RPA",), "14.10"),
        Sold("m365-e3", ("SPE_E3",),
             ("EXCHANGE_S_ENTERPRISE", "OFFICESUBSCRIPTION", "SHAREPOINTENTERPRISE", "INTUNE_A", "AAD_PREMIUM"),
             "36.00", mode="all", is_suite=True),
    )
}  # fmt: skip

SUITES = ("SPE_E3", "SPE_E5")
STAFF, KIOSK = "G-Staff", "G-Kiosk"  # E3 for everybody; E3 without Teams
QUEUE, TELECOM, IDENTITY = "M365 Licence Desk", "Telecom", "Identity"
AGENT, FULFILLER = "agent.assistant", "oliver.grant"

_HEAD = """
[tenants.contoso]
sandbox = true
mode = "enforce"
answers = "full"
act_on_tickets_since = "all"
act_max_age = "400d"
user_sync_window = "3d"
retry_window = "24h"
watch = "2m"
timezone = "{zone}"

[tenants.contoso.servicenow]
our_groups = ["M365 Licence Desk"]
agents = ["agent.assistant"]
page_size = {page}

[tenants.contoso.guards]
allow_domains = ["*"]
deny_users = ["denied.person@contoso.example"]
deny_domains = ["board.contoso.example"]
grants_per_cycle = 200
grants_per_day = 400
removals_per_cycle = 50
removals_per_day = 100
usage_locations_per_cycle = 200
usage_locations_per_day = 400
answers_per_cycle = 200
answers_per_day = 1000
answers_per_group = 1000
"""

_ITEM = """
[[items]]
name = "{name}"
close = "{close}"
reopen = {reopen}
follow_up_group = "M365 Licence Desk"
{rows}
[items.variables]
{person}justification = "justification"
cost_center = "cost_center"
manager = "manager"
start = "start_date"
end = "end_date"
duration = "duration"
"""

_RULES = """
[[rules]]
id = "contractor-end-date"
kind = "end_date_required"
employee_types = ["Contractor"]
max_days = 90

[[rules]]
id = "switch-plan-on"
kind = "auto_approve"
changes = ["enable_plan"]
price_max = 0
"""


@dataclass(frozen=True)
class Site:
    """How one simulated customer configured the reconciler."""

    products: tuple[str, ...]
    by_group: tuple[str, ...]  # in the order of the products: a seed tells its site in the same words each time
    close: str = "task"  # task, item
    reopens: bool = True
    zone: str = "UTC"
    page_size: int = 500
    on_drift: str = "ask"
    probes: bool = True  # a telephone has to ring before Teams Phone counts
    new_plans: str = "on"  # what Microsoft adds to a licence later

    def toml(self) -> str:
        """The site's config.toml."""
        texts = [_HEAD.format(zone=self.zone, page=self.page_size)]
        for key in self.products:
            sold = SOLD[key]
            texts.append(f'\n[products.{key}]\nprice = {sold.price}\nwindow = "2h"\n')
            if self.new_plans != "on":
                texts.append(f'new_plans = "{self.new_plans}"\n')
            if sold.probes and not self.probes:
                texts.append('tier = "V2"\n')
            if key in self.by_group:
                texts.append(f'path = "group"\ngroup = "{sold.group}"\n')
            replaced = [f'"{r}"' for r in sold.replaces if r in self.products]
            if replaced:
                texts.append(f"replaces = [{', '.join(replaced)}]\n")
        one = 'person = "user"\nproduct = "product"\n'
        many = 'rows = { person = "user", product = "product" }'
        reopens = str(self.reopens).lower()
        for name, rows, person in (("Microsoft 365 licence", "", one), ("Software for a team", many, "")):
            texts.append(_ITEM.format(name=name, close=self.close, reopen=reopens, rows=rows, person=person))
        return "".join([*texts, _RULES])
