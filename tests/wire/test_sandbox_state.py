"""The sandbox's world between commands: what is kept, who owns it, and how others reach it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from reconciler.clock import Clock, ManualClock
from reconciler.sandbox import hosts
from reconciler.sandbox.state import Owned, Remote, SandboxState, WorldBusy
from reconciler.sandbox.stories.people import START
from reconciler.sandbox.ticker import running
from reconciler.sandbox.tls import client_context
from reconciler.sandbox.world_file import DamagedWorld, read_world
from tests.make_sign_in import pick

ANNA = "anna.berger@contoso.example"


def set_location(owned: Owned | Remote, value: str) -> None:
    """Change a person as any client would, in process or through ports."""
    with httpx.Client(transport=owned.transport(), trust_env=False) as http:
        form = {
            "grant_type": "client_credentials",
            "client_id": hosts.CLIENT_ID,
            "client_secret": hosts.CLIENT_SECRET,
            "scope": f"{owned.addresses.graph}/.default",
        }
        signed_in = http.post(f"{owned.addresses.login}/{hosts.TENANT_ID}/oauth2/v2.0/token", data=form).json()
        answer = http.patch(
            f"{owned.addresses.graph}/users/{ANNA}",
            json={"usageLocation": value},
            headers={"authorization": f"Bearer {signed_in['access_token']}"},
        )
        assert answer.status_code == 204


def location_on_disk(directory: Path) -> str | None:
    world, _ = read_world(directory / "world.json")
    return world.directory.user(ANNA).usage_location


def test_no_two_commands_are_given_the_same_ids(tmp_path: Path) -> None:
    request_ids, notes = set(), set()
    for _ in range(3):
        with SandboxState(tmp_path).open() as owned:
            with httpx.Client(transport=owned.transport(), trust_env=False) as http:
                request_ids.add(http.get(f"{owned.addresses.graph}/users").headers["request-id"])
            ticket = owned.world.instance.records("sc_req_item", number="RITM0010001")[0]
            owned.world.instance.change("sc_req_item", ticket["sys_id"], by="nina.schulz", work_notes="Any news?")
            notes = {
                n["sys_id"] for n in owned.world.instance.records("sys_journal_field", element_id=ticket["sys_id"])
            }

    assert (len(request_ids), len(notes)) == (3, 3)


def test_the_world_goes_on_where_the_last_command_left_it(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned:
        set_location(owned, "DE")
        owned.advance(timedelta(days=3))

    with SandboxState(tmp_path).open() as owned:
        assert owned.now() == START + timedelta(days=3)
        assert owned.world.directory.user(ANNA).usage_location == "DE"


def test_the_same_world_is_read_that_was_kept(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned:
        kept = owned.world.to_json()

    with SandboxState(tmp_path).open() as owned:
        assert json.dumps(owned.world.to_json()) == json.dumps(kept | {"wakings": 1})


def test_a_write_is_kept_before_the_client_is_answered(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned:
        set_location(owned, "FR")

        assert location_on_disk(tmp_path) == "FR"


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from reconciler.sandbox.state import SandboxState
from tests.wire.test_sandbox_state import set_location
with SandboxState(Path(sys.argv[1])).open() as owned:
    set_location(owned, "PL")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_no_write_and_holds_no_lock(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]

    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(root)], check=False, timeout=60)

    assert killed.returncode == -signal.SIGKILL
    with SandboxState(tmp_path).open(patience_s=0) as owned:
        assert owned.world.directory.user(ANNA).usage_location == "PL"


def test_a_terminated_command_keeps_its_world(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), SandboxState(tmp_path).open() as owned:
        owned.clock.sleep(3600)
        os.kill(os.getpid(), signal.SIGTERM)

    with SandboxState(tmp_path).open() as owned:
        assert owned.now() == START + timedelta(hours=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": 2, "story": "contoso", "world": {}}'])
def test_a_damaged_file_is_one_clear_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "world.json").write_bytes(content)

    with pytest.raises(DamagedWorld, match=r"world\.json is damaged .*sandbox reset"), SandboxState(tmp_path).open():
        pass

    assert (tmp_path / "world.json").read_bytes() == content


def test_a_file_of_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text('{"format": 99}')

    with pytest.raises(DamagedWorld, match="format 99"), SandboxState(tmp_path).open():
        pass


def test_starting_over_needs_no_readable_file(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text("{")

    with SandboxState(tmp_path).open(fresh=True) as owned:
        assert (owned.story, owned.now()) == ("contoso", START)


def test_another_story_replaces_the_one_that_was_kept(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open(story="empty") as owned:
        owned.advance(timedelta(days=1))

    with SandboxState(tmp_path).open() as owned:
        assert (owned.story, owned.status()["users"]) == ("empty", 0)
    with SandboxState(tmp_path).open(story="generated:12") as owned:
        assert (owned.status()["users"], owned.now()) == (12, START)


def test_an_unknown_story_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no story 'northwind'"), SandboxState(tmp_path).open(story="northwind"):
        pass


def test_one_process_owns_the_world(tmp_path: Path) -> None:
    with (
        SandboxState(tmp_path).open(),
        pytest.raises(WorldBusy, match=f"in use by process {os.getpid()}"),
        SandboxState(tmp_path).open(patience_s=0),
    ):
        pass


def test_a_command_waits_for_the_one_before_it_and_then_gives_up(tmp_path: Path) -> None:
    wall = ManualClock(START)

    with (
        SandboxState(tmp_path).open(),
        pytest.raises(WorldBusy),
        SandboxState(tmp_path, wall=wall).connect(patience_s=5),
    ):
        pass

    assert 5 <= wall.monotonic() < 6


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with SandboxState(tmp_path / "state").open():
        pass

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "world.json").stat().st_mode) == 0o600


@pytest.mark.tls
def test_beside_a_served_world_a_command_works_on_that_one(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned, owned.serving(), SandboxState(tmp_path).connect() as found:
        assert isinstance(found, Remote)
        set_location(found, "SE")
        found.clock.sleep(90)
        found.advance(timedelta(hours=1))

        assert owned.world.directory.user(ANNA).usage_location == "SE"
        assert owned.now() == found.now() == START + timedelta(hours=1, seconds=90)
        assert found.clock.monotonic() == 3690
        assert found.status() == owned.status()


@pytest.mark.tls
def test_a_served_world_starts_over_under_open_ports(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned, owned.serving(), SandboxState(tmp_path).connect() as found:
        set_location(found, "SE")
        found.advance(timedelta(days=2))
        found.reset()

        assert found.now() == START
        set_location(found, "NL")
        assert location_on_disk(tmp_path) == "NL"
        assert owned.world.directory.user(ANNA).usage_location == "NL"


@pytest.mark.tls
def test_a_served_world_is_turned_only_with_the_token_of_its_state(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned, owned.serving() as ports:
        control_file = tmp_path / "control.json"
        known = json.loads(control_file.read_text())
        with httpx.Client(verify=client_context(ports.ca_file), trust_env=False) as http:
            answer = http.post(f"{known['control']}/clock", json={"advance_s": 60})

        assert stat.S_IMODE(control_file.stat().st_mode) == 0o600
        assert (answer.status_code, owned.now()) == (401, START)


@pytest.mark.tls
@pytest.mark.parametrize("step", [-1, "soon", None, 1e300])
def test_a_served_clock_is_turned_only_by_a_step_forward(tmp_path: Path, step: object) -> None:
    with SandboxState(tmp_path).open() as owned, owned.serving() as ports:
        known = json.loads((tmp_path / "control.json").read_text())
        headers = {"authorization": f"Bearer {known['token']}"}
        with httpx.Client(verify=client_context(ports.ca_file), trust_env=False) as http:
            answer = http.post(f"{known['control']}/clock", json={"advance_s": step}, headers=headers)

        assert (answer.status_code, owned.now()) == (400, START)


@pytest.mark.tls
def test_the_address_of_a_server_that_was_killed_is_not_followed(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned, owned.serving():
        left_behind = (tmp_path / "control.json").read_bytes()
    (tmp_path / "control.json").write_bytes(left_behind)

    with SandboxState(tmp_path).connect() as found:
        assert isinstance(found, Owned)


def test_under_a_speed_the_clock_runs_by_itself_until_the_block_ends(tmp_path: Path) -> None:
    class Hurried:
        """A machine whose every look at the clock is a second later."""

        def __init__(self) -> None:
            self.looks = 0

        def monotonic(self) -> float:
            self.looks += 1
            return float(self.looks)

    turned: list[timedelta] = []
    wall = Hurried()
    two_turns = 3

    def turn(by: timedelta) -> None:
        turned.append(by)

    with running(turn, speed=60, wall=wall):  # type: ignore[arg-type]
        while wall.looks < two_turns:
            pass

    assert set(turned) == {timedelta(minutes=1)}


def test_the_world_serves_as_a_clock(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned:
        clock: Clock = owned.clock
        clock.sleep(600)

        visio = owned.world.directory.sku("VISIOCLIENT")
        chloe = owned.world.directory.assign_states("chloe.martin@contoso.example")
        assert [a.state for a in chloe if a.sku_id == visio] == ["Active"]


def test_a_wait_is_kept_too_so_that_the_clock_is_never_behind_what_was_done(tmp_path: Path) -> None:
    with SandboxState(tmp_path, wall=ManualClock(START)).open() as owned:  # a slow disk may put it off
        owned.clock.sleep(90)

        assert read_world(tmp_path / "world.json")[0].clock.now() == START + timedelta(seconds=90)


def test_a_served_world_is_switched_and_decided_from_outside(tmp_path: Path) -> None:
    with SandboxState(tmp_path).open() as owned, owned.serving(), SandboxState(tmp_path).connect() as other:
        other.switch("sign_in_fault", "expired")
        other.switch("servicenow.audit_is_readable", False)
        said = other.decide("RITM0010012", "approved", approver="Laura McBride")
        added = other.add_plan("visioclient", "SWAY")
        other.rotate_keys()
        for sku, plan, why in (
            ("SKY", "SWAY", "no SKU"),
            ("SPE_F1", "SWAY", "no"),
            ("VISIOCLIENT", "SKY", "no service"),
        ):
            with pytest.raises(ValueError, match=why):
                other.add_plan(sku, plan)
        with pytest.raises(ValueError, match="is sign_in_fault meant"):
            other.switch("sign_in_faults", "expired")
        with pytest.raises(ValueError, match="sign_in_fault: Invalid enum value"):
            other.switch("sign_in_fault", "purple")

    assert said == "Laura McBride's approval of RITM0010012 is approved, by laura.mcbride."
    assert owned.world.switches.sign_in_fault == "expired"
    assert owned.world.instance.switches.audit_is_readable is False
    assert owned.world.signins.first_key == 1
    assert added == "VISIOCLIENT contains SWAY from now on."
    directory = owned.world.directory
    assert directory.plan("SWAY") in directory.store.skus[directory.sku("VISIOCLIENT")].plan_ids


def test_a_sign_in_is_kept_and_a_token_for_a_program_is_no_write(tmp_path: Path) -> None:
    asked = {
        "client_id": hosts.CLIENT_ID,
        "redirect_uri": "https://localhost/cb",
        "response_type": "code",
        "scope": "openid",
        "state": "s",
        "nonce": "n",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    tenant = f"{hosts.LOGIN_URL}/{hosts.TENANT_ID}/oauth2/v2.0"
    with SandboxState(tmp_path).open() as owned, httpx.Client(transport=owned.transport(), trust_env=False) as http:
        http.post(f"{tenant}/token", data={"grant_type": "client_credentials"})
        before = owned.writes
        pick(http, f"{tenant}/authorize?{urlencode(asked)}", "Thomas Brandt")

    kept, _ = read_world(tmp_path / "world.json")
    assert (before, owned.writes) == (0, 1)
    assert list(kept.signins.grants) == list(owned.world.signins.grants)
