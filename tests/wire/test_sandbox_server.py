"""The sandbox on its ports: what a program is told, what it can reach, and how the ports begin and end."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from reconciler.sandbox.asgi import BODY_BYTES_MAX
from reconciler.sandbox.faults import FaultRule
from reconciler.sandbox.ports import Ports
from reconciler.sandbox.server import Serving, serve
from reconciler.sandbox.tls import Authority, client_context
from reconciler.sandbox.world import World
from tests.make_world import contoso

pytestmark = pytest.mark.tls

ANNA = "anna.berger@contoso.example"


@pytest.fixture
def world() -> World:
    return contoso()


@pytest.fixture
def sandbox(world: World) -> Iterator[Serving]:
    with serve(world) as ports:
        yield ports


@pytest.fixture
def http(sandbox: Serving) -> Iterator[httpx.Client]:
    with a_client(sandbox) as client:
        yield client


def a_client(sandbox: Serving) -> httpx.Client:
    return httpx.Client(verify=client_context(sandbox.ca_file), trust_env=False, timeout=30)


def signed_in(sandbox: Serving, http: httpx.Client) -> dict[str, str]:
    """The header of a program that knows nothing but the printed line."""
    line = json.loads(json.dumps(sandbox.line()))
    form = {
        "grant_type": "client_credentials",
        "client_id": line["client_id"],
        "client_secret": line["client_secret"],
        "scope": f"{line['graph']}/.default",
    }
    token = http.post(f"{line['login']}/{line['tenant_id']}/oauth2/v2.0/token", data=form).json()["access_token"]
    return {"authorization": f"Bearer {token}"}


def echo(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"url": str(request.url), "size": len(request.content)})


def test_the_printed_line_is_all_a_program_needs(sandbox: Serving, http: httpx.Client) -> None:
    line = sandbox.line()

    people = http.get(f"{line['graph']}/users", headers=signed_in(sandbox, http)).json()["value"]
    tickets = http.get(
        f"{line['servicenow']}/api/now/table/sc_req_item",
        auth=(line["servicenow_user"], line["servicenow_password"]),
        headers={"accept": "application/json"},
    ).json()["result"]

    assert set(line) == {
        "graph",
        "login",
        "servicenow",
        "teams",
        "mail",
        "ca_file",
        "tenant_id",
        "client_id",
        "client_secret",
        "servicenow_user",
        "servicenow_password",
    }
    assert ANNA in {person["userPrincipalName"] for person in people}
    assert "RITM0010001" in {ticket["number"] for ticket in tickets}


def test_a_client_that_appends_the_version_itself_finds_the_same_person(sandbox: Serving, http: httpx.Client) -> None:
    headers = signed_in(sandbox, http)

    once = http.get(f"{sandbox.graph}/users/{ANNA}?$select=id", headers=headers)
    twice = http.get(f"{sandbox.graph}/v1.0/users/{ANNA}?$select=id", headers=headers)

    assert (once.status_code, once.json()["id"]) == (200, twice.json()["id"])


def test_links_to_more_pages_lead_back_to_the_same_port(sandbox: Serving, http: httpx.Client) -> None:
    page = http.get(f"{sandbox.graph}/users?$top=5", headers=signed_in(sandbox, http)).json()

    assert page["@odata.nextLink"].startswith(f"{sandbox.graph}/users")


def test_what_is_not_imitated_yet_says_so(sandbox: Serving, http: httpx.Client) -> None:
    assert [http.post(url, json={}).status_code for url in (sandbox.teams, sandbox.mail)] == [501, 501]


def test_licence_writes_that_arrive_together_meet_the_lock_of_the_tenant(
    sandbox: Serving, http: httpx.Client, world: World
) -> None:
    headers = signed_in(sandbox, http)
    body = {"addLicenses": [{"skuId": world.directory.sku("POWER_BI_PRO"), "disabledPlans": []}], "removeLicenses": []}
    writers = 6
    with ThreadPoolExecutor(writers) as pool, world.lock:
        url = f"{sandbox.graph}/users/dora.meier@contoso.example/assignLicense"
        answers = [pool.submit(http.post, url, json=body, headers=headers) for _ in range(writers)]
        until_at_work(writers)
        world.lock.release()
        statuses = [answer.result().status_code for answer in answers]
        world.lock.acquire()

    assert set(statuses) == {200, 409}
    assert world.directory.seats_free("POWER_BI_PRO") == 1


def until_at_work(handlers: int) -> None:
    """Wait until so many requests are inside the sandbox, held up by the lock on the world."""
    pause = threading.Event()
    while sum(thread.name.startswith("sandbox_") for thread in threading.enumerate()) < handlers:
        pause.wait(0.01)
    pause.wait(0.05)


def test_a_lost_reply_is_a_closed_connection_after_the_work_is_done(
    sandbox: Serving, http: httpx.Client, world: World
) -> None:
    headers = signed_in(sandbox, http)
    world.faults.add(FaultRule("reply_lost", route="PATCH /users", times=1))

    with pytest.raises(httpx.RemoteProtocolError):
        http.patch(f"{sandbox.graph}/users/{ANNA}", json={"usageLocation": "DE"}, headers=headers)

    assert world.directory.user(ANNA).usage_location == "DE"
    assert http.get(f"{sandbox.graph}/users/{ANNA}", headers=headers).status_code == 200


def test_a_body_past_any_documented_size_is_not_read(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with (
        Ports({"echo": echo}, tls=authority.server_context()) as ports,
        httpx.Client(verify=client_context(authority.ca_file), trust_env=False) as http,
    ):
        with pytest.raises((httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError)):
            http.post(ports.urls["echo"], content=b"x" * (BODY_BYTES_MAX + 1))

        assert http.post(ports.urls["echo"], content=b"x" * 1000).json()["size"] == 1000


def test_addresses_arrive_as_the_client_wrote_them(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    path = "/v1.0/users/a%23b%27c?$filter=displayName%20eq%20'%C3%A4'&$top=5"
    with (
        Ports({"echo": echo}, tls=authority.server_context()) as ports,
        httpx.Client(verify=client_context(authority.ca_file), trust_env=False) as http,
    ):
        seen = http.get(ports.urls["echo"] + path).json()["url"]

    assert seen == ports.urls["echo"] + path


def test_ports_follow_the_one_that_is_asked_for(tmp_path: Path) -> None:
    first = a_free_run_of_ports(2)

    with Ports({"a": echo, "b": echo}, tls=Authority(tmp_path).server_context(), port=first) as ports:
        assert ports.urls == {"a": f"https://127.0.0.1:{first}", "b": f"https://127.0.0.1:{first + 1}"}


def test_a_taken_port_is_said_at_once_and_leaves_none_bound(tmp_path: Path) -> None:
    first = a_free_run_of_ports(2)
    tls = Authority(tmp_path).server_context()
    with a_listener(first + 1):
        with pytest.raises(OSError, match=rf"already in use \(127.0.0.1:{first + 1}\)"):
            Ports({"a": echo, "b": echo}, tls=tls, port=first)

        with Ports({"a": echo}, tls=tls, port=first):
            pass  # the first port was let go of


def a_listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def a_free_run_of_ports(length: int) -> int:
    """A port after which the next ones are free too."""
    while True:
        with a_listener(0) as found:
            first: int = found.getsockname()[1]
        try:
            for port in range(first, first + length):
                a_listener(port).close()
        except (OSError, OverflowError):
            continue
        return first


def test_after_the_end_nothing_answers(world: World) -> None:
    with serve(world) as sandbox, a_client(sandbox) as http:
        http.get(sandbox.graph)
        sandbox.stop()

        with pytest.raises(httpx.ConnectError):
            http.get(sandbox.graph)


def test_the_authority_is_kept_so_that_a_client_trusts_the_next_start(world: World, tmp_path: Path) -> None:
    with serve(world, state_dir=tmp_path) as sandbox:
        trusting = client_context(sandbox.ca_file)

    with (
        serve(world, state_dir=tmp_path) as sandbox,
        httpx.Client(verify=trusting, trust_env=False) as http,
    ):
        assert http.get(sandbox.graph).status_code == 401


def test_nobody_else_may_read_the_key_of_the_authority(tmp_path: Path) -> None:
    Authority(tmp_path)

    assert stat.S_IMODE((tmp_path / "sandbox-ca.key").stat().st_mode) == 0o600


def test_a_damaged_authority_is_named(tmp_path: Path) -> None:
    Authority(tmp_path)
    (tmp_path / "sandbox-ca.key").write_text("no key")

    with pytest.raises(ValueError, match="damaged"):
        Authority(tmp_path)


def test_a_client_without_the_authority_does_not_trust_the_sandbox(sandbox: Serving) -> None:
    with httpx.Client(trust_env=False) as http, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        http.get(sandbox.graph)
