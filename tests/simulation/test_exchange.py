"""Exchanges and lines that build on each other, by the shipped loop: what leaves, and what the tenant has then."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from reconciler.sandbox.world import World
from tests.simulation.make_day import a_day, contoso_with

ANNA = "anna.berger@contoso.example"
FIRST, SECOND = "RITM0019001", "RITM0019002"


def order(world: World, number: str, product: str, *, days: float = 1) -> None:
    anna = world.instance.user("anna.berger")["sys_id"]
    item = world.instance.records("sc_req_item", number="RITM0010001")[0]["cat_item"]
    world.instance.order(
        number, item=item, requested_for=anna, opened_at=world.clock.now() - timedelta(days=days),
        variables={"user": anna, "product": product, "justification": "needed"},
    )  # fmt: skip


def exchanging(tmp_path: Path) -> Path:
    """The shipped configuration, but Visio Plan 2 is given directly and takes the place of Plan 1."""
    text = Path("config.toml").read_text("utf-8")
    group = '[products.visio-plan-2]\npath = "group"\ngroup = "M365-Visio-Plan-2"\n'
    assert group in text
    path = tmp_path / "config.toml"
    path.write_text(text.replace(group, '[products.visio-plan-2]\nreplaces = ["visio-plan-1"]\n'), "utf-8")
    return path


def holder_of_plan_1(world: World) -> str:
    directory = world.directory
    anna = directory.user(ANNA).user_id
    directory.grant(anna, "VISIOONLINE_PLAN1", disabled=("ONEDRIVE_BASIC",))
    order(world, FIRST, "visio-plan-2")
    return anna


def test_an_upgrade_is_one_call_and_what_was_off_stays_off(tmp_path):
    world = contoso_with("RITM0010001")
    anna = holder_of_plan_1(world)
    one, two = world.directory.sku("VISIOONLINE_PLAN1"), world.directory.sku("VISIOCLIENT")
    with a_day(tmp_path / "var", world, config=exchanging(tmp_path)) as day:
        day.cycle()

        held = {sku: off for sku, is_direct, off in day.licences(ANNA) if is_direct}
        assert one not in held
        assert held[two] == (world.directory.plan("ONEDRIVE_BASIC"),)
        assert day.phase(FIRST) == "granted"
        assert len([w for w in day.watch.removals if anna in w]) == 1
        (note,) = day.notes(FIRST)
        assert "Visio Plan 1 taken away" in note


def test_an_upgrade_that_does_not_work_gives_the_old_licence_back(tmp_path):
    world = contoso_with("RITM0010001")
    anna = holder_of_plan_1(world)
    world.directory.set_provisioning(anna, "VISIO_CLIENT_SUBSCRIPTION", ends_in="Error")
    plan_1 = world.directory.sku("VISIOONLINE_PLAN1")
    world.directory.store.skus[plan_1].enabled += 2  # nobody else waits for the seat that the exchange frees
    with a_day(tmp_path / "var", world, config=exchanging(tmp_path)) as day:
        for _ in range(4):
            day.cycle()
            day.wait(13 * 60)
        day.cycle()

        direct = {sku: off for sku, is_direct, off in day.licences(ANNA) if is_direct}
        assert direct[plan_1] == (world.directory.plan("ONEDRIVE_BASIC"),)
        assert world.directory.sku("VISIOCLIENT") not in direct
        assert day.phase(FIRST) == "review"


GIVEN_BACK = 3  # changes of Anna's licences: of her other ticket, the exchange, its undo


class Killed(BaseException):
    """The process is gone."""


def test_a_process_that_dies_once_the_old_licence_is_given_back_exchanges_nothing_again(tmp_path):
    world = contoso_with("RITM0010001")
    anna = holder_of_plan_1(world)
    world.directory.set_provisioning(anna, "VISIO_CLIENT_SUBSCRIPTION", ends_in="Error")
    plan_1 = world.directory.sku("VISIOONLINE_PLAN1")
    world.directory.store.skus[plan_1].enabled += 2
    with a_day(tmp_path / "var", world, config=exchanging(tmp_path)) as day:

        def changes() -> int:
            return len([w for w in day.watch.writes if w.endswith(f"{anna}/assignLicense")])

        def dies(_: httpx.Request) -> None:
            if changes() == GIVEN_BACK:
                day.watch.meddle = lambda _: None
                raise Killed

        day.watch.meddle = dies
        with pytest.raises(Killed):
            for _ in range(6):
                day.cycle()
                day.wait(13 * 60)
        for _ in range(4):
            day.cycle()
            day.wait(13 * 60)

        assert changes() == GIVEN_BACK
        held = {sku for sku, is_direct, _ in day.licences(ANNA) if is_direct}
        assert (plan_1 in held, world.directory.sku("VISIOCLIENT") in held) == (True, False)
        assert day.phase(FIRST) == "review"
        assert "taken back" in day.notes(FIRST)[-1]


def test_an_add_on_that_was_asked_for_first_is_given_after_its_base(tmp_path):
    world = contoso_with("RITM0010001")
    order(world, FIRST, "audio-conferencing", days=2)
    order(world, SECOND, "m365-e3", days=1)
    with a_day(tmp_path / "var", world) as day:
        day.cycle()

        assert (day.phase(FIRST), day.phase(SECOND)) == ("granted", "granted")
        held = {sku for sku, _, _ in day.licences(ANNA)}
        assert {world.directory.sku("SPE_E3"), world.directory.sku("MCOMEETADV")} <= held


def test_an_add_on_is_not_sent_when_its_base_could_not_be_given(tmp_path):
    world = contoso_with("RITM0010001")
    anna = world.directory.user(ANNA).user_id
    world.directory.fail_assignments(anna)
    order(world, FIRST, "audio-conferencing", days=2)
    order(world, SECOND, "m365-e3", days=1)
    with a_day(tmp_path / "var", world) as day:
        report = day.cycle()

        assert report is not None
        outcomes = {e.state.key.ticket: e.outcomes for e in report.endings}
        assert [o.result.value for o in outcomes[FIRST]] == ["skipped"]
        assert outcomes[FIRST][0].why == f"It builds on {SECOND}/1, which was not done."
        assert (day.phase(FIRST), day.phase(SECOND)) == ("converging", "converging")
